"""Order is kept per key, and limits are never exceeded."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from leveler import ConsumerSettings, Context, Leveler, LimitSettings, Retry, RetryPolicy, Throttled
from tests.flow.conftest import QUEUE, Stage
from tests.flow.process import in_broker

OTHER = "refunds"
QUICK_RETRY = RetryPolicy(max_attempts=4, initial_seconds=1, jitter="none")


async def test_an_ordered_queue_keeps_the_order_of_each_key_though_runs_fail(stage: Stage) -> None:
    stage.need(stage.can().ordering, "order")
    runs: dict[int, list[int]] = defaultdict(list)
    running: Counter[int] = Counter()

    async def handle(order: list[int], ctx: Context) -> None:
        key, number = order
        running[key] += 1
        assert running[key] == 1
        await t.clock.sleep(0.3)
        running[key] -= 1
        if number % 3 == 1 and ctx.attempt < 3:
            raise ValueError
        runs[key].append(number)

    async with stage.run(stage.app(handle, ordered=True, concurrency=8, retry=QUICK_RETRY)) as t:
        for number in range(8):
            for key in range(4):
                await t.send(QUEUE, [key, number], key=f"customer-{key}")
        await t.advance(300)
        assert dict(runs) == {key: list(range(8)) for key in range(4)}
        assert (t.dead, in_broker(t)) == ([], (0, 0, 0))


async def test_a_dead_letter_lets_the_next_of_its_key_go_on(stage: Stage) -> None:
    stage.need(stage.can().ordering, "order")
    seen: list[tuple[int, int]] = []

    async def handle(order: int, ctx: Context) -> None:
        seen.append((order, ctx.attempt))
        if order == 1:
            raise ValueError

    retry = RetryPolicy(max_attempts=2, initial_seconds=1, jitter="none")
    async with stage.run(stage.app(handle, ordered=True, retry=retry)) as t:
        for number in range(3):
            await t.send(QUEUE, number, key="one")
        await t.advance(100)
        assert [order for order, _ in seen] == [0, 1, 1, 2]
        assert [event.message.body for event in t.dead] == [b"1"]


async def test_an_ordered_queue_runs_its_keys_side_by_side(stage: Stage) -> None:
    stage.need(stage.can().ordering, "order")
    most = 0
    running = 0

    async def handle(order: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await t.clock.sleep(1)
        running -= 1

    async with stage.run(stage.app(handle, ordered=True, concurrency=8)) as t:
        for number in range(40):
            await t.send(QUEUE, number, key=f"customer-{number % 8}")
        await t.advance(7)
        assert most == 8
        assert len(t.completed) == 40


@pytest.mark.parametrize("concurrency", [1, 4, 64])
async def test_concurrency_is_used_up_and_never_exceeded(stage: Stage, concurrency: int) -> None:
    running = 0
    seen: list[int] = []

    async def handle(order: int, ctx: Context) -> None:
        nonlocal running
        running += 1
        seen.append(running)
        try:
            await t.clock.sleep(0.5 + order % 3 / 10)
        finally:
            running -= 1
        if order % 7 == 0 and ctx.attempt == 1:
            raise ValueError

    count = 3 * concurrency
    async with stage.run(stage.app(handle, concurrency=concurrency, retry=QUICK_RETRY)) as t:
        await t.send_many(QUEUE, range(count))
        await t.advance(60)
        assert max(seen) == concurrency
        assert len(t.completed) == count


async def test_what_waits_to_be_tried_again_takes_no_slot(stage: Stage) -> None:
    async def handle(order: str, ctx: Context) -> None:
        if order == "waits" and ctx.attempt == 1:
            raise Retry(after=100)

    async with stage.run(stage.app(handle, concurrency=1)) as t:
        await t.send_many(QUEUE, ["waits", "a", "waits", "b"])
        await t.advance(50)
        assert len(t.completed) == 2
        await t.advance(60)
        assert len(t.completed) == 4


async def test_two_queues_share_the_concurrency_of_their_downstream(stage: Stage) -> None:
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def handle(order: int, ctx: Context) -> None:
        running[ctx.queue] += 1
        most[ctx.queue] = max(most[ctx.queue], running[ctx.queue])
        most["both"] = max(most["both"], running.total())
        await t.clock.sleep(1)
        running[ctx.queue] -= 1

    shared = ConsumerSettings(downstream="erp")
    app = Leveler(
        queues={QUEUE: stage.queue(), OTHER: stage.queue()},
        consumers={QUEUE: shared, OTHER: shared},
        downstreams={"erp": LimitSettings(concurrency=4)},
    )
    app.consumer(QUEUE)(handle)
    app.consumer(OTHER)(handle)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(12))
        await t.send_many(OTHER, range(12))
        await t.advance(30)
        assert most["both"] == 4
        assert min(most[QUEUE], most[OTHER]) >= 1
        assert len(t.completed) == 24
        assert (t.dead, t.lost) == ([], [])


@pytest.mark.parametrize("rate", [0.5, 10.0, 50.0])
async def test_a_rate_is_kept_within_one_percent(stage: Stage, rate: float) -> None:
    starts: list[float] = []

    async def handle(order: int) -> None:
        starts.append(t.clock.monotonic())

    seconds = 10 if rate > 1 else 200
    async with stage.run(stage.app(handle, rate=rate, concurrency=16)) as t:
        await t.send_many(QUEUE, range(int(rate * (seconds + 2)) + 20))
        await t.advance(2)
        began = len(starts)
        await t.advance(seconds)
        assert len(starts) - began == pytest.approx(rate * seconds, rel=0.01)
        first = starts[began]
        for since in range(5):  # in every second, too, and not only on the whole
            window = [at for at in starts if first + since <= at < first + since + 1]
            assert len(window) <= max(1, rate * 1.05 + 1)


async def test_a_rate_holds_for_two_queues_of_one_downstream_together(stage: Stage) -> None:
    starts: list[float] = []

    async def handle(order: int) -> None:
        starts.append(t.clock.monotonic())

    shared = ConsumerSettings(downstream="erp")
    app = Leveler(
        queues={QUEUE: stage.queue(), OTHER: stage.queue()},
        consumers={QUEUE: shared, OTHER: shared},
        downstreams={"erp": LimitSettings(concurrency=8, rate_per_second=20.0)},
    )
    app.consumer(QUEUE)(handle)
    app.consumer(OTHER)(handle)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(150))
        await t.send_many(OTHER, range(150))
        await t.advance(10)
        assert len(starts) == pytest.approx(200, rel=0.01)


async def test_a_throttled_run_pauses_its_downstream_and_no_other(stage: Stage) -> None:
    starts: dict[str, list[float]] = defaultdict(list)

    async def handle(order: int, ctx: Context) -> None:
        starts[ctx.queue].append(t.clock.monotonic())
        if ctx.queue == QUEUE and len(starts[QUEUE]) == 3:
            raise Throttled(after=8)
        await t.clock.sleep(1)

    consumers = {
        QUEUE: ConsumerSettings(downstream="erp"),
        "beside": ConsumerSettings(downstream="erp"),
        OTHER: ConsumerSettings(downstream="bank"),
    }
    app = Leveler(
        queues={name: stage.queue() for name in consumers},
        consumers=consumers,
        downstreams={"erp": LimitSettings(concurrency=2), "bank": LimitSettings(concurrency=1)},
    )
    for name in consumers:
        app.consumer(name)(handle)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(6))
        await t.advance(1.5)
        paused_at = starts[QUEUE][2]
        for name in ("beside", OTHER):
            await t.send_many(name, range(4))
        await t.advance(60)
        for name in (QUEUE, "beside"):
            assert [at for at in starts[name] if paused_at < at < paused_at + 8] == []
        assert len([at for at in starts[OTHER] if at < paused_at + 8]) == 4
        assert len(t.completed) == 14
        assert t.retried == []
