"""Arrivals: how many may come together is decided by what has come before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from leveler.adapter import INFINITE, Delivery, Receiver
from leveler.consumer.arrival import Arrivals
from leveler.consumer.held import Held
from leveler.message import Message
from leveler.testing import VirtualClock

NOBODY = cast(Receiver, None)
#: Delivered more often, it starts alone.
MOST_ATTEMPTS = 3


class Bench:
    def __init__(self, *, workers: int = 8) -> None:
        self.isolated: list[Held] = []
        self.returned: list[Held] = []
        self.arrivals = Arrivals(
            VirtualClock(),
            workers,
            0.0,
            keep=lambda arrived: None,
            sort=self._sort,
            isolate=self._isolate,
            give_back=self.returned.extend,
            park=lambda held: None,
            refusing=lambda: False,
        )

    def receive(self, *attempts: int) -> int:
        """Let deliveries of these numbers come; how many may start."""
        message = Message(id="1", body=b"", time=datetime(2030, 1, 1, tzinfo=UTC))
        return len(self.arrivals.admit(NOBODY, [Delivery(message, attempt, 30.0, None) for attempt in attempts]))

    def _isolate(self, held: Held) -> bool:
        self.isolated.append(held)
        return True

    @staticmethod
    def _sort(arrived: object) -> tuple[list[Held], list[Held]]:
        some = cast(list[Held], arrived)
        return (
            [held for held in some if held.delivery.attempt <= MOST_ATTEMPTS],
            [held for held in some if held.delivery.attempt > MOST_ATTEMPTS],
        )


def test_the_first_one_comes_alone_and_then_as_many_as_there_is_room_for() -> None:
    bench = Bench()
    assert bench.arrivals.most() == 1
    assert bench.receive(1) == 1
    assert bench.arrivals.most() == INFINITE


def test_while_what_comes_has_been_here_before_no_more_come_than_can_run_together() -> None:
    bench = Bench(workers=8)
    bench.receive(1)
    assert bench.receive(1, 1, 2, 1) == 4
    assert bench.arrivals.most() == 8
    bench.receive()  # nothing came, so nothing is known
    assert bench.arrivals.most() == 8
    bench.receive(1, 1, 1)
    assert bench.arrivals.most() == INFINITE


def test_one_that_starts_alone_sends_back_what_came_with_it_and_the_next_one_comes_alone() -> None:
    bench = Bench()
    bench.receive(1)
    assert bench.receive(2, 4, 1) == 0
    assert [held.delivery.attempt for held in bench.isolated] == [4]
    assert [held.delivery.attempt for held in bench.returned] == [2, 1]
    assert bench.arrivals.most() == 1
