"""Holdings: what a receiver has handed out and not settled, and how much more it may have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leveler.adapter import INFINITE, Delivery

#: A lane and the id of an entry in it.
Place = tuple[int, bytes]


@dataclass(slots=True, eq=False)
class Receipt:
    """One delivery of one entry."""

    lane: int
    entry: bytes
    #: Its place in the line of its key; empty where there is none.
    line: bytes
    #: When its lease ends, on the monotonic clock. The server knows better.
    leased_until: float

    @property
    def place(self) -> Place:
        return self.lane, self.entry


class Holdings:
    """
    Args:
        capacity: most of them, whatever the limit.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = self._limit = capacity
        self._receipts: dict[Place, Receipt] = {}
        #: Whether there was no room when it was last asked for.
        self.crowded = False

    def __contains__(self, place: Place) -> bool:
        return place in self._receipts

    def limit(self, limit: int) -> None:
        """Hold at most so many from now on; 0 = stop."""
        self._limit = min(limit, self._capacity)

    @property
    def stopped(self) -> bool:
        return self._limit < 1

    def room(self, wanted: int, now: float) -> int:
        """How many of `wanted` there is room for."""
        room = min(wanted, self._limit - len(self._receipts))
        if room < 1:  # what nobody settled in time is not held any more
            self._receipts = {place: one for place, one in self._receipts.items() if one.leased_until > now}
            room = min(wanted, self._limit - len(self._receipts))
        self.crowded = room < 1
        return max(0, room)

    def add(self, receipts: Iterable[Receipt]) -> None:
        """They are held. An older delivery of the same entry is over."""
        for receipt in receipts:
            self._receipts[receipt.place] = receipt

    def is_current(self, receipt: Receipt) -> bool:
        return self._receipts.get(receipt.place) is receipt

    def remove(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            receipt: Receipt = delivery.receipt
            if self._receipts.get(receipt.place) is receipt:
                del self._receipts[receipt.place]

    def first_end(self) -> float:
        """When the first lease ends, and makes room."""
        return min((receipt.leased_until for receipt in self._receipts.values()), default=INFINITE)
