"""``leveler dead show``: everything about one."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from leveler.cli.dead.letters import MOST, Filter, browse
from leveler.cli.source import AppOption, BrokerOption, ConfigOption, JsonOption, QueueArgument, Source
from leveler.cli.terminal import say, say_json
from leveler.errors import ConfigError


def show(
    queue: QueueArgument,
    id: Annotated[str, typer.Argument(help="Of the message, as `leveler dead list` shows it.")],
    broker: BrokerOption = None,
    config: ConfigOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Show everything about one dead letter, its body included."""
    from leveler.cli.messages import as_data, letter_text

    letters = asyncio.run(browse(Source(broker, config, app), queue, Filter(ids=frozenset({id})), MOST))
    if not letters:
        raise ConfigError(f"no dead letter of {queue!r} has the id {id!r}: see 'leveler dead list {queue}'")
    if json:
        say_json([as_data(letter) for letter in letters])
    else:
        say("\n\n".join(map(letter_text, letters)))
