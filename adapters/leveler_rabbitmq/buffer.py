"""Buffer: what has come, and nobody has asked for it yet."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from leveler_rabbitmq.feed import Arrival


class Buffer:
    """Those with the most attempts are handed out first.

    Such a message may be about to end its process, and whatever is here then has one attempt less. Whoever starts them
    must see them before they have waited here through the ends of others.
    """

    def __init__(self) -> None:
        self._arrivals: deque[Arrival] = deque()
        #: Whether somebody has had one of them before.
        self._mixed = False

    def add(self, arrival: Arrival) -> None:
        self._arrivals.append(arrival)
        if arrival.attempt > 1:
            self._mixed = True

    def take(self, count: int, now: datetime) -> tuple[list[Arrival], list[Arrival]]:
        """At most so many that may be handed out, and those that are still to wait, which were before them."""
        if self._mixed:
            self._arrivals = deque(sorted(self._arrivals, key=lambda arrival: -arrival.attempt))
            self._mixed = False
        due: list[Arrival] = []
        early: list[Arrival] = []
        arrivals = self._arrivals
        while arrivals and len(due) < count:
            arrival = arrivals.popleft()
            early_one = arrival.waits_on and arrival.message.delay_seconds(now) > 0
            (early if early_one else due).append(arrival)
        return due, early

    def surplus(self, most: int) -> list[Arrival]:
        """Take out what is above `most`, the last ones."""
        surplus = [self._arrivals.pop() for _ in range(len(self._arrivals) - max(0, most))]
        return surplus[::-1]

    def stale(self, came_before: float) -> list[Arrival]:
        """Take out what came before that time."""
        stale = [arrival for arrival in self._arrivals if arrival.at < came_before]
        if stale:
            self._arrivals = deque(arrival for arrival in self._arrivals if arrival.at >= came_before)
        return stale

    def clear(self) -> None:
        self._arrivals.clear()

    def __len__(self) -> int:
        return len(self._arrivals)
