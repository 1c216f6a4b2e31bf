"""The life of an app: start, state, middleware, observers, health, stop; and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from leveler import (
    BrokerUnavailable,
    Completed,
    ConfigError,
    ConsumerSettings,
    Context,
    Leveler,
    LevelerError,
    LimitSettings,
    Reject,
    Retry,
    Settings,
)
from leveler.consumer.handler import Next
from leveler.events import Event, MessageCompleted, MessageSent, MessageStarted, ReceiverDown, ReceiverReady
from leveler.settings import BrokerSettings
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage, until


async def test_the_lifespan_gives_every_handler_its_state(stage: Stage) -> None:
    seen: list[Any] = []
    life: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Leveler) -> AsyncIterator[dict[str, str]]:
        life.append("begins")
        yield {"pool": "of connections"}
        life.append("ends")

    async def handle(order: str, ctx: Context) -> None:
        seen.append(ctx.state)
        life.append("handles")

    async with stage.run(stage.app(handle, leveler={"lifespan": lifespan})) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        assert seen == [{"pool": "of connections"}]
    assert life == ["begins", "handles", "ends"]


async def test_the_lifespan_may_send(stage: Stage) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Leveler) -> AsyncIterator[None]:
        await app.send(QUEUE, "hello")
        yield
        await app.send(QUEUE, "goodbye")

    async def handle(order: str) -> None:
        seen.append(order)

    app = stage.app(handle, leveler={"lifespan": lifespan})
    async with stage.run(app) as t:
        await t.drain()
        assert seen == ["hello"]
    assert [event.message.body for event in t.events if isinstance(event, MessageSent)] == [b"hello", b"goodbye"]


async def test_middleware_wraps_every_run_the_first_one_outermost(stage: Stage) -> None:
    calls: list[str] = []

    def layer(name: str) -> Any:
        async def middleware(value: Any, ctx: Context, call_next: Next) -> Any:
            calls.append(f"{name} before {value}")
            result = await call_next(f"{value}+{name}", ctx)
            calls.append(f"{name} after {result}")
            return result

        return middleware

    async def handle(value: str) -> str:
        calls.append(value)
        return "result"

    app = stage.app(handle, leveler={"middleware": [layer("a"), layer("b")]})
    app.add_middleware(layer("c"))
    async with stage.run(app) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        assert calls == [
            "a before x",
            "b before x+a",
            "c before x+a+b",
            "x+a+b+c",
            "c after result",
            "b after result",
            "a after result",
        ]
        assert len(t.completed) == 1


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_what_a_middleware_makes_of_a_run_is_what_becomes_of_the_message(stage: Stage, kind: str) -> None:
    async def judge(value: str, ctx: Context, call_next: Next) -> Any:
        if value == "never called":
            return None
        if value == "raises":
            raise ValueError("in the middleware")
        if value == "rejects":
            return Reject("by the middleware")
        try:
            return await call_next(value, ctx)
        except LookupError:
            return Completed()  # swallows

    called: list[str] = []

    async def handle(value: str) -> object:
        called.append(value)
        if value == "swallowed":
            raise LookupError
        if value == "retries":
            raise Retry(after=1)
        return None

    def handle_in_thread(value: str) -> object:
        called.append(value)
        if value == "swallowed":
            raise LookupError
        if value == "retries":
            raise Retry(after=1)
        return None

    app = stage.app(handle if kind == "async def" else handle_in_thread, attempts=1, leveler={"middleware": [judge]})
    async with stage.run(app) as t:
        await t.send_many(QUEUE, ["never called", "raises", "rejects", "swallowed", "retries", "plain"])
        await t.drain()
        ends = {event.message.body.decode(): event.death.reason for event in t.dead}
        assert ends == {"raises": "exhausted", "rejects": "rejected", "retries": "exhausted"}
        assert {event.message.body.decode() for event in t.completed} == {"never called", "swallowed", "plain"}
        assert sorted(called) == ["plain", "retries", "swallowed"]


async def test_an_observer_that_raises_changes_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def broken(event: Event) -> None:
        raise RuntimeError("the metrics server is away")

    async def handle(order: str) -> None:
        if order == "bad":
            raise ValueError

    app = stage.app(handle, attempts=2, leveler={"observers": [broken]})
    app.observe(lambda event: seen.append(type(event).__name__))
    async with stage.run(app) as t:
        await t.send_many(QUEUE, ["good", "bad"])
        await t.advance(100)
        assert len(t.completed) == 1
        assert len(t.dead) == 1
        assert set(seen) >= {"MessageSent", "MessageStarted", "MessageCompleted", "MessageRetried"}
    assert "failed on MessageCompleted" in caplog.text


async def test_the_tally_equals_what_happened(stage: Stage) -> None:
    async def handle(order: int, ctx: Context) -> None:
        if order % 5 == 1:
            raise Reject("no")
        if order % 5 == 2 and ctx.attempt < 3:
            raise ValueError

    async with stage.run(stage.app(handle)) as t:
        await t.send_many(QUEUE, range(50))
        await t.advance(100)
        tally = t.app.health().consumers[QUEUE].tally
        assert (tally.received, tally.started) == (70, 70)
        assert (tally.completed, tally.retried, tally.dead_lettered) == (40, 20, 10)
        assert (tally.returned, tally.returned_counted, tally.lost, tally.stuck) == (0, 0, 0, 0)
        assert (tally.settlements_failed, tally.receivers_lost) == (0, 0)
        assert [len(kind) for kind in (t.started, t.completed, t.retried, t.dead)] == [70, 40, 20, 10]


async def test_health_says_what_runs(stage: Stage) -> None:
    async def handle(order: str) -> None:
        await t.clock.sleep(10)

    async with stage.run(stage.app(handle, concurrency=3)) as t:
        await t.send_many(QUEUE, ["x"] * 2)
        await t.advance(1)
        health = t.app.health()
        assert health.ready
        assert (health.consumers[QUEUE].running, health.consumers[QUEUE].held) == (2, 2)
        assert health.degraded == {}
        await t.advance(10)
        assert (t.app.health().consumers[QUEUE].running, t.app.health().consumers[QUEUE].held) == (0, 0)


async def test_an_app_is_ready_when_the_broker_knows_its_consumers_and_not_before(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    t = stage.run(stage.app(handle))
    stuck = t.faults.hang("hold")
    async with t:
        assert not t.app.health().ready
        stuck.release()
        await t.advance(0)
        assert t.app.health().ready
        t.faults.fail("receive", BrokerUnavailable("gone"), times=3)
        await t.advance(5.05)
        assert not t.app.health().ready
        await t.advance(20)
        assert t.app.health().ready
        await t.adapter.lose_receivers()
        t.faults.fail("declare", BrokerUnavailable("gone"), times=2)
        await t.advance(5)
        assert t.app.health().ready
        assert sum(isinstance(event, ReceiverDown) for event in t.events) == 3
        assert sum(isinstance(event, ReceiverReady) for event in t.events) == 3


async def test_an_app_that_cannot_start_leaves_nothing_behind_and_can_start_later(stage: Stage) -> None:
    life: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Leveler) -> AsyncIterator[None]:
        life.append("begins")
        try:
            yield
        finally:
            life.append("ends")

    async def handle(order: str) -> None: ...

    app = stage.app(handle, leveler={"lifespan": lifespan})
    for verb in ("connect", "declare"):
        t = stage.run(app)
        away = BrokerUnavailable("nobody answers")
        with t.faults.failing(verb, away), pytest.raises(BrokerUnavailable, match="nobody answers"):
            async with t:
                pytest.fail("it has started")
    assert life == ["begins", "ends"]
    async with stage.run(app) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        assert len(t.completed) == 1
    assert life == ["begins", "ends"] * 2
    assert len([event for event in t.events if isinstance(event, MessageCompleted)]) == 1


async def test_a_worker_waits_a_moment_for_a_broker_that_cannot_declare_a_queue_yet(stage: Stage) -> None:
    """It has just started itself, or several workers want the same new queue at once."""

    async def handle(order: str) -> None: ...

    t = stage.run(stage.app(handle))
    t.faults.fail("declare", BrokerUnavailable("INTERNAL_ERROR"), times=3)
    async with t:
        assert t.clock.monotonic() < t.adapter.deadline_seconds
        await t.send(QUEUE, "x")
        await t.drain()
        assert len(t.completed) == 1


async def test_a_worker_whose_queue_is_refused_does_not_wait(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    t = stage.run(stage.app(handle))
    t.faults.fail("declare", ConfigError("not like this"))
    with pytest.raises(ConfigError, match="not like this"):
        async with t:
            pytest.fail("it has started")
    assert t.clock.monotonic() == 0.0


async def test_a_lifespan_that_fails_leaves_nothing_behind(stage: Stage) -> None:
    fails = True

    @asynccontextmanager
    async def lifespan(app: Leveler) -> AsyncIterator[None]:
        if fails:
            raise OSError("no database")
        yield

    async def handle(order: str) -> None: ...

    app = stage.app(handle, leveler={"lifespan": lifespan})
    with pytest.raises(OSError, match="no database"):
        async with stage.run(app):
            pytest.fail("it has started")
    fails = False
    async with stage.run(app) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        assert len(t.completed) == 1


async def test_a_second_broker_that_does_not_answer_closes_the_first(stage: Stage) -> None:
    closed: list[str] = []
    good, bad = stage.run(stage.app()).adapter, stage.run(stage.app())
    bad.faults.fail("connect", BrokerUnavailable("nobody answers"))

    async def on_exit(*exc: object) -> None:
        closed.append("first")

    good.__class__ = type("Watched", (good.__class__,), {"__aexit__": lambda self, *exc: on_exit(*exc)})
    settings = Settings(brokers={"default": BrokerSettings(adapter=good), "other": BrokerSettings(adapter=bad.adapter)})
    app = stage.app(leveler={"settings": settings})
    with pytest.raises(BrokerUnavailable):
        async with app:
            pytest.fail("it has started")
    assert closed == ["first"]


async def test_an_app_lives_once_at_a_time(stage: Stage) -> None:
    app = stage.app()
    async with stage.run(app):
        with pytest.raises(LevelerError, match="started already"):
            async with stage.run(app):
                pytest.fail("twice")
        await app.send(QUEUE, "still alive")


async def test_settings_that_the_broker_cannot_keep_are_refused_at_the_start(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    shortest, longest = stage.can().lease_range_seconds
    refused: list[dict[str, Any]] = []
    if longest < float("inf"):
        refused.append({"lease_seconds": longest * 2, "timeout_seconds": 1.0})
    if shortest > 1:
        refused.append({"lease_seconds": 1.0, "timeout_seconds": 0.5})
    if not stage.can().extend:
        refused.append({"lease_seconds": 30.0, "timeout_seconds": 30.0})
    if stage.can().max_lease_seconds < float("inf"):
        refused.append({"lease_seconds": 30.0, "timeout_seconds": stage.can().max_lease_seconds + 1})
    for settings in refused:
        with pytest.raises(ConfigError, match=r"lease|timeout"):
            async with stage.run(stage.app(handle, **settings)):
                pytest.fail(f"started with {settings}")


async def test_only_some_consumers_may_be_started(stage: Stage) -> None:
    done: list[str] = []

    async def handle(order: str, ctx: Context) -> None:
        done.append(ctx.queue)

    settings = Settings(brokers={"default": BrokerSettings(url=f"memory://?personality={stage.name}")})
    app = Leveler(settings=settings, queues={"orders": stage.queue(), "refunds": stage.queue()})
    app.consumer("orders")(handle)
    app.consumer("refunds")(handle)
    async with app.working(only=["orders"]):
        await app.send("orders", "x")
        await app.send("refunds", "x")
        await until(lambda: done)
        await asyncio.sleep(0.01)
        assert done == ["orders"]
        assert list(app.health().consumers) == ["orders"]
    with pytest.raises(ConfigError, match=r"no consumer for queue 'letters'; there are: orders, refunds"):
        async with app.working(only=["letters"]):
            pytest.fail("started")
    async with app:  # and it is none the worse
        await app.send("orders", "x")


async def test_an_unknown_downstream_is_refused_at_the_start(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    app = Leveler(
        queues={QUEUE: stage.queue()},
        consumers={QUEUE: ConsumerSettings(downstream="biling")},
        downstreams={"billing": LimitSettings(concurrency=1)},
    )
    app.consumer(QUEUE)(handle)
    with pytest.raises(ConfigError, match="'biling'"):
        async with stage.run(app):
            pytest.fail("started")


def serving(stage: Stage) -> Settings:
    return Settings(brokers={"default": BrokerSettings(url=f"memory://?personality={stage.name}")})


async def test_a_worker_ends_with_0_after_a_signal(stage: Stage) -> None:
    done: list[str] = []

    async def handle(order: str) -> None:
        await asyncio.sleep(0.02)
        done.append(order)

    app = stage.app(handle, leveler={"settings": serving(stage)})
    serve = asyncio.ensure_future(app.serve())
    await until(lambda: app._runtime and app.health().ready and app.health().consumers)
    await app.send(QUEUE, "x")
    await until(lambda: app.health().consumers[QUEUE].running)
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(serve, 10) == 0
    assert done == ["x"]


async def test_a_signal_stops_handlers_that_block_the_loop_at_its_next_turn(stage: Stage) -> None:
    """Each turn may bring a run of every worker: the way from the signal to the limits has none to spare."""
    told = 0
    started: list[str] = []

    async def handle(order: str) -> None:
        nonlocal told
        started.append(order)
        if len(started) == 50:
            told = len(started)
            signal.raise_signal(signal.SIGTERM)
        time.sleep(0.006)  # noqa: ASYNC251  # on purpose: a rude handler, longer than a slice

    app = stage.app(handle, leveler={"settings": serving(stage)}, concurrency=8)
    serve = asyncio.ensure_future(app.serve())
    await until(lambda: app._runtime and app.health().ready and app.health().consumers)
    await asyncio.gather(*(app.send(QUEUE, str(number)) for number in range(200)))
    assert await asyncio.wait_for(serve, 10) == 0
    assert told == 50
    assert len(started) - told <= 2 * 8  # one turn in which the loop hears of it, and one in which we do


async def test_a_second_signal_gives_everything_back_now(stage: Stage) -> None:
    ends: list[str] = []

    async def handle(order: str) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    app = stage.app(handle, leveler={"settings": serving(stage)})
    serve = asyncio.ensure_future(app.serve())
    await until(lambda: app._runtime and app.health().ready and app.health().consumers)
    await app.send(QUEUE, "x")
    await until(lambda: app.health().consumers[QUEUE].running)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0.02)
    assert ends == []
    signal.raise_signal(signal.SIGINT)
    assert await asyncio.wait_for(serve, 10) == 0
    assert ends == ["cancelled"]


async def test_a_worker_that_has_broken_down_ends_with_the_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop of ours that ends by itself would be silence: nothing is consumed and nobody is told."""

    async def handle(order: str) -> None: ...

    app = stage.app(handle, leveler={"settings": serving(stage)})
    serve = asyncio.ensure_future(app.serve())
    await until(lambda: app._runtime and app.health().ready and app.health().consumers)
    consumer = app._started().consumers[QUEUE]

    def broken(*args: object) -> None:
        raise AssertionError("a bug in leveler")

    monkeypatch.setattr(consumer._settlement, "complete", broken)
    await app.send(QUEUE, "x")
    with pytest.raises(AssertionError, match="a bug in leveler"):
        await asyncio.wait_for(serve, 10)


async def test_the_events_of_one_message_come_in_order(stage: Stage) -> None:
    async def handle(order: str, ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        await t.advance(100)
        names = [type(event).__name__ for event in t.events if not isinstance(event, ReceiverReady)]
        assert names == ["MessageSent", "MessageStarted", "MessageRetried", "MessageStarted", "MessageCompleted"]
        assert {event.queue for event in t.events} == {QUEUE}
        assert isinstance(t.events[-1], MessageCompleted)
        assert t.started[0] == MessageStarted(QUEUE, t.started[0].message, 1)


async def test_a_test_app_may_be_used_again_for_the_same_app(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    app = stage.app(handle)
    for _ in range(3):
        async with TestApp(app, personality=stage.name) as t:
            await t.send(QUEUE, "x")
            await t.drain()
            assert len(t.completed) == 1
