"""``leveler dead purge``: remove them for good."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from leveler.cli.complaint import FAILED
from leveler.cli.dead.letters import (
    MOST,
    DryRun,
    Filter,
    Id,
    NewerThan,
    OlderThan,
    Reason,
    Type,
    browse,
    chosen,
    say_ids,
)
from leveler.cli.source import AppOption, BrokerOption, ConfigOption, JsonOption, QueueArgument, Source
from leveler.cli.terminal import say, say_json
from leveler.errors import ConfigError


def purge(
    queue: QueueArgument,
    reason: Reason = None,
    type: Type = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    id: Id = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    broker: BrokerOption = None,
    config: ConfigOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Remove dead letters of QUEUE for good; all of them, or those that the filters leave. Asks before."""
    wanted = chosen(reason, type, older_than, newer_than, id)
    source = Source(broker, config, app)
    if dry_run or not yes:
        letters = asyncio.run(browse(source, queue, wanted, MOST))
        if dry_run:
            say_ids("would be removed", [letter.id for letter in letters], json)
            return
        _ask(queue, len(letters))
    removed = asyncio.run(_purge(source, queue, wanted))
    if json:
        say_json({"queue": queue, "removed": removed})
    else:
        say(f"{'all' if removed is None else f'{removed:,}'} dead letters of {queue} removed")


def _ask(queue: str, count: int) -> None:
    if not _is_terminal():
        raise ConfigError(f"nobody can be asked whether to remove dead letters of {queue!r}: add --yes")
    if not typer.confirm(f"Remove {count:,} dead letters of {queue} for good?"):
        raise typer.Exit(FAILED)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


async def _purge(source: Source, queue: str, wanted: Filter) -> int | None:
    async with source.looking([queue]) as runtime:
        letters = await runtime.dead_letters(queue)
        return await letters.remove(wanted.now()) if wanted.narrows else await letters.purge()
