"""Leases: kept while the handler runs, up to its timeout; a lost one is told, counted and never settled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from leveler import ConsumerSettings, Context, Leveler, LimitSettings
from leveler.events import DeliveryLost, HandlerStuck, LoopBlocked
from leveler.outcome import Throttled
from tests.flow.conftest import QUEUE, Stage


async def test_a_handler_five_times_longer_than_its_lease_runs_once(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")

    async def handle(order: str) -> None:
        await t.clock.sleep(150)

    async with stage.run(stage.app(handle, timeout_seconds=200.0)) as t:
        await t.send(QUEUE, "x")
        await t.advance(149)
        assert t.completed == []
        await t.advance(2)
        assert [event.attempt for event in t.completed] == [1]
        assert (len(t.started), t.lost) == (1, [])


async def test_what_waits_for_a_slot_keeps_its_lease_too(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")

    async def handle(order: str) -> None:
        await t.clock.sleep(100)

    app = stage.app(handle, timeout_seconds=200.0, concurrency=2)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, ["x"] * 6)
        await t.advance(301)
        assert [event.attempt for event in t.completed] == [1] * 6
        assert t.lost == []


async def test_a_run_longer_than_its_timeout_is_cancelled_and_counts_as_failed(stage: Stage) -> None:
    ends: list[str] = []

    async def handle(order: str, ctx: Context) -> None:
        try:
            await t.clock.sleep(1000)
        except asyncio.CancelledError:
            ends.append("cancelled" if ctx.cancelled and not ctx.lease_lost else "?")
            raise

    async with stage.run(stage.app(handle, attempts=3)) as t:
        await t.send(QUEUE, "x")
        await t.advance(19.9)
        assert ends == []
        await t.advance(1.5)
        assert ends == ["cancelled"]
        await t.advance(200)
        assert ends == ["cancelled"] * 3
        [event] = t.dead
        assert (event.death.reason, event.death.error_type, event.death.attempts) == ("exhausted", "TimeoutError", 3)
        assert "longer than its timeout" in event.death.detail
        assert t.lost == []


async def test_a_timeout_of_the_handlers_own_is_told_apart_from_ours(stage: Stage) -> None:
    async def handle(order: str) -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)

    async with stage.run(stage.app(handle, attempts=1)) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        [event] = t.dead
        assert (event.death.error_type, event.death.detail) == ("TimeoutError", "")


@pytest.mark.parametrize("how", ["swallows", "returns", "raises", "takes its time", "uncancels"])
async def test_a_handler_may_do_with_its_cancellation_what_it_likes(stage: Stage, how: str) -> None:
    """The run counts as failed, and the worker is as good as new: nothing of the cancellation is left in it."""
    inner: list[str] = []
    left_over: list[int] = []

    async def handle(order: str, ctx: Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        left_over.append(task.cancelling())
        if order == "cut":
            try:
                await t.clock.sleep(1000)
            except asyncio.CancelledError:
                if how == "raises":
                    raise ValueError("in the cleanup") from None
                if how == "takes its time":
                    await t.clock.sleep(2)
                if how == "uncancels":
                    task.uncancel()
                if how == "returns":
                    return
                await asyncio.sleep(0)
        elif order == "uses timeout":
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(30)
            except TimeoutError:
                inner.append("timeout")
        elif order == "uses a group":
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
                    await asyncio.sleep(30)
            except* ValueError:
                inner.append("group")
        else:
            raise asyncio.CancelledError

    async def fail() -> None:
        raise ValueError

    async with stage.run(stage.app(handle, attempts=1, concurrency=1)) as t:
        for _ in range(2):
            await t.send(QUEUE, "cut")
            await t.advance(25)
            for order in ("uses timeout", "uses a group", "cancels itself"):
                await t.send(QUEUE, order)
                await t.drain()
        assert inner == ["timeout", "group"] * 2
        assert left_over == [0] * 8
        assert [event.death.error_type for event in t.dead] == ["TimeoutError", "CancelledError"] * 2
        assert len(t.completed) == 4


async def test_a_handler_that_does_not_let_itself_be_cancelled_is_reported_and_keeps_its_slot(stage: Stage) -> None:
    go_on = asyncio.Event()

    async def handle(order: str) -> None:
        if order != "stuck":
            return
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()

    async with stage.run(stage.app(handle, attempts=1, concurrency=2)) as t:
        try:
            await t.send_many(QUEUE, ["stuck", "a", "b"])
            await t.advance(19)
            assert len(t.completed) == 2
            await t.advance(40)
            assert [type(event) for event in t.events if isinstance(event, HandlerStuck)] == [HandlerStuck]
        finally:
            go_on.set()


async def test_a_lost_lease_is_told_to_the_handler_and_somebody_else_gets_the_message(stage: Stage) -> None:
    seen: list[tuple[int, str]] = []

    async def handle(order: str, ctx: Context) -> None:
        seen.append((ctx.attempt, "starts"))
        if ctx.attempt > 1:
            return
        try:
            await t.clock.sleep(1000)
        except asyncio.CancelledError:
            seen.append((ctx.attempt, f"lost={ctx.lease_lost} cancelled={ctx.cancelled}"))
            raise

    # A timeout above the lease is refused where leases cannot be extended: there it comes first, and frees nothing.
    async with stage.run(stage.app(handle, timeout_seconds=200.0 if stage.can().extend else 29.9)) as t:
        await t.send(QUEUE, "x")
        await t.advance(1)
        await t.expire_leases()
        await t.drain()
        assert (1, "starts") in seen
        assert (2, "starts") in seen
        if stage.can().extend:
            assert (1, "lost=True cancelled=True") in seen
            assert [(event.attempt, event.completed) for event in t.lost] == [(1, False)]
        assert [event.attempt for event in t.completed] == [2]
        assert t.app.health().consumers[QUEUE].tally.completed == 1


async def test_a_completion_after_the_lease_is_refused_and_counted(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")
    runs: list[int] = []

    async def handle(order: str, ctx: Context) -> str:
        runs.append(ctx.attempt)
        if ctx.attempt == 1:
            try:
                await t.clock.sleep(1000)
            except asyncio.CancelledError:
                return "done all the same"
        await t.clock.sleep(5)
        return "done"

    async with stage.run(stage.app(handle, timeout_seconds=200.0)) as t:
        sent = await t.send(QUEUE, "x")
        await t.advance(1)
        await t.expire_leases()
        await t.advance(6)
        assert runs == [1, 2]
        assert [(event.message.id, event.attempt) for event in t.lost] == [(sent.id, 1)]
        assert [event.attempt for event in t.completed] == [2]
        tally = t.app.health().consumers[QUEUE].tally
        assert (tally.lost, tally.completed, tally.started) == (1, 1, 2)
        assert (await t.depth(QUEUE)).ready == 0


async def test_a_completion_that_the_broker_only_hears_after_the_lease_is_counted_as_a_run_for_nothing(
    stage: Stage,
) -> None:
    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        stuck = t.faults.hang("complete")
        await t.send(QUEUE, "x")
        await stuck.reached()
        await t.advance(31)
        stuck.release()
        await t.advance(10)
        await t.drain()
        assert [(event.attempt, event.completed) for event in t.lost] == [(1, True)]
        assert [event.attempt for event in t.completed] == [2]


async def test_one_lost_lease_is_counted_once(stage: Stage) -> None:
    """Whoever finds out first: the sweep, the renewal, the settlement or the end of the receiver."""
    stage.need(stage.can().extend, "extend")

    async def handle(order: str, ctx: Context) -> None:
        await t.clock.sleep(12)

    async with stage.run(stage.app(handle, timeout_seconds=200.0)) as t:
        stuck = t.faults.hang("extend")
        await t.send(QUEUE, "x")
        await t.advance(11)
        await stuck.reached()
        await t.advance(5)  # the handler has ended, its settlement waits for the extension
        await t.adapter.lose_receivers()
        stuck.release()
        await t.advance(100)
        assert [event.attempt for event in t.lost] == [1]
        assert t.app.health().consumers[QUEUE].tally.lost == 1
        assert sum(isinstance(event, DeliveryLost) for event in t.events) == 1


async def test_no_delivery_ever_has_two_verbs_at_once(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")
    order_of_verbs: list[str] = []

    async def handle(order: str) -> None:
        await t.clock.sleep(12)

    async with stage.run(stage.app(handle, timeout_seconds=200.0)) as t:
        stuck = t.faults.hang("extend")
        await t.send(QUEUE, "x")
        await t.advance(11)
        await stuck.reached()
        await t.advance(5)
        order_of_verbs += [call.verb for call in t.faults.calls if call.verb in ("extend", "complete")]
        assert order_of_verbs == ["extend"]
        stuck.release()
        await t.drain()
        assert [event.attempt for event in t.completed] == [1]


async def test_a_slow_renewal_delays_no_timeout(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")

    async def handle(order: str) -> None:
        await t.clock.sleep(1000)

    async with stage.run(stage.app(handle, attempts=1, timeout_seconds=15.0)) as t:
        stuck = t.faults.hang("extend")
        await t.send(QUEUE, "x")
        await t.advance(11)
        await stuck.reached()
        await t.advance(5)
        assert t.app.health().consumers[QUEUE].running == 0
        stuck.release()
        await t.advance(1)
        assert [event.death.error_type for event in t.dead] == ["TimeoutError"]


async def test_renewals_that_fail_for_a_while_lose_nothing(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")

    async def handle(order: str) -> None:
        await t.clock.sleep(100)

    async with stage.run(stage.app(handle, timeout_seconds=200.0)) as t:
        await t.send(QUEUE, "x")
        await t.advance(1)
        with t.faults.failing("extend", RuntimeError("a bug in the adapter")):
            await t.advance(20)
        await t.advance(90)
        assert [event.attempt for event in t.completed] == [1]
        assert t.lost == []


async def test_leases_are_renewed_in_batches_that_the_broker_takes(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")

    async def handle(order: int) -> None:
        await t.clock.sleep(100)

    async with stage.run(stage.app(handle, timeout_seconds=200.0, concurrency=60)) as t:
        await t.send_many(QUEUE, range(60))
        await t.advance(110)
        assert len(t.completed) == 60
        assert t.lost == []
        assert max(t.faults.sizes("extend")) <= stage.can().max_batch
        assert max(t.faults.sizes("extend")) >= min(60, stage.can().max_batch)


async def test_a_pause_longer_than_a_lease_that_cannot_be_renewed_costs_the_waiting_no_attempt(stage: Stage) -> None:
    """What was received before its downstream was paused waits for it; where it cannot be kept, it goes back."""
    throttled = 0

    async def handle(order: str, ctx: Context) -> None:
        nonlocal throttled
        await t.clock.sleep(1)
        if ctx.queue == QUEUE and throttled < 8:
            throttled += 1
            raise Throttled(after=120)

    app = Leveler(
        queues={QUEUE: stage.queue(attempts=3), "refunds": stage.queue(attempts=3)},
        consumers={name: ConsumerSettings(downstream="billing") for name in (QUEUE, "refunds")},
        downstreams={"billing": LimitSettings(concurrency=1)},
    )
    app.consumer(QUEUE)(handle)
    app.consumer("refunds")(handle)
    async with stage.run(app) as t:
        for _ in range(5):
            await t.send(QUEUE, "x")
            await t.send("refunds", "x")
        await t.advance(3000)
        assert (t.dead, t.lost, t.retried) == ([], [], [])
        assert [event.attempt for event in t.completed] == [1] * 10


async def test_a_loop_that_stands_still_is_said(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def handle(order: str) -> None:
        await t.clock.sleep(2)
        t.clock._now += 5  # as if blocking code had run for so long
        await t.clock.sleep(2)

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        with caplog.at_level(logging.ERROR, "leveler"):
            await t.advance(20)
        assert len(t.completed) == 1
        [blocked] = [event for event in t.events if isinstance(event, LoopBlocked)]
        assert 3 < blocked.blocked_seconds <= 5
        assert "stood still" in caplog.text


async def test_a_loop_that_runs_is_not_accused(stage: Stage) -> None:
    async def handle(order: str) -> None:
        await t.clock.sleep(15)

    async with stage.run(stage.app(handle)) as t:
        await t.send_many(QUEUE, ["x"] * 3)
        await t.advance(100)
        assert [event for event in t.events if isinstance(event, LoopBlocked)] == []


@pytest.mark.parametrize("lease", [1.0, 2.0])
async def test_very_short_leases_are_kept_too(stage: Stage, lease: float) -> None:
    shortest = stage.can().lease_range_seconds[0]
    stage.need(shortest <= lease and stage.can().extend, f"lease of {lease} s")

    async def handle(order: Any) -> None:
        await t.clock.sleep(10 * lease)

    async with stage.run(stage.app(handle, lease_seconds=lease, timeout_seconds=20 * lease)) as t:
        await t.send(QUEUE, "x")
        await t.advance(11 * lease)
        assert [event.attempt for event in t.completed] == [1]
        assert t.lost == []
