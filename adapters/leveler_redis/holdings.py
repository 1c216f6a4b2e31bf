"""Holdings: what a receiver has handed out and not settled, and how much more it may have."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leveler.adapter import INFINITE, Delivery


class Receipt(msgspec.Struct, eq=False, gc=False):  # nothing in it refers back
    """One delivery of one entry."""

    lane: int
    #: Its id in the stream of that lane.
    entry: bytes
    #: Its place in the line of its key, as the scripts know it; empty where there is none.
    line: bytes
    #: When its lease ends, on the monotonic clock. The server knows better.
    leased_until: float
    #: Changes with every reconnection.
    epoch: int


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

    def entries(self) -> set[tuple[int, bytes]]:
        """Lane and id of all that is held."""
        return {(receipt.lane, receipt.entry) for receipt in self._receipts}

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
            self._receipts = {receipt for receipt in self._receipts if receipt.leased_until > now}
            room = min(wanted, self._limit - len(self._receipts))
        self.crowded = room < 1
        return max(0, room)

    def add(self, receipts: Sequence[Receipt]) -> None:
        self._receipts.update(receipts)

    def sift(self, receipts: Sequence[Receipt], now: float) -> tuple[Sequence[int], list[int]]:
        """The places of those that are held, and of those that are over.

        A lease ends here no later than on the server, whose clock began it when the answer was still on its way.
        """
        places = range(len(receipts))
        held = self._receipts
        if held.issuperset(receipts) and min([one.leased_until for one in receipts], default=INFINITE) > now:
            return places, []
        current = [place for place in places if receipts[place] in held and receipts[place].leased_until > now]
        return current, sorted(set(places).difference(current))

    def remove(self, receipts: Sequence[Receipt]) -> None:
        self._receipts.difference_update(receipts)

    def first_end(self) -> float:
        """When the first lease ends, and makes room."""
        return min((receipt.leased_until for receipt in self._receipts), default=INFINITE)


def receipts_of(deliveries: Sequence[Delivery]) -> list[Receipt]:
    return [delivery.receipt for delivery in deliveries]
