"""Levelling: never above the concurrency or the rate, and as near to them as can be."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import Counter

import pytest

from leveler import ConsumerSettings, Context, Leveler, LimitSettings, Reject, Retry, Snooze, Throttled
from leveler.consumer.limits import FixedConcurrency, Verdict
from leveler.consumer.limits.rate import CATCH_UP_SECONDS
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage


def most_in(starts: list[float], seconds: float) -> int:
    """Most starts in any span of so many seconds."""
    return max(bisect_left(starts, at + seconds) - index for index, at in enumerate(starts))


def held(t: TestApp, queue: str = QUEUE) -> int:
    return t.app.health().consumers[queue].held


@pytest.mark.parametrize("concurrency", [1, 4, 64])
async def test_the_concurrency_is_reached_and_never_exceeded(stage: Stage, concurrency: int) -> None:
    now = most = 0

    async def handle(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            await t.clock.sleep(1)
            if number % 7 == 0:
                raise (Retry(after=1), Snooze(after=1), Reject("no"), ValueError())[number % 4]
        finally:
            now -= 1

    async with stage.run(stage.app(handle, concurrency=concurrency)) as t:
        await t.send_many(QUEUE, range(3 * concurrency + 20))
        for _ in range(3 * (3 * concurrency + 20) // concurrency):
            await t.advance(0.5)
            assert now <= concurrency
            assert held(t) <= 2 * concurrency + 1
        assert most == concurrency


@pytest.mark.parametrize("concurrency", [1, 4, 64])
async def test_a_downstream_that_several_consumers_share_is_never_exceeded(stage: Stage, concurrency: int) -> None:
    queues = ("orders", "refunds", "letters")
    now = most = 0
    done: Counter[str] = Counter()

    async def handle(number: int, ctx: Context) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await t.clock.sleep(1)
        now -= 1
        done[ctx.queue] += 1

    app = Leveler(
        queues={name: stage.queue() for name in queues},
        consumers={name: ConsumerSettings(downstream="billing") for name in queues},
        downstreams={"billing": LimitSettings(concurrency=concurrency)},
    )
    for name in queues:
        app.consumer(name)(handle)
    async with stage.run(app) as t:
        for name in queues:
            await t.send_many(name, range(4 * concurrency))
        await t.advance(6.5)
        assert most == concurrency
        assert min(done[name] for name in queues) >= concurrency  # nobody starves
        await t.advance(12)
        assert sum(done.values()) == 12 * concurrency
        assert (t.dead, t.lost) == ([], [])


async def test_a_consumer_keeps_its_own_limit_and_that_of_its_downstream(stage: Stage) -> None:
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def handle(number: int, ctx: Context) -> None:
        for name in (ctx.queue, "all"):
            now[name] += 1
            most[name] = max(most[name], now[name])
        await t.clock.sleep(1)
        for name in (ctx.queue, "all"):
            now[name] -= 1

    app = Leveler(
        queues={"orders": stage.queue(), "refunds": stage.queue()},
        consumers={
            "orders": ConsumerSettings(downstream="billing", limits=LimitSettings(concurrency=2)),
            "refunds": ConsumerSettings(downstream="billing"),
        },
        downstreams={"billing": LimitSettings(concurrency=5)},
    )
    app.consumer("orders")(handle)
    app.consumer("refunds")(handle)
    async with stage.run(app) as t:
        for name in ("orders", "refunds"):
            await t.send_many(name, range(20))
        await t.advance(60)
        assert most["orders"] == 2
        assert most["all"] == 5
        assert len(t.completed) == 40


@pytest.mark.parametrize(("per_second", "seconds"), [(0.5, 40.0), (7.0, 10.0), (50.0, 10.0), (5000.0, 6.0)])
async def test_the_rate_is_kept_within_one_percent_and_never_exceeded(
    stage: Stage, per_second: float, seconds: float
) -> None:
    if per_second > 1000 and stage.name != "plain":
        pytest.skip("the rate does not know the broker: once is enough for 30,000 messages")
    starts: list[float] = []

    async def handle(number: int) -> None:
        starts.append(t.clock.monotonic())

    async with stage.run(stage.app(handle, rate=per_second, concurrency=64)) as t:
        await t.send_many(QUEUE, range(int(per_second * seconds) + 600))
        await t.advance(seconds)
        burst = 1 + per_second * CATCH_UP_SECONDS
        due = per_second * seconds
        assert due * 0.99 - 1 <= len(starts) <= due * 1.01 + 1
        assert most_in(starts, 1.0) <= per_second + burst
        # Evenly: every tenth of the time brings a tenth of the starts.
        if due >= 50:
            for tenth in range(10):
                lower, upper = tenth * seconds / 10, (tenth + 1) * seconds / 10
                assert bisect_right(starts, upper) - bisect_right(starts, lower) == pytest.approx(due / 10, abs=burst)
        assert t.lost == []


async def test_an_idle_time_is_not_made_up_for(stage: Stage) -> None:
    starts: list[float] = []

    async def handle(number: int) -> None:
        starts.append(t.clock.monotonic())

    async with stage.run(stage.app(handle, rate=10.0)) as t:
        await t.advance(100)
        await t.send_many(QUEUE, range(30))
        await t.advance(1.0)
        assert len(starts) <= 12


async def test_a_slow_rate_holds_no_more_than_it_can_start(stage: Stage) -> None:
    async def handle(number: int) -> None: ...

    async with stage.run(stage.app(handle, rate=0.5, concurrency=16)) as t:
        await t.send_many(QUEUE, range(50))
        for _ in range(60):
            await t.advance(0.5)
            assert held(t) <= 2
        assert 14 <= len(t.completed) <= 17


async def test_a_rate_is_kept_by_all_who_share_it(stage: Stage) -> None:
    starts: list[float] = []

    async def handle(number: int) -> None:
        starts.append(t.clock.monotonic())

    app = Leveler(
        queues={"orders": stage.queue(), "refunds": stage.queue()},
        consumers={name: ConsumerSettings(downstream="billing") for name in ("orders", "refunds")},
        downstreams={"billing": LimitSettings(rate_per_second=20.0)},
    )
    app.consumer("orders")(handle)
    app.consumer("refunds")(handle)
    async with stage.run(app) as t:
        for name in ("orders", "refunds"):
            await t.send_many(name, range(200))
        await t.advance(10)
        assert len(starts) == pytest.approx(200, abs=3)
        done = Counter(event.queue for event in t.completed)
        assert min(done["orders"], done["refunds"]) > 60


async def test_throttled_pauses_everybody_who_uses_that_downstream(stage: Stage) -> None:
    starts: list[tuple[float, str]] = []

    async def handle(name: str, ctx: Context) -> None:
        starts.append((t.clock.monotonic(), ctx.queue))
        if name == "too much":
            raise Throttled(after=15)

    app = Leveler(
        queues={name: stage.queue() for name in ("orders", "refunds", "letters")},
        consumers={
            "orders": ConsumerSettings(downstream="billing"),
            "refunds": ConsumerSettings(downstream="billing"),
            "letters": ConsumerSettings(),
        },
        downstreams={"billing": LimitSettings(concurrency=4)},
    )
    for name in ("orders", "refunds", "letters"):
        app.consumer(name)(handle)
    async with stage.run(app) as t:
        await t.advance(1)
        await t.send("orders", "too much")
        await t.advance(0.001)
        for name in ("orders", "refunds", "letters"):
            await t.send(name, "x")
        await t.advance(14.9)
        assert [queue for _, queue in starts] == ["orders", "letters"]
        await t.advance(1)
        assert Counter(queue for _, queue in starts)["refunds"] == 1
        assert (t.dead, t.lost) == ([], [])


async def test_a_pause_may_be_for_a_named_downstream(stage: Stage) -> None:
    starts: list[str] = []

    async def handle(name: str, ctx: Context) -> None:
        starts.append(name)
        if name == "too much":
            raise Throttled(after=15, downstream=QUEUE)

    app = Leveler(
        queues={"orders": stage.queue(), "refunds": stage.queue()},
        consumers={
            "orders": ConsumerSettings(downstream="billing", limits=LimitSettings(concurrency=4)),
            "refunds": ConsumerSettings(downstream="billing"),
        },
        downstreams={"billing": LimitSettings(concurrency=4)},
    )
    app.consumer("orders")(handle)
    app.consumer("refunds")(handle)
    async with stage.run(app) as t:
        await t.send("orders", "too much")
        await t.advance(0.001)
        await t.send("orders", "order")
        await t.send("refunds", "refund")
        await t.advance(10)
        assert starts == ["too much", "refund"]


@pytest.mark.parametrize("after", [0.0, float("inf"), 1e300])
async def test_a_retry_after_without_sense_breaks_nothing(stage: Stage, after: float) -> None:
    async def handle(name: str, ctx: Context) -> None:
        raise Throttled(after=after)

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        await t.advance(1)
        assert len(t.started) >= 1
        assert t.app.health().consumers[QUEUE].tally.settlements_failed == 0


async def test_what_quick_handlers_leave_unstarted_is_not_more_than_soon_can_start(stage: Stage) -> None:
    """The intake asks ahead by what ends in a tenth of a second, and not by more."""

    async def handle(number: int) -> None:
        await t.clock.sleep(0.01)

    async with stage.run(stage.app(handle, concurrency=2)) as t:
        await t.send_many(QUEUE, range(2000))
        for _ in range(50):
            await t.advance(0.1)
            assert held(t) <= 2 + 2 * (20 + 2)
        assert len(t.completed) >= 950  # 200 a second can start


async def test_a_waiting_run_costs_no_slot_of_another_consumer(stage: Stage) -> None:
    gate = asyncio.Event()

    async def slow(number: int) -> None:
        await gate.wait()

    async def quick(number: int) -> None: ...

    app = Leveler(
        queues={"orders": stage.queue(), "refunds": stage.queue()},
        consumers={
            "orders": ConsumerSettings(downstream="billing", limits=LimitSettings(concurrency=1)),
            "refunds": ConsumerSettings(downstream="billing"),
        },
        downstreams={"billing": LimitSettings(concurrency=2)},
    )
    app.consumer("orders")(slow)
    app.consumer("refunds")(quick)
    async with stage.run(app) as t:
        await t.send_many("orders", range(10))
        await t.advance(1)
        await t.send_many("refunds", range(10))
        await t.advance(1)
        assert Counter(event.queue for event in t.completed) == {"refunds": 10}
        gate.set()
        await t.drain()


async def test_the_limits_are_told_how_each_run_went(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not the downstream's doing tells nothing about it."""
    told: list[tuple[str, float]] = []

    def finish(self: FixedConcurrency, now: float, runs: int, latency_seconds: float, verdict: Verdict) -> None:
        told.append((verdict.value, latency_seconds))
        real(self, now, runs, latency_seconds, verdict)

    real = FixedConcurrency.finish
    monkeypatch.setattr(FixedConcurrency, "finish", finish)

    async def handle(what: str, ctx: Context) -> None:
        await t.clock.sleep(2)
        outcomes: dict[str, Exception] = {
            "fails": ValueError(),
            "retries": Retry(after=500),
            "throttled": Throttled(),
            "snoozes": Snooze(after=500),
            "rejects": Reject("no"),
        }
        if what in outcomes:
            raise outcomes[what]
        if what == "times out":
            await t.clock.sleep(1000)
        if what == "is lost":
            await t.adapter.lose_receivers()
            await t.clock.sleep(1000)

    for what, verdict in [
        ("succeeds", "success"),
        ("fails", "failure"),
        ("retries", "failure"),
        ("times out", "failure"),
        ("throttled", "overload"),
        ("snoozes", "nothing"),
        ("rejects", "nothing"),
        ("is lost", "nothing"),
    ]:
        told.clear()
        async with stage.run(stage.app(handle, attempts=1)) as t:
            await t.send(QUEUE, what)
            await t.advance(22.5 if what == "times out" else 2.5)
            [(said, latency_seconds), *_] = told
            assert said == verdict, what
            assert latency_seconds == pytest.approx(20 if what == "times out" else 2, abs=1.1)
