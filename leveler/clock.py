"""Time, passed in: the engine never asks the operating system what time it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Timer(Protocol):
    """A call that is due later and may be cancelled before."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Two times and a way to wait. Leases, limits and timeouts use `monotonic`; messages carry `now`."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""
        ...

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the running loop after `delay_seconds`."""
        ...

    async def sleep(self, delay_seconds: float) -> None: ...


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_seconds, callback)

    async def sleep(self, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
