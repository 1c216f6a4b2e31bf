"""Leases: renewed in time, lost in time, and runs whose time is up are ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from leveler.adapter import Capabilities, Delivery, Receiver
from leveler.consumer.held import BUFFERED, LEASE_LOST, RUNNING, SETTLING, TIMEOUT, Held
from leveler.consumer.lease import Leases
from leveler.errors import BatchError, BrokerUnavailable, LeaseLost, LevelerError, ReceiverLost
from leveler.message import Message
from leveler.testing import VirtualClock
from leveler.testing.clock import quiet

LEASE = 30.0
TIMEOUT_SECONDS = 100.0


class Broker:
    """A receiver of which only `extend` matters."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.extended: list[list[str]] = []
        #: What the next calls end with; then they succeed.
        self.faults: list[Exception] = []
        #: Calls do not return before it is set.
        self.answers = asyncio.Event()
        self.answers.set()

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        self.extended.append([delivery.message.id for delivery in deliveries])
        await self.answers.wait()
        failed: dict[int, LevelerError] = {}
        if self.faults:
            fault = self.faults.pop(0)
            if not isinstance(fault, BatchError):
                raise fault
            failed = fault.failed
        for index, delivery in enumerate(deliveries):
            if index not in failed:
                delivery.leased_until = self.clock.monotonic() + LEASE
        if failed:
            raise BatchError(failed)


class Bench:
    """Leases, the broker that keeps them, and what was told."""

    def __init__(self, clock: VirtualClock, *, verbs: int = 8, timeout: float = TIMEOUT_SECONDS, **can: Any) -> None:
        able: dict[str, Any] = {"max_batch": 10, **can}
        self.clock = clock
        self.broker = Broker(clock)
        self.lost: list[str] = []
        self.stuck: list[tuple[str, float]] = []
        self.blocked: list[float] = []
        self.ended = 0
        self.stale = 0
        self.leases = Leases(
            LEASE,
            timeout,
            Capabilities(scope="process", durable=False, max_message_bytes=1 << 20, **able),
            clock,
            asyncio.Semaphore(verbs),
            on_lost=lambda one: self.lost.append(one.delivery.message.id),
            on_extended=self._on_extended,
            on_stale=self._on_stale,
            on_stuck=lambda one, ran: self.stuck.append((one.delivery.message.id, ran)),
            on_blocked=self.blocked.append,
        )

    def hold(self, name: str, state: int = RUNNING, broker: Broker | None = None) -> Held:
        now = self.clock.monotonic()
        message = Message(id=name, body=b"", time=datetime(2030, 1, 1, tzinfo=UTC))
        held = Held(Delivery(message, 1, now + LEASE, None), cast(Receiver, broker or self.broker))
        held.state = state
        held.started_at = now if state >= RUNNING else None
        self.leases.keep([held])
        return held

    def look(self, at: float) -> dict[str, list[str]]:
        found = self.leases.look(at)._asdict()
        return {what: [one.delivery.message.id for one in some] for what, some in found.items() if some}

    async def pass_time(self, seconds: float) -> None:
        """Let the sweeps run for so long."""
        sweeping = asyncio.create_task(self.leases.run())
        await self.clock.advance(seconds)
        sweeping.cancel()
        await quiet()

    def _on_extended(self) -> None:
        self.ended += 1

    def _on_stale(self) -> None:
        self.stale += 1


def run(story: Callable[[VirtualClock], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(VirtualClock()), 10))


async def until_cancelled() -> None:
    await asyncio.get_running_loop().create_future()


# What one look finds.


@pytest.mark.parametrize("state", [BUFFERED, RUNNING])
def test_a_lease_is_renewed_when_a_third_of_it_is_gone_and_lost_at_its_end(state: int) -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.hold("1", state)
        found = [bench.look(at) for at in (0.0, 10.0, 10.1, 29.9, 30.0)]
        assert found == [{}, {}, {"renew": ["1"]}, {"renew": ["1"]}, {"lost": ["1"]}]

    run(story)


def test_a_run_is_overdue_when_its_timeout_is_over_even_if_its_lease_is_long() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.hold("1").delivery.leased_until = 1000.0
        bench.hold("2", BUFFERED).delivery.leased_until = 1000.0
        assert [bench.look(at) for at in (99.9, 100.0)] == [{}, {"overdue": ["1"]}]

    run(story)


def test_an_overdue_run_is_not_renewed_and_a_lost_one_is_lost_first() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock, timeout=15)
        bench.hold("1")
        assert [bench.look(at) for at in (15.0, 30.0)] == [{"overdue": ["1"]}, {"lost": ["1"]}]

    run(story)


