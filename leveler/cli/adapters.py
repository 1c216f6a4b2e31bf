"""``leveler adapters``: which brokers this installation can talk to."""

from __future__ import annotations

from leveler.cli.source import JsonOption
from leveler.cli.terminal import say, say_json, table


def adapters(json: JsonOption = False) -> None:
    """List the installed adapters, their URL schemes, and what is missing for those that cannot be used."""
    from leveler.discovery import installed

    found = installed()
    if json:
        say_json([one._asdict() for one in found])
        return
    rows = [
        [one.name, " ".join(f"{scheme}://" for scheme in one.schemes) or "-", one.distribution, one.problem or "ready"]
        for one in found
    ]
    say(table(["ADAPTER", "SCHEMES", "FROM", "STATE"], rows))
