"""Worker: an app that consumes until it is told to stop, then drains; it shows its figures where it is told to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from leveler.events import log
from leveler.monitor.address import Address
from leveler.runtime import Runtime
from leveler.supervisor.line import Line

if TYPE_CHECKING:
    from leveler.monitor.endpoint import Endpoint


async def work(runtime: Runtime, state: Any, only: Collection[str] | None, line: Line | None = None) -> int:
    """Consume until SIGTERM or SIGINT, then drain; a second signal gives everything back at once.

    Args:
        runtime: open.
        state: what the app's lifespan yielded.
        only: these queues; None = all that have handlers.
        line: to the supervisor, whose end is as good as a signal.

    Returns:
        The exit code: 0, or 1 if deliveries had to be left to the end of their lease.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def begin() -> None:
        if stop.is_set():
            return
        runtime.refuse()
        running = sum(health.running for health in runtime.health().consumers.values())
        seconds = runtime.settings.drain_timeout_seconds
        waits = f"{running} running, which may end within {seconds:g} s" if running else "nothing runs"
        log.info("stopping: %s; a second signal gives everything back at once", waits)
        stop.set()

    def hurry() -> None:
        log.info("a second signal: everything goes back at once")
        begin()
        runtime.hurry()

    def on_signal() -> None:
        if stop.is_set() and line is None:  # else the supervisor says whether it was a second one
            hurry()
        else:
            begin()

    def on_gone() -> None:
        log.warning("the supervisor is gone: nobody would tell this worker to end")
        begin()

    async with _listening(runtime) as endpoint:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        if line is not None:
            line.watch(gone=on_gone, hurry=hurry)
        try:
            await runtime.consume(only, state)
            if line is not None:
                line.begun(endpoint.url if endpoint is not None else None)
            await runtime.until(stop)
            left = await runtime.drain(runtime.settings.drain_timeout_seconds)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
    return 1 if left else 0


def _listening(runtime: Runtime) -> AbstractAsyncContextManager[Endpoint | None]:
    """Shows the figures while it is entered, where the settings want that."""
    settings = runtime.settings
    if settings.listen is None:
        return nullcontext()
    # Here, because an HTTP server takes long to import, and most workers show nothing.
    from leveler.monitor.endpoint import Endpoint

    address = Address.of(settings.listen)
    return Endpoint(address, settings.listen_token, figures=runtime.figures, ready=lambda: runtime.health().ready)
