"""``leveler doctor``: connects, and says what would break the promises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from leveler.cli.complaint import FAILED
from leveler.cli.source import BrokerOption, ConfigOption, JsonOption, Source
from leveler.cli.terminal import one_line, say, say_json

if TYPE_CHECKING:
    from leveler.cli.diagnosis import Diagnosis


def doctor(
    app: Annotated[
        str | None, typer.Argument(metavar="[APP]", help="module:attribute, to look at its queues too.")
    ] = None,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", metavar="QUEUE", help="This one too; repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are faults.")] = False,
    broker: BrokerOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Connect to the brokers and check every queue that is configured. Nothing is created or changed.

    A fault (exit code 1) breaks a promise or stops the start. A warning is weaker than it could be, and yours to judge.
    """
    from leveler.cli.diagnosis import diagnose

    found = asyncio.run(diagnose(Source(broker, config, app), queue or []))
    if json:
        say_json(found.as_data())
    else:
        _say(found)
    if found.faults or (strict and found.warnings):
        raise typer.Exit(FAILED)


def _say(found: Diagnosis) -> None:
    for finding in found.findings:
        say(f"{finding.level:<8} {finding.subject}: {one_line(finding.text)}")
    say(f"\n{_many(len(found.faults), 'fault')}, {_many(len(found.warnings), 'warning')}")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
