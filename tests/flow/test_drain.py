"""Stops: what runs may end, what has not begun goes back, and nothing new comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from leveler import Context, Snooze
from leveler.errors import BrokerUnavailable
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage
from tests.flow.process import in_broker


async def attempts_afterwards(stage: Stage, before: TestApp) -> list[int]:
    """With which attempt numbers the next process gets what was left."""
    attempts: list[int] = []

    async def look(order: object, ctx: Context) -> None:
        attempts.append(ctx.attempt)

    async with stage.after(before, stage.app(look)) as later:
        await later.advance(200)
        await later.drain()
    return sorted(attempts)


async def test_running_handlers_end_and_what_has_not_begun_goes_back_uncounted(stage: Stage) -> None:
    async def handle(order: int) -> None:
        await t.clock.sleep(5)

    async with stage.run(stage.app(handle, concurrency=3)) as t:
        await t.send_many(QUEUE, range(12))
        await t.advance(1)
        began = len(t.started)
        assert began == 3
        assert await t.stop(10) == 0
        assert len(t.completed) == 3
        assert len(t.started) == began
        assert in_broker(t) == (9, 0, 0)
    attempts = await attempts_afterwards(stage, t)
    assert len(attempts) == 9
    if stage.can().uncounted != "none":
        assert attempts == [1] * 9


async def test_what_waits_for_a_limit_goes_back_uncounted_at_once(stage: Stage) -> None:
    async def handle(order: int) -> None: ...

    async with stage.run(stage.app(handle, concurrency=8, rate=20.0)) as t:
        await t.send_many(QUEUE, range(40))
        await t.advance(0.2)
        began, stopped_at = len(t.started), t.clock.monotonic()
        assert 0 < began < 10
        assert await t.stop(10) == 0
        assert t.clock.monotonic() - stopped_at < 1
        assert len(t.completed) == len(t.started) == began
        assert in_broker(t) == (40 - began, 0, 0)
        why = {event.why for event in t.returned}
        assert why <= {"unstarted-counted" if stage.can().uncounted == "none" else "unstarted"}
        returned = len(t.returned)
    attempts = await attempts_afterwards(stage, t)
    counted = returned if stage.can().uncounted == "none" else 0
    assert Counter(attempts) == +Counter({1: 40 - began - counted, 2: counted})


async def test_runs_that_are_cut_are_counted(stage: Stage) -> None:
    cut: list[bool] = []

    async def handle(order: int, ctx: Context) -> None:
        try:
            await t.clock.sleep(18)
        except asyncio.CancelledError:
            cut.append(ctx.cancelled and not ctx.lease_lost)
            raise

    async with stage.run(stage.app(handle, concurrency=3)) as t:
        await t.send_many(QUEUE, range(3))
        await t.advance(1)
        stopped_at = t.clock.monotonic()
        assert await t.stop(5) == 0
        assert t.clock.monotonic() - stopped_at == pytest.approx(5, abs=0.1)
        assert cut == [True] * 3
        assert t.completed == []
        assert len(t.retried) == 3
        assert in_broker(t) == (3, 0, 0)
    assert await attempts_afterwards(stage, t) == [2, 2, 2]


async def test_nothing_is_received_or_started_after_the_stop(stage: Stage) -> None:
    async def handle(order: str) -> None:
        await t.clock.sleep(5)

    async with stage.run(stage.app(handle, concurrency=4)) as t:
        await t.send(QUEUE, "runs")
        await t.advance(1)
        stopping = asyncio.ensure_future(t._started().drain(10))
        await t.advance(0)
        await t.send_many(QUEUE, ["late"] * 5)
        await t.advance(5)
        assert await stopping == 0
        await t.send(QUEUE, "later")
        await t.advance(100)
        assert len(t.started) == len(t.completed) == 1
        assert in_broker(t) == (6, 0, 0)
        received = t.faults.sizes("receive")
        await t.advance(100)
        assert t.faults.sizes("receive") == received
    assert await attempts_afterwards(stage, t) == [1] * 6


async def test_a_stop_with_nothing_to_do_takes_no_time(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        stopped_at = t.clock.monotonic()
        assert await t.stop(30) == 0
        assert t.clock.monotonic() - stopped_at < 0.1


async def test_a_hurried_stop_cuts_what_runs_and_gives_it_back_at_once(stage: Stage) -> None:
    async def handle(order: int) -> None:
        await t.clock.sleep(18)

    async with stage.run(stage.app(handle, concurrency=3)) as t:
        await t.send_many(QUEUE, range(3))
        await t.advance(1)
        runtime = t._started()
        stopped_at = t.clock.monotonic()
        stopping = asyncio.ensure_future(runtime.drain(15))
        await t.advance(2)
        assert not stopping.done()
        runtime.hurry()
        await t.advance(0)
        assert await stopping == 0
        assert t.clock.monotonic() - stopped_at == pytest.approx(2)
        assert len(t.retried) == 3
        assert in_broker(t) == (3, 0, 0)


async def test_a_handler_that_swallows_its_cancellation_counts_as_cut(stage: Stage) -> None:
    async def handle(order: str) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await t.clock.sleep(18)

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        await t.advance(1)
        assert await t.stop(2) == 0
        assert (len(t.retried), t.completed) == (1, [])
        assert in_broker(t) == (1, 0, 0)
    assert await attempts_afterwards(stage, t) == [2]


async def test_a_handler_that_goes_on_after_its_cancellation_leaves_its_delivery_to_the_lease(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def handle(order: str) -> None:
        while order == "stuck" and not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()

    async with stage.run(stage.app(handle, concurrency=4)) as t:
        await t.send_many(QUEUE, ["stuck", "good", "stuck"])
        await t.advance(1)
        stopped_at = t.clock.monotonic()
        assert await t.stop(2) == 2
        assert t.clock.monotonic() - stopped_at < 15
        assert len(t.completed) == 1
        go_on.set()
    assert await attempts_afterwards(stage, t) == [2, 2]


async def test_what_the_broker_does_not_take_back_in_time_is_left_leased_and_said(stage: Stage) -> None:
    async def handle(order: int) -> None:
        await t.clock.sleep(3)

    async with stage.run(stage.app(handle, concurrency=4)) as t:
        await t.send_many(QUEUE, range(4))
        await t.advance(1)
        with t.faults.failing("complete", BrokerUnavailable("gone")):
            stopped_at = t.clock.monotonic()
            assert await t.stop(10) == 4
            assert t.clock.monotonic() - stopped_at < 30
        assert t.completed == []
    assert await attempts_afterwards(stage, t) == [2] * 4


async def test_a_completion_that_is_refused_at_first_is_tried_again_within_the_stop(stage: Stage) -> None:
    async def handle(order: int) -> None:
        await t.clock.sleep(3)

    async with stage.run(stage.app(handle, concurrency=4)) as t:
        await t.send_many(QUEUE, range(4))
        await t.advance(1)
        t.faults.fail("complete", BrokerUnavailable("gone"), times=2)
        assert await t.stop(10) == 0
        assert len(t.completed) == 4
        assert in_broker(t) == (0, 0, 0)


async def test_a_delivery_that_waits_for_its_time_goes_back_with_the_stop(stage: Stage) -> None:
    """It is in the broker already, or it was parked here and must not wait for its lease."""

    async def handle(order: str) -> None:
        raise Snooze(after=100)

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        await t.advance(1)
        assert await t.stop(10) == 0
        ready, leased, delayed = in_broker(t)
        assert (ready + delayed, leased) == (1, 0)
    assert await attempts_afterwards(stage, t) == [2 if stage.can().uncounted == "none" else 1]


async def test_an_ordered_queue_is_given_back_in_its_order(stage: Stage) -> None:
    stage.need(stage.can().ordering, "order")
    seen: list[int] = []

    async def slow(order: int) -> None:
        await t.clock.sleep(5)
        seen.append(order)

    async def quick(order: int) -> None:
        seen.append(order)

    async with stage.run(stage.app(slow, ordered=True, concurrency=4)) as t:
        await t.send_many(QUEUE, range(10), key="one")
        await t.advance(6)
        assert await t.stop(10) == 0
    async with stage.after(t, stage.app(quick, ordered=True)) as later:
        await later.advance(200)
        await later.drain()
    assert seen == list(range(10))
