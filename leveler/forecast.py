"""Forecast: how long a message would wait that is sent now, from how many wait and how many of late were done. Pure.

How many were done shows in the depth: what was there and what was sent since, less what is there now. A producer knows
of its own messages only, so where others send too it counts too few: each measurement is a lower bound, and the best of
the last ones holds. While nobody can send there is nothing to miss, and the measurement is exact.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from leveler.adapter import Depth

#: A measurement of the pace covers so much: less is noise.
_SPAN_SECONDS: Final = (1.0, 5.0)
#: For so long it holds.
_HOLDS_SECONDS: Final = 30.0


class Count(NamedTuple):
    """What the queue held at one moment."""

    at: float
    #: All of them, as far as the broker can tell.
    total: int
    ready: int
    #: Of our own: those that are surely in `total`, and those that may be.
    accepted: int
    begun: int


class Forecast:
    """Of one queue, as one producer sees it."""

    def __init__(self) -> None:
        self._accepted = 0
        self._begun = 0
        self._accepted_before_look = 0
        self._counts: deque[Count] = deque()
        self._paces: deque[tuple[float, float]] = deque()

    def begin(self, messages: int) -> None:
        """So many are being sent."""
        self._begun += messages

    def end(self, accepted: int, refused: int) -> None:
        """So many of them were accepted, and so many were not."""
        self._accepted += accepted
        self._begun -= refused

    def before_look(self) -> None:
        """The depth is being asked for."""
        self._accepted_before_look = self._accepted

    def look(self, now: float, depth: Depth) -> None:
        """`depth` is the answer, and came `now`."""
        ready = depth.ready or 0
        total = ready + (depth.leased or 0) + (depth.delayed or 0)
        count = Count(now, total, ready, self._accepted_before_look, self._begun)
        while self._counts and (self._counts[0].at < now - _SPAN_SECONDS[1] or not self._counts[0].ready):
            self._counts.popleft()  # from an empty queue on nobody can say how long there was anything to do
        if self._counts and now - self._counts[0].at >= _SPAN_SECONDS[0]:
            self._measure(self._counts[0], count)
        self._counts.append(count)

    @property
    def looked_at(self) -> float:
        return self._counts[-1].at if self._counts else float("-inf")

    @property
    def waiting(self) -> int:
        """How many wait now, those included that were sent since the last look."""
        return self._counts[-1].ready + self._begun - self._counts[-1].begun if self._counts else self._begun

    @property
    def per_second(self) -> float | None:
        """How many are done in a second; None as long as nobody knows."""
        return max((pace for _, pace in self._paces), default=None)

    def wait_seconds(self) -> float:
        """How long a message would wait that is sent now; 0 as long as nobody knows."""
        pace = self.per_second
        return self.waiting / pace if pace else 0.0

    def room(self, max_wait_seconds: float) -> float:
        """How many may be sent now, so that none has to wait longer."""
        pace = self.per_second
        return float("inf") if pace is None else max(0.0, pace * max_wait_seconds - self.waiting)

    def _measure(self, before: Count, after: Count) -> None:
        seconds = after.at - before.at
        sent = max(0, after.accepted - before.begun)
        # One more, for the one that is being done: a queue that has done nothing for a second may do one a second yet.
        pace = (max(0, before.total + sent - after.total) + 1) / seconds
        if after.ready or pace > (self.per_second or 0.0):  # who has had nothing to do is at least as quick
            while self._paces and self._paces[0][0] < after.at - _HOLDS_SECONDS:
                self._paces.popleft()
            self._paces.append((after.at, pace))
