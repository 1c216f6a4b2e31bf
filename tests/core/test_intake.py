"""How many deliveries are asked for: enough for the workers, never more than may be held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

from hypothesis import assume, example, given
from hypothesis import strategies as st

from leveler.adapter import Delivery, Receiver
from leveler.clock import SystemClock
from leveler.consumer.buffer import Buffer
from leveler.consumer.held import Held
from leveler.consumer.intake import Demand, Intake, next_hold
from leveler.consumer.limits import Gate, Limits
from leveler.message import Message

counts = st.integers(0, 5000)
demands = st.builds(
    Demand, startable=st.floats(-100, 5000) | st.just(float("inf")), buffered=counts, held=counts, capacity=counts
)


def credit(startable: float, buffered: int, held: int, capacity: int) -> int:
    return Demand(startable=startable, buffered=buffered, held=held, capacity=capacity).credit()


# Credit.


def test_what_could_start_and_is_not_here_yet_is_asked_for() -> None:
    assert credit(startable=16, buffered=0, held=0, capacity=100) == 16
    assert credit(startable=16, buffered=6, held=20, capacity=100) == 10


def test_no_more_is_asked_for_than_there_is_room() -> None:
    assert credit(startable=float("inf"), buffered=0, held=90, capacity=100) == 10
    assert credit(startable=float("inf"), buffered=0, held=100, capacity=100) == 0


def test_half_a_start_is_no_reason_to_ask_and_one_and_a_half_ask_for_one() -> None:
    assert [credit(startable, 0, 0, 100) for startable in (0.0, 0.99, 1.0, 1.99)] == [0, 0, 1, 1]


def test_limits_that_are_exceeded_ask_for_nothing() -> None:
    assert credit(startable=-5, buffered=0, held=5, capacity=100) == 0


def test_as_long_as_the_buffer_holds_more_than_could_be_asked_for_it_is_left_to_the_workers() -> None:
    assert [credit(16, buffered, buffered, 100) for buffered in (7, 8, 9)] == [9, 8, 0]


@given(demands)
def test_credit_never_asks_for_what_could_not_start_or_not_be_held(demand: Demand) -> None:
    asked = demand.credit()
    assert asked >= 0
    if asked:
        assert demand.held + asked <= demand.capacity
        assert demand.buffered + asked <= demand.startable


@given(demands)
def test_who_could_start_something_and_holds_nothing_always_asks(demand: Demand) -> None:
    assume(demand.startable >= 1 and demand.capacity >= 1)
    assert credit(demand.startable, 0, 0, demand.capacity) >= 1


@given(demand=demands)
def test_the_broker_never_has_to_fetch_more_than_a_third_at_once(demand: Demand) -> None:
    assert demand.credit() <= (demand.capacity + 2) // 3


@given(demands, st.integers(0, 100))
def test_what_is_held_elsewhere_never_raises_the_credit(demand: Demand, more: int) -> None:
    fuller = credit(demand.startable, demand.buffered, demand.held + more, demand.capacity)
    assert fuller <= demand.credit()


# Hold.


@given(current=counts, wanted=st.integers(-5, 5000), capacity=st.integers(1, 5000))
@example(current=0, wanted=1, capacity=1)
@example(current=0, wanted=3, capacity=3)
def test_the_hold_covers_what_is_wanted_and_never_exceeds_the_capacity(
    current: int, wanted: int, capacity: int
) -> None:
    assume(current <= capacity)
    assert max(0, min(wanted, capacity)) <= next_hold(current, wanted, capacity) <= capacity


@given(current=counts, wanted=counts, capacity=st.integers(1, 5000))
def test_asking_again_for_the_same_changes_nothing(current: int, wanted: int, capacity: int) -> None:
    assume(current <= capacity)
    once = next_hold(current, wanted, capacity)
    assert next_hold(once, wanted, capacity) == once


@given(st.lists(st.integers(1, 5000), min_size=3, max_size=3))
def test_a_hold_that_covers_what_is_wanted_shrinks_only_when_four_times_too_large(sizes: list[int]) -> None:
    wanted, current, capacity = sorted(sizes)
    if wanted * 4 > current:
        assert next_hold(current, wanted, capacity) == current
    elif wanted:
        assert next_hold(current, wanted, capacity) < max(current, 2)


def test_holds_are_powers_of_two_up_to_the_capacity() -> None:
    assert [next_hold(0, wanted, 100) for wanted in (1, 2, 3, 5, 33, 64, 65, 100, 500)] == [
        1, 2, 4, 8, 64, 64, 100, 100, 100,
    ]  # fmt: skip


def test_growing_to_any_size_takes_few_changes() -> None:
    hold, changes = 0, 0
    for wanted in range(1, 1001):
        before, hold = hold, next_hold(hold, wanted, 1000)
        changes += hold != before
    assert changes == 11


def test_nothing_wanted_holds_nothing() -> None:
    assert next_hold(64, 0, 100) == 0


# Asking.


class Endless:
    """The side of a receiver that the intake sees; its answers take a turn of the loop."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    async def hold(self, limit: int) -> None: ...

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self.told.append("asked")
        await asyncio.sleep(0)
        self.told.append("answered")
        message = Message(id="1", body=b"", time=datetime(2030, 1, 1, tzinfo=UTC))
        return [Delivery(message, 1, 30.0, None) for _ in range(credit)]


def test_more_is_asked_for_before_workers_begin_with_what_came() -> None:
    """Handlers that do not wait keep the loop busy: what is asked for after them, nobody fetches meanwhile."""
    told, held = list[str](), list[Held]()

    def admit(receiver: Receiver, deliveries: Sequence[Delivery]) -> list[Held]:
        some = [Held(delivery, receiver) for delivery in deliveries]
        held.extend(some)
        return some

    async def watch(anything: bool) -> None: ...

    async def work() -> None:
        for _ in range(8):
            batch = await buffer.take(lambda: 4)
            told.append("handled")
            del held[: len(batch)]
            await asyncio.sleep(0)
        intake.close()

    async def story() -> None:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(work())
            tasks.create_task(intake.run(cast(Receiver, Endless(told))))

    clock = SystemClock()
    buffer = Buffer(ordered=False, on_taken=lambda: intake.changed())
    intake = Intake(
        clock,
        buffer,
        Limits([Gate("orders", [], clock)]),
        held=lambda: len(held),
        capacity=16,
        deadline_seconds=10.0,
        admit=admit,
        most=lambda: 1000.0,
        watch=watch,
        on_ready=lambda: None,
        on_unavailable=lambda error: None,
    )
    asyncio.run(story())
    second = told.index("answered", told.index("answered") + 1)  # before that the broker is told to let us have more
    assert told[second : second + 3] == ["answered", "asked", "handled"]
    assert told.count("handled") == 8
