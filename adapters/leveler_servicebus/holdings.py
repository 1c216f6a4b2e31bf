"""Holdings: what a receiver has handed out and not settled, and how much more it may have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from leveler.adapter import INFINITE


class Receipt(msgspec.Struct, eq=False):
    """One delivery of one message."""

    #: The lock token, as the client library has it.
    token: Any
    sequence: int
    #: When its lock ends, on the monotonic clock.
    leased_until: float
    #: Whether it may be settled already: the answer to that was lost.
    in_doubt: bool = False
    #: Whether the copy that stands in for it has been sent.
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
        """How many of `wanted` there is room for."""
        return max(0, min(wanted, self._limit - len(self.current(now))))

    def current(self, now: float) -> set[Receipt]:
        """What is held now. What nobody settled in time is not held any more."""
        if self.first_end() <= now:
            self._receipts = {receipt for receipt in self._receipts if receipt.leased_until > now}
        return self._receipts

    def add(self, receipts: Iterable[Receipt]) -> None:
        self._receipts.update(receipts)

    def has(self, receipt: Receipt, now: float) -> bool:
        return receipt in self._receipts and receipt.leased_until > now

    def remove(self, receipt: Receipt) -> None:
        self._receipts.discard(receipt)

    def first_end(self) -> float:
        """When the first lease ends, and makes room."""
        return min((receipt.leased_until for receipt in self._receipts), default=INFINITE)
