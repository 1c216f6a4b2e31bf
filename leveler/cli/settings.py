"""``leveler config``: the settings that hold, and who said each of them."""

from __future__ import annotations

from typing import Annotated

import typer

from leveler.cli.source import AppOption, BrokerOption, ConfigOption, JsonOption, Source
from leveler.cli.terminal import say, say_json, table


def config(
    broker: BrokerOption = None,
    config: ConfigOption = None,
    app: AppOption = None,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what nobody set.")] = False,
    json: JsonOption = False,
) -> None:
    """Show every setting that holds and where it comes from: default, code, leveler.yaml or a variable. No secrets."""
    rows = [row for row in Source(broker, config, app).loaded().explain() if not (changed and row.origin == "default")]
    if json:
        say_json({row.key: {"value": row.value, "from": row.origin} for row in rows})
    else:
        say(table(["SETTING", "VALUE", "FROM"], rows))
