"""Holdings: what a receiver has handed out and not settled, and how much more it may have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leveler.adapter import INFINITE, Delivery

#: A lane, and the id of an entry in it.
Place = tuple[int, bytes]


class Receipt:
    """One delivery of one entry."""

    __slots__ = ("leased_until", "line", "number", "place")

    def __init__(self, place: Place, line: bytes, number: int, leased_until: float) -> None:
        self.place = place
        #: Its place in the line of its key, as the scripts know it; empty where there is none.
        self.line = line
        #: As it was read: of two entries in a lane the older one has the lower number.
        self.number = number
        #: When its lease ends, on the monotonic clock. The server knows better.
        self.leased_until = leased_until


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

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """They are held. An older delivery of the same entry is over."""
        self._receipts.update((delivery.receipt.place, delivery.receipt) for delivery in deliveries)

    def sift(self, deliveries: Sequence[Delivery]) -> tuple[list[int], list[int]]:
        """The places of those that are held, the oldest entries first, and of those that are over."""
        held = self._receipts
        current = [
            place for place, one in enumerate(deliveries) if held.get(one.receipt.place) is one.receipt
        ]  # fmt: skip
        lost = [] if len(current) == len(deliveries) else sorted(set(range(len(deliveries))).difference(current))
        current.sort(key=lambda place: deliveries[place].receipt.number)
        return current, lost

    def remove(self, deliveries: Iterable[Delivery]) -> None:
        held = self._receipts
        for delivery in deliveries:
            receipt: Receipt = delivery.receipt
            if held.get(receipt.place) is receipt:
                del held[receipt.place]

    def first_end(self) -> float:
        """When the first lease ends, and makes room."""
        return min((receipt.leased_until for receipt in self._receipts.values()), default=INFINITE)
