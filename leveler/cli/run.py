"""``leveler run``: a worker, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from leveler import units
from leveler.adapter import INFINITE
from leveler.cli.processes import Prefixed, Words, supervise
from leveler.cli.source import AppArgument, BrokerOption, ConfigOption, Source
from leveler.cli.terminal import escaped, note, say
from leveler.discovery import adapter_type
from leveler.errors import ConfigError

if TYPE_CHECKING:
    from leveler.app import Leveler
    from leveler.consumer.consumer import Consumer
    from leveler.consumer.report import ConsumerHealth
    from leveler.settings import BrokerSettings, LimitSettings, Settings
    from leveler.supervisor.line import Line

_LOOK_SECONDS: Final = 0.02
#: Threads that have nothing to do end in less.
_THREADS_SECONDS: Final = 0.5


def run(
    app: AppArgument,
    only: Annotated[
        list[str] | None, typer.Option(metavar="QUEUE", help="Consume this queue only; repeatable.")
    ] = None,
    broker: BrokerOption = None,
    config: ConfigOption = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Show figures there over HTTP, for 'leveler top' and Prometheus."),
    ] = None,
    processes: Annotated[
        str | None,
        typer.Option(
            metavar="N|MIN-MAX", help="Keep so many workers running, or as many of a range, such as 1-8, as are useful."
        ),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="What is logged, on stderr.")
    ] = "info",
    worker: Annotated[str | None, typer.Option(metavar="NUMBER:FD", hidden=True)] = None,
) -> None:
    """Consume the queues of APP until SIGTERM or SIGINT.

    The signal stops the flow; what runs may end within drain_timeout, and the rest goes back to the queue. A second
    signal gives everything back at once. The exit code is 0, or 1 if deliveries had to be left to their leases.

    With --processes this one starts the workers, starts those again that end, and passes signals on. The first worker
    shows its figures at --listen HOST:PORT, the second at PORT+1, and so on. Limits hold in each of them by itself,
    but for rates of 'scope: fleet'.
    """
    from leveler.cli.diagnosis import mistyped
    from leveler.settings import Processes

    line = None if worker is None else _kept(worker)
    folder = os.getcwd()  # before the app can change it
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(LogFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=log_level.upper(), handlers=[lines])
    leveler = Source(broker, config, app).loaded()
    leveler.configure(listen=listen, processes=processes)
    if not leveler.handlers:
        raise ConfigError(f"app {app!r} consumes nothing: register a handler with @app.consumer('some-queue')")
    settings = leveler.settings()
    if log_level != "debug":
        _only_warnings(settings.brokers.values())
    queues = list(dict.fromkeys(only or leveler.handlers))
    if line is None:
        for setting, text in mistyped(settings, leveler.handlers):
            note(f"leveler: {setting}: {text}")
        for queue in queues:
            if queue in leveler.handlers and settings.brokers:
                say(_described(queue, settings))
        if Processes.of(settings.processes).max > 1:
            words = Words(app, only or [], broker, config, log_level, folder)
            raise typer.Exit(asyncio.run(supervise(leveler, settings, queues, words)))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(_work(leveler, queues, line))
    raise typer.Exit(code)


def _kept(words: str) -> Line:
    """A worker among others: what it says begins with its number."""
    from leveler.supervisor.line import Line

    line = Line.of(words)
    sys.stdout = Prefixed(sys.stdout, f"[{line.number}] ")
    sys.stderr = Prefixed(sys.stderr, f"[{line.number}] ")
    return line


class LogFormatter(logging.Formatter):
    """Escapes tracebacks: errors quote messages, which are somebody else's."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name that logging looks for
        return escaped(super().formatException(ei), lines=True)


def _only_warnings(brokers: Iterable[BrokerSettings]) -> None:
    """Of the client libraries that would write lines about every request."""
    for broker in brokers:
        for name in (broker.adapter or adapter_type(broker.url)).loggers:
            logging.getLogger(name).setLevel(logging.WARNING)


