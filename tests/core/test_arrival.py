"""Arrivals: how many may come together is decided by what has come before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from leveler.adapter import INFINITE, Delivery, Receiver
from leveler.consumer.arrival import Arrivals
from leveler.consumer.held import Held
from leveler.message import Message
from leveler.testing import VirtualClock

NOBODY = cast(Receiver, None)
#: Delivered more often, it starts alone.
MOST_ATTEMPTS = 3
#: Delivered more often, it is dead-lettered.
MOST_DELIVERIES = 6
DEAD = "dead"


class Bench:
    def __init__(self, *, workers: int = 8) -> None:
        self.isolated: list[Held] = []
        self.returned: list[Held] = []
        self.settled: list[tuple[Held, object]] = []
        self.arrivals = Arrivals(
            VirtualClock(),
            workers,
            0.0,
            keep=lambda arrived: None,
            sort=self._sort,
            settle=lambda held, decision: self.settled.append((held, decision)),
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
    def _sort(some: Sequence[Held], now: datetime) -> tuple[list[Held], list[Held], list[tuple[Held, Any]]]:
        return (
            [held for held in some if held.delivery.attempt <= MOST_ATTEMPTS],
            [held for held in some if MOST_ATTEMPTS < held.delivery.attempt <= MOST_DELIVERIES],
            [(held, DEAD) for held in some if held.delivery.attempt > MOST_DELIVERIES],
        )


def test_the_first_one_comes_alone_then_twice_as_many_each_time_and_then_as_many_as_there_is_room_for() -> None:
    bench = Bench(workers=8)
    for most in (1, 2, 4, 8):
        assert bench.arrivals.most() == most
        assert bench.receive(*[1] * most) == most
    assert bench.arrivals.most() == INFINITE


def test_while_what_comes_has_been_here_before_no_more_come_than_can_run_together() -> None:
    bench = Bench(workers=2)
    bench.receive(1)
    assert bench.receive(1, 1, 2, 1) == 4
    assert bench.arrivals.most() == 2
    bench.receive()  # nothing came, so nothing is known
    assert bench.arrivals.most() == 2
    bench.receive(1, 1, 1)
    assert bench.arrivals.most() == INFINITE


def test_one_that_starts_alone_sends_back_what_came_with_it_and_the_next_one_comes_alone() -> None:
    bench = Bench(workers=2)
    bench.receive(1)
    assert bench.receive(2, 4, 1) == 0
    assert [held.delivery.attempt for held in bench.isolated] == [4]
    assert [held.delivery.attempt for held in bench.returned] == [2, 1]
    assert bench.arrivals.most() == 1


def test_where_suspects_stand_among_others_few_are_sent_back_for_those_that_start() -> None:
    """Every eighth has to start alone. What comes with it goes back, and that may cost a copy."""
    bench = Bench(workers=64)
    started = came = 0
    while came < 10_000:
        many = int(bench.arrivals.most())
        started += bench.receive(*[4 if number % 8 == 0 else 1 for number in range(came, came + many)])
        came += many
    assert len(bench.returned) < 2 * started


def test_when_a_receiver_is_lost_the_next_one_comes_alone() -> None:
    bench = Bench(workers=1)
    assert bench.arrivals.most() == 1
    bench.receive(1)
    assert bench.arrivals.most() == INFINITE
    bench.arrivals.start_over()
    assert bench.arrivals.most() == 1
    bench.receive()  # nothing came, so nothing is known
    assert bench.arrivals.most() == 1


def test_what_need_not_be_started_is_settled() -> None:
    bench = Bench()
    assert bench.receive(1, 7) == 1
    assert [(held.delivery.attempt, decision) for held, decision in bench.settled] == [(7, DEAD)]
