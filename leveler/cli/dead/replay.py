"""``leveler dead replay``: a second life."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

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
from leveler.cli.source import AppOption, BrokerOption, ConfigOption, JsonOption, QueueArgument, Source, per_second
from leveler.cli.terminal import errors_console, say, say_json

if TYPE_CHECKING:
    from leveler.deadletter import Wanted
    from leveler.message import Message


def replay(
    queue: QueueArgument,
    reason: Reason = None,
    type: Type = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    id: Id = None,
    rate: Annotated[str | None, typer.Option("--rate", help="No faster than this, such as '10/s'.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="No more than so many.")] = None,
    dry_run: DryRun = False,
    broker: BrokerOption = None,
    config: ConfigOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Send dead letters of QUEUE back to it, to be tried from the start; all of them, or those that the filters leave.

    Each is sent before it is removed, so that none is lost. A message counts its replays.
    """
    wanted = chosen(reason, type, older_than, newer_than, id)
    source = Source(broker, config, app)
    if dry_run:
        letters = asyncio.run(browse(source, queue, wanted, limit or MOST))
        say_ids("would be replayed", [letter.id for letter in letters], json)
        return
    ids, left = asyncio.run(_replay(source, queue, wanted, limit, per_second("--rate", rate)))
    if json:
        say_json({"queue": queue, "replayed": len(ids), "left": left, "ids": ids})
    else:
        say(f"{len(ids):,} replayed to {queue}, {'?' if left is None else f'{left:,}'} dead letters left")


async def _replay(
    source: Source, queue: str, wanted: Filter, limit: int | None, rate_per_second: float | None
) -> tuple[list[str], int | None]:
    """The ids of those that were replayed, and how many dead letters there are now."""
    async with source.looking([queue]) as runtime:
        letters, declared = await runtime.dead_letters(queue), await runtime.queue(queue)
        before = (await declared.adapter.depth(declared.spec)).dead
        with _progress(limit or before, wanted.now()) as counted:
            done = await letters.replay(counted, limit=limit, per_second=rate_per_second)
        return done.replayed, (await declared.adapter.depth(declared.spec)).dead


@contextmanager
def _progress(total: int | None, wanted: Wanted) -> Iterator[Wanted]:
    """A bar over the letters that are wanted, on a terminal."""
    if not sys.stderr.isatty():
        yield wanted
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors_console(), transient=True) as progress:
        task = progress.add_task("", total=total)

        def counted(letter: Message) -> bool:
            chosen = wanted(letter)
            progress.advance(task, int(chosen))
            return chosen

        yield counted