def test_what_is_being_settled_is_left_to_its_settlement() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.hold("1", SETTLING)
        assert [bench.look(at) for at in (20.0, 30.0, 100.0)] == [{}, {}, {}]

    run(story)


def test_where_leases_cannot_be_renewed_what_was_not_started_goes_back_in_the_last_third() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock, extend=False)
        bench.hold("1", BUFFERED)
        bench.hold("2", RUNNING)
        found = [bench.look(at) for at in (20.0, 20.1, 30.0)]
        assert found == [{}, {"stale": ["1"]}, {"lost": ["1", "2"]}]

    run(story)


# Sweeps.


def test_a_lease_is_kept_as_long_as_its_handler_may_run() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        held = bench.hold("1")
        await bench.pass_time(95)
        assert bench.lost == []
        assert held.delivery.leased_until > clock.monotonic() + LEASE / 2
        assert 7 <= len(bench.broker.extended) <= 10
        assert bench.ended == len(bench.broker.extended)

    run(story)


def test_sweeps_sleep_while_nothing_is_held() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        sweeping = asyncio.create_task(bench.leases.run())
        await clock.advance(5)
        assert clock.next_due() is None
        held = bench.hold("1")
        await clock.advance(15)
        assert bench.broker.extended == [["1"]]
        bench.leases.forget([held])
        await clock.advance(5)
        assert clock.next_due() is None
        sweeping.cancel()

    run(story)


def test_renewals_go_in_batches_that_the_broker_takes_each_to_the_receiver_it_came_from() -> None:
    async def story(clock: VirtualClock) -> None:
        bench, other = Bench(clock, max_batch=2), Broker(clock)
        for name in ("1", "2", "3"):
            bench.hold(name)
        bench.hold("4", broker=other)
        await clock.advance(11)
        bench.leases.sweep()
        await quiet()
        assert (bench.broker.extended, other.extended) == ([["1", "2"], ["3"]], [["4"]])

    run(story)


def test_a_lease_that_cannot_be_renewed_is_tried_again_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        held = bench.hold("1")
        bench.broker.faults = [BrokerUnavailable("away"), BrokerUnavailable("away")]
        await bench.pass_time(20)
        assert len(bench.broker.extended) == 3
        assert (bench.lost, held.extending) == ([], False)

        bench.broker.faults = [BrokerUnavailable("away")] * 1000
        await bench.pass_time(40)
        assert bench.lost == ["1"]
        assert (held.lost, held.cut, len(bench.leases)) == (True, LEASE_LOST, 0)

    with caplog.at_level(logging.WARNING, "leveler"):
        run(story)
    assert "the lease of message 1 could not be renewed" in caplog.text


@pytest.mark.parametrize("fault", [LeaseLost("over"), ReceiverLost("gone")])
def test_a_lease_of_which_the_broker_says_that_it_is_over_is_lost_at_once(fault: LevelerError) -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        for name in ("1", "2", "3"):
            bench.hold(name)
        bench.broker.faults = [BatchError({1: fault})]
        await bench.pass_time(12)
        assert bench.lost == ["2"]
        assert len(bench.leases) == 2

    run(story)


def test_a_bug_of_the_adapter_costs_one_renewal_and_not_those_that_follow(caplog: pytest.LogCaptureFixture) -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.hold("1")
        bench.broker.faults = [KeyError("a bug")]
        await bench.pass_time(15)
        assert (bench.lost, len(bench.broker.extended)) == ([], 2)

    run(story)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_lost_run_is_cancelled_and_told_of_once() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        held = bench.hold("1")
        held.task = asyncio.create_task(until_cancelled())
        await quiet()
        bench.leases.lose(held)
        bench.leases.lose(held)
        await quiet()
        assert held.task.cancelled()
        assert bench.lost == ["1"]

    run(story)


def test_a_receiver_that_is_gone_takes_along_what_it_gave_but_not_what_is_being_settled() -> None:
    async def story(clock: VirtualClock) -> None:
        bench, other = Bench(clock), Broker(clock)
        bench.hold("1")
        bench.hold("2", BUFFERED)
        bench.hold("3", SETTLING)
        bench.hold("4", broker=other)
        bench.leases.lose_all(cast(Receiver, bench.broker))
        assert (bench.lost, len(bench.leases)) == (["1", "2"], 2)

    run(story)


def test_a_delivery_has_no_second_renewal_while_one_is_under_way_and_a_timeout_does_not_wait_for_it() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock, timeout=20)
        held = bench.hold("1")
        held.task = asyncio.create_task(until_cancelled())
        bench.broker.answers.clear()
        await bench.pass_time(21)
        assert bench.broker.extended == [["1"]]
        assert (held.extending, held.cut, held.task.cancelled()) == (True, TIMEOUT, True)
        bench.broker.answers.set()
        await quiet()
        assert (held.extending, bench.ended) == (False, 1)

    run(story)


