"""Batches: one handler run for many messages, and for each of them everything that a message alone is promised."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from leveler import (
    BatchContext,
    BatchFailed,
    BreakerPolicy,
    ConfigError,
    ConsumerSettings,
    Context,
    LeaseLost,
    Leveler,
    LimitSettings,
    Reject,
    Retry,
    Settings,
    Snooze,
    Throttled,
)
from leveler.events import Quarantined
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage
from tests.flow.process import in_broker, send_tried


def app(
    stage: Stage,
    handler: Callable[..., Any],
    *,
    size: int = 10,
    wait: float = 0.2,
    concurrency: int = 1,
    rate: str | None = None,
    leveler: dict[str, Any] | None = None,
    **queue: Any,
) -> Leveler:
    made = Leveler(queues={QUEUE: stage.queue(**queue)}, **(leveler or {}))
    made.add_middleware(without_the_first)
    made.consumer(QUEUE, batch_size=size, batch_wait=wait, concurrency=concurrency, rate=rate)(handler)
    return made


def brings_batches(stage: Stage) -> None:
    """One that brings messages one by one takes its time, and how many come together is luck."""
    stage.need(stage.can().max_batch > 1, "batches")


async def without_the_first(orders: Any, ctx: Context, call_next: Any) -> Any:
    """Those that `awake` sends are of no interest to any test."""
    return None if orders[0] == -1 else await call_next(orders, ctx)


async def awake(t: TestApp, queue: str = QUEUE, *, seconds: float = 1.0) -> None:
    """A worker starts slowly, one message and then twice as many each time, on some brokers a lease later."""
    for wait_seconds in (max(seconds, 40.0), *[seconds] * 7):
        await t.send(queue, -1)
        await t.advance(wait_seconds)
    t.events.clear()


# ---- by size and time


async def test_a_batch_is_as_large_as_it_may_be_and_no_larger(stage: Stage) -> None:
    brings_batches(stage)
    batches: list[list[int]] = []

    async def handle(orders: list[int]) -> None:
        batches.append(orders)
        await t.clock.sleep(1)

    async with stage.run(app(stage, handle)) as t:
        await awake(t)
        await t.send_many(QUEUE, range(34))
        await t.advance(10)
        assert [len(batch) for batch in batches] == [10, 10, 10, 4]
        assert sorted(order for batch in batches for order in batch) == list(range(34))
        assert len(t.completed) == 34


async def test_what_comes_again_comes_in_batches_too(stage: Stage) -> None:
    brings_batches(stage)
    batches: list[int] = []

    async def handle(orders: list[int], ctx: BatchContext) -> None:
        batches.append(len(orders))
        if ctx.items[0].attempt == 1:
            raise Retry(after=50)

    async with stage.run(app(stage, handle)) as t:
        await awake(t)
        await t.send_many(QUEUE, range(40))
        await t.advance(100)
        assert batches[:4] == [10] * 4  # the first time
        assert len(batches) <= 14  # and again, of which the first ones come a few at a time


async def test_what_has_come_waits_for_company_and_no_longer_than_it_is_told_to(stage: Stage) -> None:
    batches: list[list[str]] = []

    async def handle(orders: list[str]) -> None:
        batches.append(orders)

    async with stage.run(app(stage, handle, wait=5.0)) as t:
        await t.send(QUEUE, "first")
        await t.advance(40)
        batches.clear()
        await t.send(QUEUE, "a")
        await t.advance(3)
        await t.send(QUEUE, "b")
        await t.advance(1.9)
        assert batches == []
        await t.advance(0.2)
        assert batches == [["a", "b"]]


async def test_a_whole_batch_does_not_wait(stage: Stage) -> None:
    brings_batches(stage)

    async def handle(orders: list[int]) -> None: ...

    async with stage.run(app(stage, handle, wait=5.0)) as t:
        await awake(t)
        await t.send_many(QUEUE, range(10))
        await t.advance(0.1)
        assert len(t.completed) == 10


# ---- what becomes of each


async def test_each_message_of_a_batch_has_an_outcome_of_its_own(stage: Stage) -> None:
    outcomes: dict[str, Exception] = {
        "retry": Retry(after=7),
        "error": ValueError("no"),
        "reject": Reject("never"),
        "snooze": Snooze(9),
    }
    seen: Counter[str] = Counter()

    async def handle(orders: list[str]) -> None:
        seen.update(orders)
        raise BatchFailed({i: outcomes[o] for i, o in enumerate(orders) if o in outcomes and seen[o] == 1})

    async with stage.run(app(stage, handle)) as t:
        await t.send_many(QUEUE, ["fine", *outcomes, "good"])
        await t.drain()
        assert sorted(event.message.body for event in t.completed) == [b"fine", b"good"]
        assert {event.message.body for event in t.retried} == {b"retry", b"error"}
        assert [(event.message.body, event.death.reason) for event in t.dead] == [(b"reject", "rejected")]
        await t.advance(60)
        assert {event.message.body for event in t.completed} == {b"fine", b"good", b"retry", b"error", b"snooze"}
        assert seen == {"fine": 1, "good": 1, "retry": 2, "error": 2, "reject": 1, "snooze": 2}


async def test_what_a_batch_handler_raises_is_said_of_every_message(stage: Stage) -> None:
    seen: Counter[int] = Counter()

    async def handle(orders: list[int]) -> None:
        seen.update(orders)
        raise ValueError("all of it")

    async with stage.run(app(stage, handle, attempts=3)) as t:
        await t.send_many(QUEUE, range(5))
        for _ in range(10):
            await t.advance(60)
        assert seen == dict.fromkeys(range(5), 3)
        assert [dead.death.reason for dead in t.dead] == ["exhausted"] * 5
        assert t.completed == []


@pytest.mark.parametrize("raised", [True, False])
async def test_an_outcome_may_be_raised_or_returned(stage: Stage, raised: bool) -> None:
    async def handle(orders: list[str]) -> BatchFailed:
        failed = BatchFailed({orders.index("bad"): Reject("never")})
        if raised:
            raise failed
        return failed

    async with stage.run(app(stage, handle)) as t:
        await awaken(t)
        await t.send_many(QUEUE, ["good", "bad"])
        await t.advance(1)
        assert [dead.message.body for dead in t.dead] == [b"bad"]
        assert b"good" in {event.message.body for event in t.completed}


async def awaken(t: TestApp) -> None:
    await t.send(QUEUE, "bad")
    await t.advance(40)
    t.events.clear()


@pytest.mark.parametrize("outcomes", [{7: ValueError()}, {-1: ValueError()}, {0: "no exception"}])
async def test_a_batch_that_is_told_wrongly_is_tried_again(stage: Stage, outcomes: dict[int, Exception]) -> None:
    runs: list[int] = []

    async def handle(orders: list[int]) -> None:
        runs.append(len(orders))
        if len(runs) == 1:
            raise BatchFailed(outcomes)

    async with stage.run(app(stage, handle)) as t:
        await t.send(QUEUE, 1)
        await t.drain()
        assert len(t.retried) == 1
        await t.advance(60)
        assert (runs, len(t.completed)) == ([1, 1], 1)


async def test_what_cannot_be_decoded_dies_alone_and_the_others_run(stage: Stage) -> None:
    batches: list[list[int]] = []

    async def handle(orders: list[int]) -> None:
        batches.append(orders)

    async with stage.run(app(stage, handle)) as t:
        await awake(t)
        await t.send_many(QUEUE, [1, "no number", 2, "nor this", 3])
        await t.advance(1)
        assert batches == [[1, 2, 3]]
        assert [dead.death.reason for dead in t.dead] == ["undecodable"] * 2
        await t.send(QUEUE, "only this")
        await t.advance(1)
        await t.send(QUEUE, 4)  # the place that it had waited for is free again
        await t.advance(1)
        assert batches[1:] == [[4]]


# ---- order, limits


async def test_a_batch_holds_no_more_than_one_of_a_key_and_each_key_keeps_its_order(stage: Stage) -> None:
    stage.need(stage.can().ordering, "order")
    done: dict[str, list[int]] = {key: [] for key in "abc"}

    async def handle(orders: list[int], ctx: BatchContext) -> None:
        keys = [str(item.message.key) for item in ctx.items]
        assert len(set(keys)) == len(keys)
        await t.clock.sleep(0.1)
        failed = {i: ValueError() for i, o in enumerate(orders) if o == 3 and ctx.items[i].attempt == 1}
        for index, (key, order) in enumerate(zip(keys, orders, strict=True)):
            if index not in failed:
                done[key].append(order)
        raise BatchFailed(failed)

    async with stage.run(app(stage, handle, concurrency=3, ordered=True)) as t:
        for number in range(8):
            for key in done:
                await t.send(QUEUE, number, key=key)
        for _ in range(20):
            await t.advance(20)
        assert done == {key: list(range(8)) for key in done}
        assert t.dead == []


async def test_the_concurrency_counts_runs(stage: Stage) -> None:
    brings_batches(stage)
    running, most = 0, 0
    messages: list[int] = []

    async def handle(orders: list[int]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await t.clock.sleep(1)
        messages.append(t.app.health().consumers[QUEUE].running)
        running -= 1

    async with stage.run(app(stage, handle, concurrency=2)) as t:
        await awake(t)
        before = (await t.app.figures()).queues[QUEUE].consumer
        await t.send_many(QUEUE, range(60))
        await t.advance(5)
        assert most == 2
        assert max(messages) == 20
        assert len(t.completed) == 60
        consumer = (await t.app.figures()).queues[QUEUE].consumer
        assert before is not None
        assert consumer is not None
        assert consumer.limits is not None
        assert (consumer.running, consumer.limits["running"]) == (0, 0)
        assert consumer.counts.started - before.counts.started == 60
        assert consumer.counts.run_seconds - before.counts.run_seconds == pytest.approx(len(messages))


async def test_the_rate_counts_messages(stage: Stage) -> None:
    brings_batches(stage)

    async def handle(orders: list[int]) -> None: ...

    async with stage.run(app(stage, handle, concurrency=4, rate="20/s")) as t:
        await awake(t)
        await t.send_many(QUEUE, range(300))
        await t.advance(10)
        assert 190 <= len(t.completed) <= 220  # a batch starts whole, and the next one waits until it is paid for
        assert max(Counter(event.message.id for event in t.started).values()) == 1


async def test_no_more_is_held_than_can_start(stage: Stage) -> None:
    async def handle(orders: list[int]) -> None:
        await t.clock.sleep(19)

    async with stage.run(app(stage, handle, concurrency=2)) as t:
        await awake(t)
        await t.send_many(QUEUE, range(100))
        await t.advance(10)
        assert in_broker(t)[1] <= 22  # and what may start within the next moment


async def test_a_refusal_of_one_pauses_the_downstream_and_costs_no_attempt(stage: Stage) -> None:
    brings_batches(stage)
    stage.need(stage.can().uncounted != "none", "uncounted return")
    at: list[float] = []

    async def handle(orders: list[int], ctx: BatchContext) -> None:
        at.append(t.clock.monotonic())
        assert [item.attempt for item in ctx.items] == [1] * len(orders)
        if len(at) == 1:
            raise BatchFailed({0: Throttled(after=30)})

    async with stage.run(app(stage, handle)) as t:
        await t.send_many(QUEUE, range(2))
        await t.advance(1)
        await t.send(QUEUE, 3)
        await t.advance(28)
        assert len(at) == 1
        await t.advance(10)
        assert len(t.completed) == 3
        assert len(t.returned) == 1


async def test_every_downstream_that_a_batch_names_is_paused(stage: Stage) -> None:
    brings_batches(stage)
    stage.need(stage.can().uncounted != "none", "uncounted return")
    names = ("mail", "bank")
    downstreams = {name: LimitSettings(concurrency=4) for name in names}
    made = Leveler(queues={QUEUE: stage.queue()}, downstreams=downstreams)

    @made.consumer(QUEUE, batch_size=10, downstream="bank")
    async def handle(orders: list[int]) -> None:
        if len(orders) > 1:
            raise BatchFailed({i: Throttled(after=30, downstream=name) for i, name in enumerate(names)})

    async with stage.run(made) as t:
        await awake(t)
        await t.send_many(QUEUE, range(2))
        await t.advance(1)
        paused = (await made.figures()).downstreams
        assert {name: float(paused[name]["paused_seconds"]) > 28 for name in names} == dict.fromkeys(names, True)


async def test_one_message_looks_whether_the_downstream_is_back(stage: Stage) -> None:
    brings_batches(stage)
    stage.need(stage.can().uncounted != "none", "uncounted return")
    sizes: list[int] = []
    is_down = True
    bank = LimitSettings(concurrency=2, breaker=BreakerPolicy(min_runs=3))
    made = Leveler(queues={QUEUE: stage.queue(attempts=9)}, downstreams={"bank": bank})

    @made.consumer(QUEUE, batch_size=10, downstream="bank")
    async def handle(orders: list[int]) -> None:
        sizes.append(len(orders))
        if is_down:
            raise ConnectionError("nobody there")

    async with stage.run(made) as t:
        await t.send_many(QUEUE, range(100))
        await t.advance(20)
        assert (await made.figures()).downstreams["bank"]["breaker"] == "open"
        sizes.clear()
        await t.advance(10)
        assert set(sizes) == {1}
        is_down = False
        await t.advance(600)
        assert max(sizes) == 10
        assert len(t.completed) == 100


async def test_the_look_whether_it_is_back_waits_for_no_company(stage: Stage) -> None:
    brings_batches(stage)
    sizes: list[int] = []
    bank = LimitSettings(concurrency=2, breaker=BreakerPolicy(min_runs=3))
    made = Leveler(queues={QUEUE: stage.queue(attempts=9)}, downstreams={"bank": bank})

    @made.consumer(QUEUE, batch_size=10, batch_wait=60, downstream="bank")
    async def handle(orders: list[int]) -> None:
        sizes.append(len(orders))
        raise ConnectionError("nobody there")

    async with stage.run(made) as t:
        await t.send_many(QUEUE, range(100))
        await t.advance(120)
        assert (await made.figures()).downstreams["bank"]["breaker"] != "closed"
        sizes.clear()
        await t.advance(30)
        assert len(sizes) > 10
        assert set(sizes) == {1}


async def test_while_one_message_looks_nothing_else_starts(stage: Stage) -> None:
    brings_batches(stage)
    running, most, sizes = 0, 0, list[int]()
    is_down, seconds = True, 0.0
    bank = LimitSettings(concurrency=4, breaker=BreakerPolicy(min_runs=3))
    made = Leveler(queues={QUEUE: stage.queue(attempts=9)}, downstreams={"bank": bank})

    @made.consumer(QUEUE, batch_size=10, downstream="bank")
    async def handle(orders: list[int]) -> None:
        nonlocal running, most
        sizes.append(len(orders))
        running += len(orders)
        most = max(most, running)
        try:
            await t.clock.sleep(seconds)
            if is_down:
                raise ConnectionError("nobody there")
        finally:
            running -= len(orders)

    async with stage.run(made) as t:
        await t.send_many(QUEUE, range(100))
        await t.advance(20)
        assert (await made.figures()).downstreams["bank"]["breaker"] != "closed"
        seconds, most = 5.0, 0
        sizes.clear()
        while (await made.figures()).downstreams["bank"]["breaker"] != "half-open":
            await t.advance(0.5)
        await t.advance(30)
        assert (most, set(sizes)) == (1, {1})
        is_down = False
        await t.advance(600)
        assert (most, max(sizes)) == (40, 10)
        assert len(t.completed) == 100


# ---- leases, timeout


async def test_the_leases_of_a_whole_batch_are_kept_while_it_runs(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")

    async def handle(orders: list[int]) -> None:
        await t.clock.sleep(150)

    async with stage.run(app(stage, handle, timeout_seconds=200.0)) as t:
        await t.send_many(QUEUE, range(10))
        await t.advance(1000)
        assert [event.attempt for event in t.completed] == [1] * 10
        assert len({event.run_seconds for event in t.completed}) == 1
        assert t.lost == []


async def test_a_run_past_its_timeout_is_cut_and_every_message_of_it_has_failed(stage: Stage) -> None:
    brings_batches(stage)
    cut: list[bool] = []

    async def handle(orders: list[int], ctx: BatchContext) -> None:
        try:
            await t.clock.sleep(1000)
        except asyncio.CancelledError:
            cut.append(ctx.cancelled and not ctx.lease_lost)
            raise

    async with stage.run(app(stage, handle, attempts=1)) as t:
        await awake(t)
        await t.send_many(QUEUE, range(10))
        await t.advance(25)
        assert cut == [True]
        assert [(dead.death.reason, dead.death.error_type) for dead in t.dead] == [("exhausted", "TimeoutError")] * 10
        await t.send(QUEUE, 1)  # the worker has survived it
        await t.advance(5)
        assert len(t.started) == 11


async def test_a_lost_lease_costs_the_run_of_the_others_nothing(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")
    seen: list[list[bool]] = []

    async def handle(orders: list[int], ctx: BatchContext) -> None:
        await t.clock.sleep(15)
        seen.append([item.lease_lost for item in ctx.items])
        assert not ctx.cancelled

    async with stage.run(app(stage, handle)) as t:
        await awake(t)
        await t.send_many(QUEUE, range(3))
        t.faults.fail_items("extend", {0: LeaseLost("it went to somebody else")})
        await t.advance(15.5)
        assert Counter(seen[0]) == {True: 1, False: 2}
        assert len(t.lost) == 1
        assert len(t.completed) == 2


async def test_when_all_leases_are_lost_the_run_is_cut(stage: Stage) -> None:
    brings_batches(stage)
    cut: list[bool] = []

    async def handle(orders: list[int], ctx: BatchContext) -> None:
        try:
            await t.clock.sleep(18)
        except asyncio.CancelledError:
            cut.append(ctx.lease_lost)
            raise

    async with stage.run(app(stage, handle, concurrency=2)) as t:
        await awake(t)
        await t.send_many(QUEUE, range(10))
        await t.advance(1)
        await t.adapter.lose_receivers()
        await t.advance(1)
        assert cut == [True]
        assert len(t.lost) == 10


async def test_what_is_lost_while_it_waits_for_the_limits_is_not_started(stage: Stage) -> None:
    brings_batches(stage)
    stage.need(stage.can().extend, "extend")
    sizes: list[int] = []
    shared = LimitSettings(concurrency=4, rate_per_second=0.5)
    made = Leveler(queues={QUEUE: stage.queue(), "refunds": stage.queue()}, downstreams={"bank": shared})

    @made.consumer(QUEUE, batch_size=10, downstream="bank")
    @made.consumer("refunds", batch_size=10, downstream="bank")
    async def handle(orders: list[int]) -> None:
        sizes.append(len(orders))

    async with stage.run(made) as t:
        await awake(t, seconds=3)
        await awake(t, "refunds", seconds=3)
        sizes.clear()
        await asyncio.gather(t.send_many(QUEUE, range(10)), t.send_many("refunds", range(10)))
        await t.advance(5)
        assert sizes == [10]  # the other queue's wait for their turn, as long as these are not paid for
        t.faults.fail_items("extend", {0: LeaseLost("it went to somebody else")})
        await t.advance(20)
        lost = {event.message.id for event in t.lost}
        assert lost
        assert len(sizes) == 2
        assert not lost & {event.message.id for event in t.started}


# ---- quarantine, stop


async def test_a_suspect_starts_alone_in_a_batch_of_one(stage: Stage) -> None:
    batches: list[list[str]] = []

    async def handle(orders: list[str]) -> None:
        batches.append(orders)
        await t.clock.sleep(1)

    async with stage.run(app(stage, handle, attempts=3, concurrency=4)) as t:
        await t.send_many(QUEUE, ["a"] * 12)
        suspect = await send_tried(t, "suspect", attempts=3)
        await t.send_many(QUEUE, ["b"] * 12)
        await t.advance(200)
        assert ["suspect"] in batches
        assert sum("suspect" in batch for batch in batches) == 1
        assert [event.message.id for event in t.events if isinstance(event, Quarantined)] == [suspect.id]
        assert len(t.completed) == 25
        assert (t.dead, t.lost) == ([], [])


async def test_a_stop_lets_the_batch_that_runs_end_and_gives_back_what_was_gathered(stage: Stage) -> None:
    brings_batches(stage)

    async def handle(orders: list[int]) -> None:
        await t.clock.sleep(5)

    async with stage.run(app(stage, handle, wait=60.0)) as t:
        await awake(t, seconds=61)
        await t.send_many(QUEUE, range(10))
        await t.advance(1)
        await t.send_many(QUEUE, range(4))
        await t.advance(1)
        assert await t.stop() == 0
        assert len(t.completed) == 10
        assert in_broker(t)[:2] == (4, 0)


async def test_a_stop_cuts_a_batch_that_does_not_end(stage: Stage) -> None:
    brings_batches(stage)

    async def handle(orders: list[int]) -> None:
        await t.clock.sleep(19)

    async with stage.run(app(stage, handle)) as t:
        await awake(t)
        await t.send_many(QUEUE, range(10))
        await t.advance(1)
        assert await t.stop(2.0) == 0
        assert len(t.retried) == 10
        assert in_broker(t)[0] == 10


# ---- handlers


async def test_def_handlers_middleware_and_the_context_see_the_batch(stage: Stage) -> None:
    wrapped: list[tuple[list[int], int]] = []
    threads: set[str] = set()

    async def middleware(value: Any, ctx: Context, call_next: Any) -> Any:
        assert isinstance(ctx, BatchContext)
        wrapped.append((value, len(ctx.items)))
        return await call_next(value, ctx)

    def handle(orders: list[int], ctx: BatchContext) -> None:
        threads.add(threading.current_thread().name)
        assert ctx.queue == QUEUE
        assert [item.message.body for item in ctx.items] == [str(order).encode() for order in orders]
        with pytest.raises(AttributeError, match=r"ctx\.items"):
            _ = ctx.message
        with pytest.raises(AttributeError, match=r"ctx\.items"):
            _ = ctx.attempt

    async with stage.run(app(stage, handle, leveler={"middleware": [middleware]})) as t:
        await t.send_many(QUEUE, range(3))
        await t.drain()
        assert len(t.completed) == 3
        assert threads
        assert threading.current_thread().name not in threads
        assert sum(count for _, count in wrapped) == 3


def test_a_batch_handler_takes_a_list() -> None:
    def wrong(order: int) -> None: ...
    def context(orders: list[int], ctx: Context) -> None: ...
    def alone(orders: list[int]) -> None: ...

    with pytest.raises(ConfigError, match=r"first parameter must be a list, such as list\[Order\]"):
        Leveler().consumer("orders", batch_size=3)(wrong)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match=r"must be a leveler\.BatchContext"):
        Leveler().consumer("orders", batch_size=3)(context)
    made = Leveler()
    made.consumer("orders", batch_size=3)(alone)
    with pytest.raises(ConfigError, match="has its queue to itself"):
        made.consumer("orders", type="Refund")(alone)
    with pytest.raises(ConfigError, match="batch_wait is for a handler that takes batches"):
        Leveler().consumer("orders", batch_wait=1)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Leveler().consumer("orders", batch_size=0)


async def test_settings_say_how_large_batches_are_and_how_long_they_wait() -> None:
    sizes: list[int] = []
    settings = ConsumerSettings(batch_size=3, batch_wait_seconds=9.0, limits=LimitSettings(concurrency=1))
    made = Leveler(settings=Settings(consumers={QUEUE: settings}))

    @made.consumer(QUEUE, batch_size=100, batch_wait="1s")
    async def handle(orders: list[int]) -> None:
        sizes.append(len(orders))

    async with TestApp(made) as t:
        await awake(t, seconds=10)
        sizes.clear()
        await t.send_many(QUEUE, range(7))
        await t.advance(8.9)
        assert sizes == [3, 3]
        await t.advance(0.2)
        assert sizes == [3, 3, 1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ConsumerSettings(batch_size=3), "batch_size is 3"),
        (ConsumerSettings(batch_wait_seconds=0.5), "batch_wait is 0.5"),
    ],
)
async def test_settings_cannot_make_batches_for_a_handler_that_takes_one_message(
    settings: ConsumerSettings, said: str
) -> None:
    made = Leveler(consumers={QUEUE: settings})

    @made.consumer(QUEUE)
    async def handle(order: int) -> None: ...

    with pytest.raises(ConfigError, match=rf"consumers\.orders\.{said}.*one message at a time"):
        async with TestApp(made):
            pass
