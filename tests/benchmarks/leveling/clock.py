"""EventClock: time that jumps from one event to the next, for a whole matrix of traces, rows and seeds in minutes."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(2030, 1, 1, tzinfo=UTC)


class _Event:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class EventClock:
    """A `leveler.clock.Clock` without a loop: nothing here ever awaits."""

    def __init__(self) -> None:
        self._now = 0.0
        self._events: list[tuple[float, int, _Event]] = []
        self._order = 0

    def monotonic(self) -> float:
        return self._now

    def now(self) -> datetime:
        return _START + timedelta(seconds=self._now)

    def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> _Event:
        event = _Event(callback)
        self._order += 1
        heapq.heappush(self._events, (self._now + max(0.0, delay_seconds), self._order, event))
        return event

    async def sleep(self, delay_seconds: float) -> None:
        raise RuntimeError("nobody waits on this clock: use call_later")

    def run(self, until: float) -> None:
        """Let time pass until then, with all that falls due."""
        events = self._events
        while events and events[0][0] <= until:
            at, _, event = heapq.heappop(events)
            if event.callback is not None:
                self._now = at
                event.callback()
        self._now = until
