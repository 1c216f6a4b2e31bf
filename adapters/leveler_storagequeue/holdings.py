"""Holdings: what a receiver has handed out and not settled, and how much more it may have."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from leveler.adapter import INFINITE
from leveler_storagequeue.letter import Returned


class Receipt(msgspec.Struct, eq=False):
    """One delivery of one message."""

    #: The service's id of it.
    id: str
    #: Shows that the lease is ours; every update brings another.
    pop_receipt: str
    #: How often it has been handed out, this time included.
    dequeue_count: int
    returned: Returned
    #: When its lease ends, on the monotonic clock: a little earlier than at the service.
    leased_until: float
    #: Whether it may be deleted already: the answer to that was lost.
    perhaps_gone: bool = False
    #: Whether its dead letter is there already.
    has_copy: bool = False


class Holdings:
    """
    Args:
        capacity: most of them, whatever the limit.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = self._limit = capacity
        self._receipts: set[Receipt] = set()

    def limit(self, limit: int) -> None:
        """Hold at most so many from now on; 0 = stop."""
        self._limit = min(limit, self._capacity)

    @property
    def stopped(self) -> bool:
        return self._limit < 1

    def room(self, wanted: int, now: float) -> int:
        """How many of `wanted` there is room for. What nobody settled in time is not held any more."""
        if len(self._receipts) + wanted > self._limit:
            self._receipts = {receipt for receipt in self._receipts if receipt.leased_until > now}
        return max(0, min(wanted, self._limit - len(self._receipts)))

    def add(self, receipts: Iterable[Receipt]) -> None:
        self._receipts.update(receipts)

    def has(self, receipt: Receipt, now: float) -> bool:
        return receipt in self._receipts and receipt.leased_until > now

    def remove(self, receipt: Receipt) -> None:
        self._receipts.discard(receipt)

    def first_end(self) -> float:
        """When the first lease ends, and makes room."""
        return min((receipt.leased_until for receipt in self._receipts), default=INFINITE)
