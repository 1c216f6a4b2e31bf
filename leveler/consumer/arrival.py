"""Arrivals: what has just been received. Most may start, some are settled at once, and some must start alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from leveler.adapter import INFINITE, Delivery, Receiver
from leveler.clock import Clock
from leveler.consumer.held import Held


class Arrivals:
    """Sorts what comes in.

    It starts slowly, which means one delivery at a time and then twice as many each time, where one that must start
    alone may be about to come: whatever is received together with such a one has to go back. So it is when the process
    starts, whose predecessor may have been ended by a message, when a receiver is lost, with which all that it held has
    been delivered once more, and after each one that had to start alone.

    Where going back counts, it is kept instead, and one at a time comes for a lease longer: by then everything that an
    ended process held has come.

    And it is wary while what comes has been delivered before: one of them may have ended a process, and what is held
    when it does so again is counted with it. Then no more come together than can run together.

    Args:
        clock: time.
        workers: how many can run together.
        counted_seconds: the queue's lease where giving back counts an attempt, else 0.
        keep: takes what has arrived into our books.
        sort: those that may start, those that must start alone, and what becomes of those that need not be started.
        settle: settles one of the latter.
        isolate: starts one alone, some time; False if it cannot yet.
        give_back: gives back what is not started.
        park: keeps one that is to start alone later.
        refusing: whether what comes now must go back.
    """

    def __init__(
        self,
        clock: Clock,
        workers: int,
        counted_seconds: float,
        *,
        keep: Callable[[Sequence[Held]], object],
        sort: Callable[[Sequence[Held], datetime], tuple[list[Held], list[Held], list[tuple[Held, Any]]]],
        settle: Callable[[Held, Any], object],
        isolate: Callable[[Held], bool],
        give_back: Callable[[Sequence[Held]], object],
        park: Callable[[Held], object],
        refusing: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._counted_seconds = counted_seconds
        self._keep = keep
        self._sort = sort
        self._settle = settle
        self._isolate = isolate
        self._give_back = give_back
        self._park = park
        self._refusing = refusing
        self._wary = False
        self._together = 1
        self._careful_until = clock.monotonic() + counted_seconds

    def most(self) -> float:
        """How many may wait to be started, those included that are asked for now."""
        if self._together <= self._workers:
            return self._together
        return self._workers if self._wary else INFINITE

    def start_over(self) -> None:
        """What comes next may have to start alone."""
        self._together = 1

    def be_careful(self, seconds: float = 0.0) -> None:
        """One may come that costs what comes with it an attempt: in so many seconds, or before."""
        self.start_over()
        self._careful_until = max(self._careful_until, self._clock.monotonic() + seconds + self._counted_seconds)

    def admit(self, receiver: Receiver, deliveries: Sequence[Delivery]) -> list[Held]:
        """Those that workers may start, in order."""
        arrived = [Held(delivery, receiver) for delivery in deliveries]
        if arrived:
            self._wary = max([delivery.attempt for delivery in deliveries]) > 1
        self._keep(arrived)
        if self._refusing():
            self._give_back(arrived)
            return []
        startable, suspects, over = self._sort(arrived, self._clock.now())
        for held, decision in over:
            self._settle(held, decision)
        if suspects:
            self.be_careful()
            return self._set_aside(suspects[1:] if self._isolate(suspects[0]) else suspects, startable)
        if arrived and self._clock.monotonic() >= self._careful_until:
            self._together = min(2 * self._together, 2 * self._workers)
        return startable

    def _set_aside(self, suspects: list[Held], startable: list[Held]) -> list[Held]:
        """What came with one that starts alone. What workers may start of it, when that has ended."""
        if not self._counted_seconds:
            self._give_back(suspects + startable)
            return []
        for held in suspects:
            self._park(held)
        return startable
