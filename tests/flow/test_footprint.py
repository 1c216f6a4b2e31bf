"""What stays: nothing of a message, once it is settled."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from leveler import Context, Reject, Retry, Snooze
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage

#: Where a message, its delivery here and what a handler knows of it are made. Not its id: who drops duplicates
#: remembers that, and the log does.
BIRTHPLACES = (
    "leveler/producer.py",
    "leveler_memory/leases.py",
    "leveler_memory/queue.py",
    "leveler/consumer/arrival.py",
    "leveler/consumer/handler.py",
)


@pytest.fixture
def memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def alive() -> int:
    """The most objects that were made in one line of these and are still there. They are counted by the memory that
    they take: the cycle collector does not know the half of them."""
    gc.collect()
    birthplaces = [tracemalloc.Filter(True, f"*/{place}") for place in BIRTHPLACES]
    lines = tracemalloc.take_snapshot().filter_traces(birthplaces).statistics("lineno")
    return max((line.count for line in lines), default=0)


def forget(t: TestApp) -> None:
    """What the test kit itself remembers."""
    t.events.clear()
    t.faults.calls.clear()


async def test_nothing_of_a_message_is_kept_after_its_settlement(memory: None) -> None:
    stage = Stage("plain")

    async def handle(number: int, ctx: Context) -> None:
        if number % 100 == 1:
            raise Reject("no")
        if number % 100 == 2 and ctx.attempt < 2:
            raise ValueError
        if number % 100 == 3 and ctx.attempt < 2:
            raise Retry(after=0.1)

    async with stage.run(stage.app(handle, concurrency=16)) as t:
        for start in range(0, 50_000, 10_000):
            await t.send_many(QUEUE, range(start, start + 10_000))
            await t.drain()
            await t.advance(1.5)
            await t.drain()
            assert await (await t.dead_letters(QUEUE)).purge() == 100
            forget(t)
        assert t.app.health().consumers[QUEUE].tally.completed == 49_500
        assert alive() <= 24  # what sixteen workers are made of, and not one more of 50,000
        consumer = t._started().consumers[QUEUE]
        assert (len(consumer._leases), len(consumer._buffer), len(consumer._parking)) == (0, 0, 0)
        assert len(consumer._buffer._lanes) == 0
        assert [lane.pending for lane in consumer._settlement._lanes.values()] == [[]] * 4
        assert sum(timer.callback is not None for _, _, timer in t.clock._timers) < 10


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_nothing_is_kept_on_any_broker(stage: Stage, kind: str, memory: None) -> None:
    ordered = stage.can().ordering

    async def handle(number: int, ctx: Context) -> None:
        if number % 10 == 1 and ctx.attempt < 2:
            raise ValueError
        if number % 10 == 2 and len(t.started) < 500:
            raise Snooze(after=0.2)

    def handle_in_thread(number: int, ctx: Context) -> None:
        if number % 10 == 1 and ctx.attempt < 2:
            raise ValueError

    app = stage.app(handle if kind == "async def" else handle_in_thread, ordered=ordered, concurrency=4)
    async with stage.run(app) as t:
        for number in range(500):
            await t.send(QUEUE, number, key=f"k{number % 50}")
        for _ in range(12):
            await t.drain()
            await t.advance(20)
        assert t.app.health().consumers[QUEUE].tally.completed == 500
        await t.adapter.lose_receivers()
        await t.advance(20)
        forget(t)
        assert alive() <= 8
        consumer = t._started().consumers[QUEUE]
        assert (len(consumer._leases), len(consumer._parking), len(consumer._buffer._lanes)) == (0, 0, 0)
        assert consumer._leases._stuck == set()


async def test_an_app_that_has_stopped_leaves_no_task_and_no_thread(stage: Stage) -> None:
    async def handle(number: int) -> None: ...

    before = asyncio.all_tasks()
    threads = threading.active_count()
    async with stage.run(stage.app(handle, concurrency=16)) as t:
        await t.send_many(QUEUE, range(100))
        await t.drain()
    assert asyncio.all_tasks() == before
    assert threading.active_count() <= threads


async def test_a_receiver_that_is_lost_again_and_again_leaves_nothing(stage: Stage) -> None:
    async def handle(number: int) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        await t.advance(10)
        tasks = len(asyncio.all_tasks())
        for number in range(20):
            await t.adapter.lose_receivers()
            await t.send(QUEUE, number)
            await t.advance(20)
        forget(t)
        assert t.app.health().consumers[QUEUE].tally.completed == 20
        assert len(asyncio.all_tasks()) <= tasks
        assert sum(timer.callback is not None for _, _, timer in t.clock._timers) < 10
