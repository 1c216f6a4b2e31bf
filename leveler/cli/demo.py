"""``leveler demo``: watch a burst being levelled."""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leveler.cli.complaint import FAILED
from leveler.cli.source import JsonOption
from leveler.cli.terminal import say, say_json
from leveler.errors import ConfigError

if TYPE_CHECKING:
    from leveler.demo.demo import Demo
    from leveler.demo.plan import Plan


def demo(
    seconds: Annotated[float, typer.Option(min=1, max=60, help="How long the week takes to arrive.")] = 12.0,
    broker: Annotated[str | None, typer.Option(metavar="URL", help="A broker that processes can share.")] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Use this new SQLite file, and leave it to be looked at.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the summary and the curves there, as JSON.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Watch a burst being levelled: a week of real departures from New York arrives in seconds.

    A worker process takes them at the rate that a downstream bears. A part of its calls fails, and flights that were
    cancelled lack what the handler's type demands. At the end, the dead letters that are worth it are replayed.
    """
    from leveler.demo.demo import Demo
    from leveler.demo.plan import Plan

    _forget_settings()
    with tempfile.TemporaryDirectory(prefix="leveler-demo-") as folder:
        plan = Plan.of(_url(broker, keep, Path(folder)), seconds)
        with _screen(plan, quiet=json) as show:
            played = Demo(plan, Path(folder), show)
            asyncio.run(played.play())
    summary = played.summary()
    if record is not None:
        record.write_text(jsonlib.dumps(played.as_data(), indent=1) + "\n")
    if json:
        say_json(summary.as_data())
    else:
        say(summary.as_text(plan))
        if keep is not None:
            say(f"Look at what is left: leveler dead list departures --broker {plan.broker}")
    if not summary.ok:
        raise typer.Exit(FAILED)


def _forget_settings() -> None:
    """The user's own settings are about other queues: neither we nor the worker may hear them."""
    for name in [name for name in os.environ if name.startswith("LEVELER_")]:
        del os.environ[name]


def _url(broker: str | None, keep: Path | None, folder: Path) -> str:
    if broker is not None and keep is not None:
        raise ConfigError("give either --broker or --keep")
    if keep is not None and keep.exists():
        raise ConfigError(f"--keep {str(keep)!r}: it is there already; name a new file")
    return broker or f"sqlite:///{(keep or folder / 'departures.db').resolve()}"


@contextmanager
def _screen(plan: Plan, *, quiet: bool) -> Iterator[Callable[[Demo], object]]:
    """The curves: live on a terminal, at the end only where there is none."""
    from rich.console import Console
    from rich.live import Live

    from leveler.demo.screen import screen

    if quiet or not sys.stdout.isatty():
        last: list[Demo] = []
        yield last.append
        if not quiet:
            say(screen(last[-1], plan, width=100).plain)
        return
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        yield lambda demo: live.update(screen(demo, plan, width=console.width), refresh=True)
