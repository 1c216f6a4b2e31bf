"""``leveler contract``: the contract suite against any broker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leveler.cli.capabilities import capabilities_data, capabilities_table
from leveler.cli.complaint import FAILED
from leveler.cli.source import JsonOption, seconds
from leveler.cli.terminal import errors_console, escaped, say, say_json
from leveler.errors import ConfigError

if TYPE_CHECKING:
    from leveler.adapter import Capabilities
    from leveler.testing.contract import Report, Result, UrlTarget


def contract(
    url: Annotated[str, typer.Argument(help="Of a broker for tests: queues are made there, and dropped.")],
    only: Annotated[str, typer.Option(metavar="TOPIC", help="Cases whose name contains this, such as 'delay'.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Cases side by side.")] = 4,
    lease: Annotated[str, typer.Option(help="The shortest lease that makes sense there.")] = "2s",
    ordered: Annotated[bool, typer.Option("--ordered", help="All on queues that keep the order of each key.")] = False,
    dedup: Annotated[str, typer.Option(help="All on queues that drop what came before within so long.")] = "0s",
    json: JsonOption = False,
) -> None:
    """Try every sentence of the adapter contract on the broker at URL.

    It prints what the adapter says of its queues, then a table by topic: what passed, what failed, and what was not
    tried because the adapter does not claim it.
    """
    from leveler.testing.contract import UrlTarget

    target = UrlTarget(url, lease_seconds=seconds("--lease", lease) or 2.0)
    target.spec = {"ordered": ordered, "dedup_seconds": seconds("--dedup", dedup) or 0.0}
    can, report = asyncio.run(_contract(target, only, jobs))
    if json:
        say_json({**report.as_data(), "capabilities": capabilities_data(can)})
    else:
        say(f"capabilities of {target.name}\n\n{capabilities_table(can)}\n")
        say(escaped(report.as_text(), lines=True))
    if not report.ok:
        raise typer.Exit(FAILED)


async def _contract(target: UrlTarget, only: str, jobs: int) -> tuple[Capabilities, Report]:
    from leveler.testing.contract import cases
    from leveler.testing.contract import run as run_cases

    if not cases(only):
        topics = ", ".join(dict.fromkeys(case.topic for case in cases()))
        raise ConfigError(f"--only {only!r}: no case is called so; topics are {topics}")
    can = await _capabilities(target)
    with _progress(len(cases(only))) as told:
        return can, await run_cases(target, only=only, jobs=jobs, on_result=told)


async def _capabilities(target: UrlTarget) -> Capabilities:
    """Of a plain queue; and whether one that asks for order, or for no duplicates, gets them."""
    ordered = await _claimed(target, ordered=True)
    deduplicated = await _claimed(target, dedup_seconds=60.0)
    plain = await _claimed(target)
    assert plain is not None
    return replace(
        plain,
        ordering=(ordered or plain).ordering,
        dedup_seconds=(deduplicated or plain).dedup_seconds,
    )


async def _claimed(target: UrlTarget, **spec: Any) -> Capabilities | None:
    """Of a queue that is made for it, and dropped; None where the broker has no such queues."""
    from leveler.testing.contract import Rig

    rig = Rig(target)
    try:
        await rig.connect()
        await rig.declare(**spec)
        return rig.can
    except ConfigError:
        if not spec:
            raise
        return None
    finally:
        await rig.stop()


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Result], object]]:
    if not sys.stderr.isatty():
        yield lambda result: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]} failed  {task.description}"))
    with Progress(*columns, console=errors_console(), transient=True) as progress:
        task, failed = progress.add_task("", total=total, failed=0), 0

        def told(result: Result) -> None:
            nonlocal failed
            failed += result.verdict == "failed"
            progress.update(task, advance=1, failed=failed, description=result.case.id)

        yield told
