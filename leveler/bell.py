"""Bell: ends the wait of a receiver for something to hand out, or of whoever waits before it asks again."""

from __future__ import annotations

import asyncio

from leveler.adapter import INFINITE
from leveler.clock import Clock


class Bell:
    """Whoever waits clears it first and looks then, so that no ring is missed in between.

    Args:
        clock: for waits that end by themselves.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    @property
    def is_rung(self) -> bool:
        """Whether nobody has cleared it since."""
        return self._rung.is_set()

    def clear(self) -> None:
        """Forget what was rung so far."""
        self._rung.clear()

    async def wait(self, until: float = INFINITE) -> None:
        """Until it is rung, or that time on the monotonic clock."""
        if until == INFINITE:
            await self._rung.wait()
            return
        timer = self._clock.call_later(max(0.0, until - self._clock.monotonic()), self._rung.set)
        try:
            await self._rung.wait()
        finally:
            timer.cancel()
