"""The emulator's time: the machine's, or faster."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from leveler.clock import Clock, Timer


class ScaledClock:
    """A `Clock` on which `speed` seconds pass in each second of another one, since `anchor`.

    Callers do not know of it: a moment that they name is so far from their own now, see `moment_of`.
    """

    def __init__(self, inner: Clock, speed: float, anchor: datetime | None = None) -> None:
        self.inner = inner
        self.speed = speed
        #: When both clocks showed the same.
        self.anchor = anchor or inner.now()

    def monotonic(self) -> float:
        return self.inner.monotonic() * self.speed

    def now(self) -> datetime:
        return self.anchor + (self.inner.now() - self.anchor) * self.speed

    def moment_of(self, moment: float) -> float:
        """A caller's moment, in seconds since the epoch, on this clock: as far from now as it is for the caller."""
        return self.now().timestamp() + moment - self.inner.now().timestamp()

    def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> Timer:
        return self.inner.call_later(delay_seconds / self.speed, callback)

    async def sleep(self, delay_seconds: float) -> None:
        await self.inner.sleep(delay_seconds / self.speed)
