"""Waiting: what the polls of a receiver have brought and nobody has asked for yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from leveler.adapter import Delivery


class Waiting:
    """Deliveries in the order in which they came."""

    def __init__(self) -> None:
        self._deliveries: deque[Delivery] = deque()

    def add(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries.extend(deliveries)

    def take(self, count: int, now: float) -> list[Delivery]:
        """The first `count`. One whose lease has ended is SQS's again."""
        out: list[Delivery] = []
        while self._deliveries and len(out) < count:
            delivery = self._deliveries.popleft()
            if delivery.leased_until > now:
                out.append(delivery)
        return out

    def withdraw(self, are_meant: Callable[[Delivery], bool]) -> list[Delivery]:
        """Those that are meant; they wait no more."""
        back = [delivery for delivery in self._deliveries if are_meant(delivery)]
        if back:
            self._deliveries = deque(delivery for delivery in self._deliveries if not are_meant(delivery))
        return back
