"""Holdings: what a receiver has handed out and not settled, and how much more it may have."""

from __future__ import annotations

from collections.abc import Iterable

from leveler.adapter import INFINITE
from leveler_sqlite.groups import Receipt


class Holdings:
    """
    Args:
        capacity: most of them, whatever the limit.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = self._limit = capacity
        self._receipts: set[Receipt] = set()
        #: Whether there was no room when it was last asked for.
        self.crowded = False

    def limit(self, limit: int) -> None:
        """Hold at most so many from now on; 0 = stop."""
        self._limit = min(limit, self._capacity)

    @property
    def empty(self) -> bool:
        return not self._receipts

    @property
    def stopped(self) -> bool:
        return self._limit < 1

    def room(self, wanted: int, now: float) -> int:
        """How many of `wanted` there is room for."""
        room = min(wanted, self._limit - len(self._receipts))
        if room < 1:  # what nobody settled in time is not held any more
            self._receipts = {receipt for receipt in self._receipts if receipt.lease.due > now}
            room = min(wanted, self._limit - len(self._receipts))
        self.crowded = room < 1
        return max(0, room)

    def add(self, receipts: Iterable[Receipt]) -> None:
        self._receipts.update(receipts)

    def remove(self, receipts: Iterable[Receipt]) -> None:
        self._receipts.difference_update(receipts)

    def first_end(self) -> float:
        """When the first lease ends, and makes room."""
        return min((receipt.lease.due for receipt in self._receipts), default=INFINITE)
