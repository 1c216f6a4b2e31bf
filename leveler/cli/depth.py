"""``leveler depth``: how much waits, is being handled, is delayed, is dead."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from leveler.cli.source import AppOption, BrokerOption, ConfigOption, JsonOption, Source, seconds
from leveler.cli.terminal import age, say, say_json, table
from leveler.errors import ConfigError

if TYPE_CHECKING:
    from leveler.adapter import Depth
    from leveler.runtime import Runtime


def depth(
    queue: Annotated[list[str] | None, typer.Argument(help="Queues; all that are configured by default.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[str, typer.Option(help="How often to look, such as '1s'.")] = "1s",
    broker: BrokerOption = None,
    config: ConfigOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Count the messages of queues: ready, leased, delayed and dead. A '?' is what the broker cannot tell."""
    pause = seconds("--every", every) or 1.0
    with _shown(as_json=json, watch=watch) as show:
        try:
            asyncio.run(_depth(Source(broker, config, app), queue or [], pause if watch else None, show))
        except KeyboardInterrupt:
            if not watch:
                raise


Show = Callable[[Mapping[str, "Depth"]], None]


async def _depth(source: Source, queues: Sequence[str], pause_seconds: float | None, show: Show) -> None:
    names = list(queues) or _configured(source)
    async with source.looking(names) as runtime:
        while True:
            show({name: await _look(runtime, name) for name in names})
            if pause_seconds is None:
                return
            await asyncio.sleep(pause_seconds)


async def _look(runtime: Runtime, name: str) -> Depth:
    queue = await runtime.queue(name)
    return await queue.adapter.depth(queue.spec)


def _configured(source: Source) -> list[str]:
    names = source.queues()
    if not names:
        raise ConfigError("which queue? Name one; without a name all queues of leveler.yaml and of --app are counted")
    return names


@contextmanager
def _shown(*, as_json: bool, watch: bool) -> Iterator[Show]:
    if as_json:
        yield lambda depths: say_json({name: one._asdict() for name, one in depths.items()})
    elif watch and sys.stdout.isatty():
        from rich.live import Live
        from rich.text import Text

        with Live(auto_refresh=False) as live:
            yield lambda depths: live.update(Text(_table(depths)), refresh=True)
    else:
        yield lambda depths: say(_table(depths))


def _table(depths: Mapping[str, Depth]) -> str:
    rows = [[name, *(_count(count) for count in one[:4]), age(one.oldest_age_seconds)] for name, one in depths.items()]
    return table(["QUEUE", "READY", "LEASED", "DELAYED", "DEAD", "OLDEST"], rows, right=range(1, 6))


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
