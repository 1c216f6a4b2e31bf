"""Holdings: what a receiver has handed out and not settled, and how much more it may have. For adapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from leveler.adapter import INFINITE


class Leased(Protocol):
    """A receipt, equal to none but itself."""

    @property
    def leased_until(self) -> float:
        """When its lease ends, on the clock of the receiver that holds it. The broker may know better."""
        ...


R = TypeVar("R", bound=Leased)


class Holdings(Generic[R]):
    """Receipts are held until they are removed, or their lease ends: what nobody settled in time is not ours any more.

    Args:
        capacity: most of them, whatever the limit.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = self._limit = capacity
        self._receipts: set[R] = set()
        #: Whether there was no room when it was last asked for: who waits for some wants to know that there is.
        self.crowded = False

    def limit(self, limit: int) -> None:
        """Hold at most so many from now on; 0 = stop."""
        self._limit = min(limit, self._capacity)

    @property
    def stopped(self) -> bool:
        return self._limit < 1

    @property
    def empty(self) -> bool:
        return not self._receipts

    def room(self, wanted: int, now: float) -> int:
        """How many of `wanted` there is room for."""
        room = self._limit - len(self._receipts)
        if room < wanted and self.first_end() <= now:
            self._receipts = {receipt for receipt in self._receipts if receipt.leased_until > now}
            room = self._limit - len(self._receipts)
        self.crowded = room < 1
        return max(0, min(wanted, room))

    def __iter__(self) -> Iterator[R]:
        return iter(self._receipts)

    def has(self, receipt: R, now: float) -> bool:
        """Whether it is ours to settle."""
        return receipt in self._receipts and receipt.leased_until > now

    def sift(self, receipts: Sequence[R], now: float) -> tuple[Sequence[int], list[int]]:
        """The places of those that are ours to settle, and of the others."""
        places = range(len(receipts))
        ends = [receipt.leased_until for receipt in receipts]
        if self._receipts.issuperset(receipts) and min(ends, default=INFINITE) > now:  # nearly always, so quickly
            return places, []
        current = [place for place in places if self.has(receipts[place], now)]
        return current, sorted(set(places).difference(current))

    def add(self, receipts: Iterable[R]) -> None:
        self._receipts.update(receipts)

    def remove(self, receipts: Iterable[R]) -> None:
        self._receipts.difference_update(receipts)

    def first_end(self) -> float:
        """When the first lease ends, and makes room."""
        return min((receipt.leased_until for receipt in self._receipts), default=INFINITE)
