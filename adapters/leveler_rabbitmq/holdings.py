"""Holdings: what a receiver has handed out, and until when it is theirs who took it.

RabbitMQ knows no such time: a message is ours for as long as the channel is open. So the time is kept here, and what
is not settled by then is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leveler.adapter import Delivery
from leveler.clock import Clock, Timer
from leveler_rabbitmq.feed import Arrival


class Holdings:
    """
    Args:
        clock: time.
        lease_seconds: how long all leases are.
        on_overdue: told what has been held for too long.
    """

    def __init__(
        self, clock: Clock, lease_seconds: float, *, on_overdue: Callable[[Sequence[Arrival]], object]
    ) -> None:
        #: Handed out and not settled yet, those whose settlement is under way included.
        self.count = 0
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._on_overdue = on_overdue
        # In the order in which the leases end: all are equally long, and an extended one moves to the back.
        self._until: dict[Arrival, float] = {}
        self._timer: Timer | None = None

    def add(self, deliveries: Sequence[Delivery]) -> None:
        self.count += len(deliveries)
        for delivery in deliveries:
            self._until[delivery.receipt] = delivery.leased_until
        if self._timer is None and self._until:
            self._timer = self._clock.call_later(self._lease_seconds, self._look)

    def runs(self, delivery: Delivery, now: float) -> bool:
        """Whether its lease is not over."""
        return self._until.get(delivery.receipt, now) > now

    def take(self, delivery: Delivery, now: float) -> bool:
        """Whether it may be settled. If so its lease does not end before that has been done, or was in vain."""
        until = self._until.get(delivery.receipt)
        if until is None or until <= now:
            return False
        del self._until[delivery.receipt]
        return True

    def restore(self, delivery: Delivery) -> None:
        """Its settlement was in vain: its lease runs on, or ends now."""
        self._until[delivery.receipt] = delivery.leased_until
        self._until = dict(sorted(self._until.items(), key=lambda item: item[1]))
        self._look()

    def settled(self, count: int) -> None:
        """So many that were taken are done."""
        self.count -= count

    def extend(self, delivery: Delivery, until: float) -> None:
        del self._until[delivery.receipt]
        self._until[delivery.receipt] = delivery.leased_until = until

    def clear(self) -> None:
        """All of them are gone."""
        self.count = 0
        self._until.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """End what is overdue, and look again when the next one is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock.monotonic()
        overdue: list[Arrival] = []
        for arrival, until in self._until.items():
            if until > now:
                self._timer = self._clock.call_later(until - now, self._look)
                break
            overdue.append(arrival)
        if overdue:
            for arrival in overdue:
                del self._until[arrival]
            self.count -= len(overdue)
            self._on_overdue(overdue)
