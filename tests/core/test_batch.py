"""Batches: when one is whole, and what the outcome of its run means for each of its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from leveler.adapter import Delivery, Receiver
from leveler.consumer.batch import Batch, each
from leveler.consumer.batches import verdict_on_all
from leveler.consumer.gathering import Gathering
from leveler.consumer.held import LEASE_LOST, RUNNING, STOPPED, TIMEOUT, Held
from leveler.consumer.limits import FixedConcurrency, Gate, Limits, Rate, Verdict
from leveler.consumer.limits.rate import CATCH_UP_SECONDS
from leveler.message import Message
from leveler.outcome import BatchFailed, Completed, Failed, Outcome, Reject, Retry, Snooze, Throttled
from leveler.testing import VirtualClock
from leveler.testing.clock import quiet

NOBODY = cast(Receiver, None)


def held(name: str) -> Held:
    return Held(Delivery(Message(id=name, body=b"", time=datetime(2030, 1, 1, tzinfo=UTC)), 1, 30.0, None), NOBODY)


def some(count: int) -> list[Held]:
    return [held(str(number)) for number in range(count)]


def run(story: Callable[[VirtualClock], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(VirtualClock()), 10))


# ---- when one is whole


class Bench:
    """A buffer for batches of five that waits ten seconds, and workers who take from it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.told = 0
        self.taken: list[int] = []
        self.buffer = Gathering(ordered=False, on_taken=self._tell, size=lambda: 5, wait_seconds=10.0, clock=clock)

    def worker(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._work())

    async def _work(self) -> None:
        self.taken.append(len(await self.buffer.take(lambda: 5)))

    def _tell(self) -> None:
        self.told += 1


def test_a_whole_batch_is_taken_at_once_and_what_is_left_waits_for_company_of_its_own() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        workers = [bench.worker() for _ in range(3)]
        await quiet()
        bench.buffer.put(some(12))
        await quiet()
        assert (bench.taken, bench.told) == ([5, 5], 2)
        await clock.advance(9.9)
        assert bench.taken == [5, 5]
        await clock.advance(0.2)
        assert bench.taken == [5, 5, 2]
        await asyncio.gather(*workers)

    run(story)


def test_company_makes_nobody_wait_longer() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        worker = bench.worker()
        for _ in range(3):
            await quiet()
            bench.buffer.put(some(1))
            await clock.advance(3)
        await clock.advance(1.1)
        assert bench.taken == [3]
        await worker

    run(story)


def test_the_wait_begins_when_a_worker_is_free() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.buffer.put(some(2))
        await clock.advance(100)
        worker = bench.worker()
        await clock.advance(9)
        bench.buffer.put(some(3))
        await quiet()
        assert bench.taken == [5]
        await worker

    run(story)


def test_what_is_emptied_is_not_waited_for_and_a_closed_one_sends_workers_home() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        worker = bench.worker()
        await quiet()
        bench.buffer.put(some(3))
        assert len(bench.buffer.empty()) == 3
        await clock.advance(20)
        assert bench.taken == []
        bench.buffer.close()
        await worker
        assert bench.taken == [0]

    run(story)


def test_a_batch_that_was_emptied_leaves_no_hurry_behind() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        worker = bench.worker()
        await quiet()
        bench.buffer.put(some(3))
        bench.buffer.empty()
        await clock.advance(20)
        bench.buffer.put(some(1))
        await clock.advance(9)
        assert bench.taken == []
        await clock.advance(2)
        assert bench.taken == [1]
        await worker

    run(story)


# ---- what an outcome means for each


def test_an_outcome_of_the_run_is_one_of_each_message() -> None:
    outcome = Reject("never")
    assert each(outcome, some(3)) == [outcome] * 3


def test_who_is_not_named_is_completed() -> None:
    error, retry = ValueError("no"), Retry(after=3)
    first, second, third = each(BatchFailed({0: error, 2: retry}), some(3))
    assert isinstance(first, Failed)
    assert first.error is error
    assert (type(second), third) == (Completed, retry)
    assert [type(one) for one in each(BatchFailed({}), some(2))] == [Completed, Completed]


@pytest.mark.parametrize("index", [3, -1, "0"])
def test_where_nobody_knows_what_is_done_all_is_tried_again(index: Any) -> None:
    failed = BatchFailed({0: Reject("never"), index: ValueError()})
    outcomes = each(failed, some(3))
    assert [type(one) for one in outcomes] == [Failed] * 3
    assert isinstance(outcomes[0], Failed)
    assert repr(index) in str(outcomes[0].error)
    assert outcomes[0].error.__cause__ is failed


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([Completed(), Completed()], Verdict.SUCCESS),
        ([Completed(), Retry(), Throttled()], Verdict.OVERLOAD),
        ([Completed(), Retry(), Retry()], Verdict.SUCCESS),
        ([Failed(ValueError()), Reject("never")], Verdict.FAILURE),
        ([Reject("never"), Snooze(1)], Verdict.NOTHING),
        ([], Verdict.NOTHING),
    ],
)
def test_a_run_says_of_the_downstream_what_its_messages_say_together(outcomes: list[Outcome], verdict: Verdict) -> None:
    assert verdict_on_all(outcomes) is verdict


# ---- cut short


class Handler:
    is_async = True


@pytest.mark.parametrize(("why", "cut"), [(TIMEOUT, TIMEOUT), (STOPPED, STOPPED), (LEASE_LOST, None)])
def test_a_run_is_cut_for_all_or_for_nobody(why: str, cut: str | None) -> None:
    async def story(clock: VirtualClock) -> None:
        batch = Batch(some(3))
        for one in batch.batch:
            one.handler = Handler
        batch.start(0.0)
        assert (batch.runs, {one.state for one in batch.batch}) == (3, {RUNNING})
        batch.batch[1].lost = why == LEASE_LOST
        batch.batch[1].interrupt(why)
        assert batch.cut == cut
        assert batch.task.cancelling() == (cut is not None)
        for one in batch.batch:
            one.lost = one.lost or why == LEASE_LOST
            one.interrupt(why)
        assert batch.cut == why
        assert batch.task.cancelling() == 1
        batch.task.uncancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)

    run(story)


# ---- what the limits count


def test_a_rate_is_paid_for_every_message_and_a_place_for_every_run() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [FixedConcurrency(2), Rate(10.0)], clock)
        limits = Limits([gate], batch_size=20)
        assert limits.try_acquire(1)
        limits.charge(19)
        assert gate.wait() == pytest.approx(2.0, abs=CATCH_UP_SECONDS + 0.001)
        assert gate.figures()["running"] == 1
        await clock.advance(2.0)
        assert limits.try_acquire(1)
        assert gate.wait() == float("inf")

    run(story)


@pytest.mark.parametrize(
    ("limits", "running", "credit"),
    [
        ([FixedConcurrency(3)], 0, 60.0),
        ([FixedConcurrency(3)], 2, 20.0),
        ([FixedConcurrency(3)], 3, 0.0),
        ([FixedConcurrency(3), Rate(10.0)], 0, 20.0),  # one batch, of which the last messages are paid for later
        ([FixedConcurrency(3), Rate(200.0)], 0, 31.0),
    ],
)
def test_the_credit_of_batches_is_in_messages(limits: list[Any], running: int, credit: float) -> None:
    gate = Gate("bank", limits, VirtualClock())
    for _ in range(running):
        assert gate.try_start(1)
    assert Limits([gate], batch_size=20).credit(0.1) == credit
