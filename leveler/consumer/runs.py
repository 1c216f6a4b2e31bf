"""Runs: how many handlers run now, and the wait until none does."""

from __future__ import annotations

import asyncio

from leveler.adapter import INFINITE
from leveler.clock import Clock


class Runs:
    """Counts the handler runs of one consumer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calm = asyncio.Event()
        self._hurried = False
        self.now = 0

    def begin(self) -> None:
        self.now += 1

    def end(self) -> None:
        self.now -= 1

    def check(self) -> None:
        """A run has ended and all that follows from it is under way."""
        if not self.now:
            self._calm.set()

    def hurry(self) -> None:
        """End the `wait` that is under way, and those to come until `take_time`."""
        self._hurried = True
        self._calm.set()

    def take_time(self) -> None:
        self._hurried = False

    async def wait(self, seconds: float) -> None:
        """Until no handler runs, or for so long."""
        if not self.now or self._hurried or seconds <= 0:
            return
        self._calm.clear()
        timer = self._clock.call_later(seconds, self._calm.set) if seconds != INFINITE else None
        await self._calm.wait()
        if timer is not None:
            timer.cancel()