async def _work(app: Leveler, queues: Collection[str], line: Line | None) -> int:
    from leveler.worker import work

    if line is not None:
        end = partial(signal.raise_signal, signal.SIGTERM)
        line.watch(gone=end, hurry=end)
    # One of ours, because its idle threads can be told to end: those of the loop's own would keep the process alive.
    threads = ThreadPoolExecutor(thread_name_prefix="leveler-thread")
    asyncio.get_running_loop().set_default_executor(threads)
    consumers: dict[str, Consumer] = {}
    telling = asyncio.create_task(_tell_when_ready(app, consumers, line))
    try:
        async with app:
            code = await work(app._started(), app._state, queues, line)
    finally:
        telling.cancel()
    for name, consumer in consumers.items():
        say(f"{name}: {_done(consumer.health())}")
    threads.shutdown(wait=False)
    await _leave_stuck_threads(code)
    return code


async def _tell_when_ready(app: Leveler, consumers: dict[str, Consumer], line: Line | None) -> None:
    """`consumers` outlive their drain, and know what they did."""
    await _until(lambda: app._runtime is not None and bool(app._runtime.consumers), INFINITE)
    consumers.update(app._started().consumers)
    await _until(lambda: app.health().ready, INFINITE)
    say("ready") if line is None else line.ready()


def _described(queue: str, settings: Settings) -> str:
    """One consumer in one line."""
    from leveler.settings import DEFAULT_CONCURRENCY, LimitSettings

    broker = settings.brokers.get(settings.queue(queue).broker)
    where = "no broker" if broker is None else broker.shown()["url"]
    consumer = settings.consumer(queue)
    shared = settings.downstreams.get(consumer.downstream or "", LimitSettings())
    if consumer.limits.concurrency is None and shared.concurrency is None:
        consumer = replace(consumer, limits=replace(consumer.limits, concurrency=DEFAULT_CONCURRENCY))
    parts = [where, *_limits(consumer.limits)]
    parts += [] if consumer.memory_bytes is None else [f"memory {units.size(consumer.memory_bytes)}"]
    if consumer.downstream is not None:
        parts.append(f"downstream {consumer.downstream} ({', '.join(_limits(shared)) or 'no limits'})")
    return f"{queue}: {', '.join(parts)}"


def _limits(limits: LimitSettings) -> list[str]:
    from leveler.settings import Adaptive

    many = limits.concurrency
    range_ = f"{many.min} to {many.max} ({many.algorithm})" if isinstance(many, Adaptive) else many
    parts = [] if many is None else [f"concurrency {range_}"]
    whose = " of the fleet" if limits.is_fleet else ""
    parts += [] if limits.rate_per_second is None else [f"rate {units.rate(limits.rate_per_second)}{whose}"]
    return parts if limits.breaker is None else [*parts, "breaker"]


def _done(health: ConsumerHealth) -> str:
    tally = health.tally
    return (
        f"{tally.completed:,} completed, {tally.retried:,} retried, {tally.dead_lettered:,} dead-lettered, "
        f"{tally.returned + tally.returned_counted:,} given back, {health.held:,} left leased"
    )


async def _leave_stuck_threads(code: int) -> None:
    """A ``def`` handler that never returns must not keep the process from ending: nobody can stop a thread."""
    await _until(lambda: not _threads(), _THREADS_SECONDS)
    if stuck := _threads():
        note(f"leveler: {len(stuck)} threads still run and are left: {', '.join(sorted(t.name for t in stuck))}")
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _threads() -> list[threading.Thread]:
    """Those that the interpreter would wait for."""
    return [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]


async def _until(condition: Callable[[], bool], most_seconds: float) -> None:
    until = time.monotonic() + most_seconds
    while not condition() and time.monotonic() < until:  # noqa: ASYNC110  # nobody would tell us
        await asyncio.sleep(_LOOK_SECONDS)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed."""
    if find_spec("uvloop") is None:
        return None
    make: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return make
