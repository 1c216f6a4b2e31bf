"""TestApp: what a user's test may rely on."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from leveler import Context, Leveler, QueueSettings, RetryPolicy
from leveler.events import MessageStarted
from leveler.testing import TestApp, VirtualClock
from tests.flow.conftest import QUEUE, Stage


async def test_an_app_is_tested_on_memory_whatever_broker_it_is_for() -> None:
    seen: list[str] = []
    app = Leveler("amqp://user:secret@no-such-host/")

    @app.consumer(QUEUE)
    async def handle(order: str) -> None:
        seen.append(order)

    async with TestApp(app) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        assert seen == ["x"]


async def test_several_brokers_become_one_adapter_that_is_entered_once() -> None:
    app = Leveler("memory://", queues={QUEUE: QueueSettings(broker="other"), "refunds": QueueSettings()})
    async with TestApp(app) as t:
        await t.send(QUEUE, "x")
        await t.send("refunds", "x")
        assert [call.verb for call in t.faults.calls].count("connect") == 1
        assert ((await t.depth(QUEUE)).ready, (await t.depth("refunds")).ready) == (1, 1)


async def test_time_stands_still_until_it_is_told_to_pass(stage: Stage) -> None:
    async def handle(order: str, ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError

    async with stage.run(stage.app(handle, retry=RetryPolicy(initial_seconds=100, jitter="none"))) as t:
        began = t.clock.now()
        await t.send(QUEUE, "x")
        await t.drain()
        assert len(t.retried) == 1
        assert (t.clock.now() - began).total_seconds() < 1
        await t.advance(99)
        assert t.completed == []
        await t.advance(2)
        assert len(t.completed) == 1
        assert (t.clock.now() - began).total_seconds() == pytest.approx(101, abs=1)


async def test_the_same_seed_gives_the_same_waits(stage: Stage) -> None:
    async def handle(order: str) -> None:
        raise ValueError

    async def waits(seed: int) -> list[float]:
        async with stage.run(stage.app(handle, retry=RetryPolicy(initial_seconds=10)), seed=seed) as t:
            await t.send(QUEUE, "x")
            await t.advance(1000)
            return [event.delay_seconds for event in t.retried]

    first = await waits(1)
    assert len(first) == 4
    assert await waits(1) == first
    assert await waits(2) != first


async def test_a_duplicate_is_handled_a_second_time_even_where_the_broker_drops_duplicates(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []

    async def handle(order: str, ctx: Context) -> None:
        seen.append((ctx.message.id, ctx.attempt))

    async with stage.run(stage.app(handle)) as t:
        sent = await t.send(QUEUE, "x", id="one")
        await t.duplicate(QUEUE, sent)
        await t.drain()
        assert seen == [("one", 1), ("one", 1)]


async def test_leases_expire_on_demand_and_only_then(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")
    attempts: list[int] = []

    async def handle(order: str, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            await t.clock.sleep(10_000)

    async with stage.run(stage.app(handle, timeout_seconds=600.0)) as t:
        await t.send(QUEUE, "x")
        await t.advance(200)
        assert attempts == [1]
        await t.expire_leases()
        await t.advance(1)
        assert attempts == [1, 2]
        await t.expire_leases()
        await t.advance(1)
        assert attempts == [1, 2, 3]
        assert len(t.lost) == 2
        assert len(t.completed) == 1


async def test_drain_waits_for_handlers_that_do_real_work(stage: Stage) -> None:
    async def handle(order: str) -> None:
        await asyncio.sleep(0.02)

    def handle_in_thread(order: str) -> None:
        time.sleep(0.02)

    for handler in (handle, handle_in_thread):
        async with stage.run(stage.app(handler)) as t:
            await t.send_many(QUEUE, ["x"] * 3)
            await t.drain()
            assert len(t.completed) == 3


async def test_drain_passes_the_time_that_a_limit_asks_for_and_leaves_the_delayed(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle, rate=2.0)) as t:
        await t.send_many(QUEUE, ["x"] * 9)
        if stage.can().max_delay_seconds:
            await t.send(QUEUE, "later", delay=500)
        began = t.clock.monotonic()
        await t.drain()
        assert len(t.completed) == 9
        assert t.clock.monotonic() - began == pytest.approx(4, abs=1)
        await t.advance(600)
        assert len(t.completed) == (10 if stage.can().max_delay_seconds else 9)


async def test_drain_says_which_handlers_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leveler.testing.app._PATIENCE_SECONDS", 0.05)
    go_on = asyncio.Event()
    stage = Stage("plain")

    async def handle(order: str) -> None:
        await go_on.wait()

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        with pytest.raises(TimeoutError, match=r"still running: \{'orders': 1\}"):
            await t.drain()
        go_on.set()
        await t.drain()


async def test_a_test_ends_although_handlers_run_on(stage: Stage) -> None:
    cancelled: list[str] = []
    go_on = threading.Event()

    async def handle(order: str) -> None:
        try:
            await t.clock.sleep(1e6)
        except asyncio.CancelledError:
            cancelled.append(order)
            raise

    def handle_in_thread(order: str) -> None:
        go_on.wait(10)

    try:
        async with stage.run(stage.app(handle)) as t:
            await t.send(QUEUE, "x")
            await t.advance(1)
        assert cancelled == ["x"]
        async with stage.run(stage.app(handle_in_thread)) as t:
            await t.send(QUEUE, "x")
            await t.advance(1)
    finally:
        go_on.set()


async def test_a_failing_test_fails_with_its_own_error(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    async def fail() -> None:
        async with stage.run(stage.app(handle)) as t:
            await t.send(QUEUE, "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_everything_that_happened_is_there_in_order(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        await t.send_many(QUEUE, ["a", "b"])
        await t.drain()
    assert {event.message.body for event in t.started} == {b"a", b"b"}
    assert [event for event in t.events if isinstance(event, MessageStarted)] == t.started
    assert isinstance(t.clock, VirtualClock)


async def test_a_test_app_outside_of_its_with_says_how_to_use_it() -> None:
    t = TestApp(Leveler("memory://"))
    with pytest.raises(RuntimeError, match="async with TestApp"):
        await t.drain()
