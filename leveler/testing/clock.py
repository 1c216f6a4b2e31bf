"""A clock that moves only when told, and fires what falls due on the way, in order."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A `leveler.clock.Clock` for tests. It starts at 2030-01-01 and stands still until `advance`."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._wall = start
        self._now = 0.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._now

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self._now)

    def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self._now + max(0.0, delay_seconds), next(self._order), timer))
        return timer

    async def sleep(self, delay_seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(delay_seconds, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()

    def next_due(self) -> float | None:
        """Seconds until the next timer; None when there is none."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self._now) if self._timers else None

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass. Whatever falls due runs at its time, and all it sets off runs before time goes on."""
        target = self._now + seconds
        await quiet()
        while (due := self.next_due()) is not None and self._now + due <= target:
            self.fire_next()
            await quiet()
        self._now = target
        await quiet()

    def fire_next(self) -> bool:
        """Let time pass until the next timer and fire it; False if there is none. For loops that keep to this clock:
        what it sets off has not run when this returns."""
        if self.next_due() is None:
            return False
        at, _, timer = heapq.heappop(self._timers)
        self._now = max(self._now, at)
        timer.fire()
        return True

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator or a time server does. Monotonic time does not notice."""
        self._wall += timedelta(seconds=seconds)


class _Timer:
    """Fires in the context in which it was set, as a loop's own timers do."""

    __slots__ = ("callback", "context")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback
        self.context = contextvars.copy_context()

    def cancel(self) -> None:
        self.callback = None

    def fire(self) -> None:
        if self.callback is not None:
            self.context.run(self.callback)


async def quiet() -> None:
    """Return when nothing else on the running loop can go on without time passing or I/O arriving."""
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    if ready is None:  # not asyncio's own loop: it does not show its queue, so give every chain of wake-ups room
        for _ in range(200):
            await asyncio.sleep(0)
        return
    await asyncio.sleep(0)
    while ready:  # noqa: ASYNC110  # what is waited for is that nothing happens any more
        await asyncio.sleep(0)