def test_a_receiver_that_does_not_answer_does_not_cost_another_its_renewals() -> None:
    async def story(clock: VirtualClock) -> None:
        bench, silent = Bench(clock), Broker(clock)
        silent.answers.clear()
        bench.hold("1", broker=silent)
        bench.hold("2")
        await bench.pass_time(40)
        assert bench.lost == ["1"]
        assert len(bench.broker.extended) >= 3
        silent.answers.set()
        await quiet()

    run(story)


def test_nothing_is_renewed_that_began_to_be_settled_or_was_lost_while_it_waited_for_its_turn() -> None:
    async def story(clock: VirtualClock) -> None:
        bench, other = Bench(clock, verbs=1), Broker(clock)
        bench.broker.answers.clear()
        bench.hold("1")
        settling, lost, staying = (bench.hold(name, broker=other) for name in ("2", "3", "4"))
        await clock.advance(11)
        bench.leases.sweep()
        await quiet()
        settling.state = SETTLING
        bench.leases.lose(lost)
        bench.broker.answers.set()
        await quiet()
        assert other.extended == [["4"]]
        assert (settling.extending, staying.delivery.leased_until) == (False, 41.0)

    run(story)


# Runs whose time is up.


def test_a_run_in_a_thread_that_goes_on_is_reported_once() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock, timeout=10)
        held = bench.hold("1")
        held.delivery.leased_until = 1000.0
        await bench.pass_time(60)
        assert held.cut == TIMEOUT
        [(name, ran)] = bench.stuck
        assert name == "1"
        assert 10 <= ran <= 10 + bench.leases.interval_seconds

    run(story)


def test_an_async_run_is_cancelled_once_and_reported_only_if_it_does_not_end() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock, timeout=10)
        held, cancelled = bench.hold("1"), 0

        async def stubborn() -> None:
            nonlocal cancelled
            while cancelled < 100:
                try:
                    await until_cancelled()
                except asyncio.CancelledError:
                    cancelled += 1

        held.task = asyncio.create_task(stubborn())
        held.delivery.leased_until = 1000.0
        await bench.pass_time(19)
        assert (cancelled, bench.stuck) == (1, [])
        await bench.pass_time(30)
        assert cancelled == 1
        assert [name for name, _ in bench.stuck] == ["1"]
        cancelled = 100
        held.task.cancel()
        await quiet()

    run(story)


def test_a_loop_that_stood_still_is_told_of_and_one_that_did_not_is_not() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.hold("1")
        await bench.pass_time(5)
        assert bench.blocked == []
        sleeping = clock.sleep

        async def oversleep(delay_seconds: float) -> None:
            await sleeping(delay_seconds + 4)

        clock.sleep = oversleep  # type: ignore[method-assign]
        await bench.pass_time(6)
        assert bench.blocked == [pytest.approx(4.0)]

    run(story)


def test_a_sweep_comes_often_enough_for_a_short_lease_and_for_a_short_timeout() -> None:
    async def story(clock: VirtualClock) -> None:
        intervals = [Bench(clock, timeout=timeout).leases.interval_seconds for timeout in (100.0, 2.0, 0.001)]
        assert intervals == [1.0, 0.1, 0.01]

    run(story)


def test_an_interruption_cuts_what_runs_and_nothing_else() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        all_of_them = [bench.hold(str(state), state) for state in (BUFFERED, RUNNING, SETTLING)]
        bench.leases.interrupt("stopped")
        assert [held.cut for held in all_of_them] == [None, "stopped", None]

    run(story)


def test_stale_deliveries_are_told_of() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock, extend=False)
        bench.hold("1", BUFFERED)
        await bench.pass_time(19)
        assert bench.stale == 0
        await bench.pass_time(3)
        assert bench.stale > 0
        assert bench.broker.extended == []

    run(story)


# Starting.


def test_what_must_not_start_on_its_lease_is_told_from_what_may() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        old = bench.hold("old", BUFFERED)
        await clock.advance(1.0)
        new = bench.hold("new", BUFFERED)
        assert bench.leases.late([old, new]) == []
        clock._now += LEASE - 1.0  # the process stood still: no sweep has seen it
        assert bench.leases.late([old, new]) == [old]
        assert (old.lost, new.lost, bench.lost) == (True, False, ["old"])

    run(story)


def test_where_a_lease_is_not_renewed_it_must_last_for_a_whole_run() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock, timeout=25.0, extend=False)
        held = bench.hold("1", BUFFERED)
        assert bench.leases.late([held]) == []
        await clock.advance(5.5)
        assert bench.leases.late([held]) == [held]
        assert not held.lost

    run(story)
