"""Dips: a few round trips with fewer calls, now and then: what the latency is when nobody waits."""

from __future__ import annotations

import math
from typing import Final

from leveler.consumer.limits.round import Plan
from leveler.consumer.limits.unqueued import Seen

#: Of the knee; in the first ones, when other processes may crowd the downstream, too.
_DEPTH: Final = 0.8
_FIRST_DEPTH: Final = 0.7
#: How exact one should be, and how long it lasts, in round trips.
_ERROR: Final = 0.1
_TRIPS: Final = (3.0, 8.0)
#: Between two of them, in base latencies; rounded up to a power of two of seconds.
_EVERY: Final = 60.0


class Dips:
    """When they are due, how deep they go and how long they last.

    Args:
        wall_seconds: the wall clock's time less the monotonic clock's: processes that share a downstream and no store
            dip together, so that none of them takes the others' queue for the base.
    """

    def __init__(self, wall_seconds: float) -> None:
        self._wall = wall_seconds
        self._done = 0

    def limit(self, seen: Seen, knee: float, doubted: float) -> float:
        """How many calls at once, after a round with a limit that is above the knee: fewer than `doubted`, too."""
        depth = _DEPTH if self._done > 1 else _FIRST_DEPTH
        return max(1.0, min(max(depth * min(knee, seen.limit), 0.5 * seen.limit), depth * doubted))

    def can_go_on(self, limit: float) -> bool:
        """Whether there is a call to be left out."""
        return int(_DEPTH * limit) >= 1

    def end(self) -> None:
        self._done += 1

    def due_at(self, now: float, base_seconds: float) -> float:
        """At a multiple of a power of two of seconds, by the wall clock. The first ones follow one another sooner."""
        every = 2.0 ** math.ceil(math.log2(_EVERY * base_seconds) - max(0, 2 - self._done))
        return ((now + self._wall) // every + 1) * every - self._wall

    def plan(self, limit: float, base_seconds: float, cv: float) -> Plan:
        """Of a dip with so many calls at once."""
        runs = min((cv / _ERROR) ** 2, _TRIPS[1] * limit)
        seconds = _TRIPS[0] * base_seconds
        return Plan(runs=runs, seconds=seconds, settles=True, latency_seconds=base_seconds, measures=True)
