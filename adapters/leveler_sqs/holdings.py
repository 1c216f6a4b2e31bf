"""Holdings: what a receiver has fetched and not settled, handed out or not, and how much more it may have."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from leveler.adapter import INFINITE, Delivery


class Receipt(msgspec.Struct, eq=False, gc=False):  # nothing in it refers back
    """One delivery of one message."""

    #: What SQS knows it by.
    handle: str
    #: When it came. SQS keeps nothing from others for longer than 12 hours from then.
    received_at: float
    #: When its lease ends, on the monotonic clock.
    leased_until: float
    #: Whether the copy that stands in for it is sent, so that only this one has to go.
    is_replaced: bool = False
    #: Whether it was to be deleted and no answer came.
    is_doubtful: bool = False


class Holdings:
    """
    Args:
        capacity: most of them, whatever the limit.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = self._limit = capacity
        self._held: set[Receipt] = set()
        #: Fetched and not handed out.
        self.waiting: deque[Delivery] = deque()

    def limit(self, limit: int) -> None:
        """Hold at most so many from now on; 0 = stop."""
        self._limit = min(limit, self._capacity)

    @property
    def stopped(self) -> bool:
        return self._limit < 1

    def room(self, wanted: int, now: float) -> int:
        """How many of `wanted` there is room for."""
        if self._limit - len(self._held) < wanted:  # what nobody settled in time is not held any more
            self._held = {receipt for receipt in self._held if receipt.leased_until > now}
        return max(0, min(wanted, self._limit - len(self._held)))

    def take(self, count: int, now: float) -> list[Delivery]:
        """Up to `count` of those that wait, to be handed out."""
        out: list[Delivery] = []
        while self.waiting and len(out) < count:
            delivery = self.waiting.popleft()
            if delivery.leased_until > now:
                out.append(delivery)
        self._held.update(delivery.receipt for delivery in out)
        return out

    def withdraw(self, are_meant: Callable[[Delivery], bool]) -> list[Delivery]:
        """Those that wait and are meant; they wait no more."""
        back = [delivery for delivery in self.waiting if are_meant(delivery)]
        if back:
            self.waiting = deque(delivery for delivery in self.waiting if not are_meant(delivery))
        return back

    def empty(self) -> list[Delivery]:
        """All that wait; they wait no more."""
        back, self.waiting = list(self.waiting), deque()
        return back

    def sift(self, deliveries: Sequence[Delivery], now: float) -> tuple[list[int], list[int]]:
        """The places of those that are held, and of those that are over."""
        current: list[int] = []
        lost: list[int] = []
        for place, delivery in enumerate(deliveries):
            receipt: Receipt = delivery.receipt
            ours = receipt in self._held and receipt.leased_until > now
            (current if ours else lost).append(place)
        return current, lost

    def remove(self, receipts: Sequence[Receipt]) -> None:
        self._held.difference_update(receipts)

    def first_end(self) -> float:
        """When the first lease ends, and makes room."""
        return min((receipt.leased_until for receipt in self._held), default=INFINITE)
