"""The emulator's time: the machine's, or faster, or beside it."""

from __future__ import annotations

import time
from typing import Final

#: .NET ticks (100 ns since the year 1) at the start of 1970.
_EPOCH_TICKS: Final = 621_355_968_000_000_000


class EmulatorClock:
    """A wall clock that may run faster than the machine's, and be moved.

    Args:
        speed: how many seconds pass here in one of the machine's.
        ahead_seconds: how far it is ahead of the machine's at the start.
    """

    def __init__(self, *, speed: float = 1.0, ahead_seconds: float = 0.0) -> None:
        if not 0 < speed <= 100_000:
            raise ValueError(f"the clock's speed is {speed:g}: expected more than 0, up to 100000")
        self.speed = speed
        self._started = time.monotonic()
        self._started_ms = (time.time() + ahead_seconds) * 1000

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self._started_ms + (time.monotonic() - self._started) * self.speed * 1000)

    def move(self, seconds: float) -> None:
        """Go forward at once; or back, as a clock does that is set right."""
        self._started_ms += seconds * 1000

    def real_seconds(self, duration_ms: float) -> float:
        """How long the machine has to wait for `duration_ms` of ours."""
        return duration_ms / 1000 / self.speed


def ticks(time_ms: int) -> int:
    """As .NET counts: 100 ns since the year 1."""
    return time_ms * 10_000 + _EPOCH_TICKS
