"""A downstream that is gone: nothing is received, nothing held, nothing lost, and it is looked at now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from leveler import BreakerPolicy, ConsumerSettings, Context, Leveler, LimitSettings, RetryPolicy, Throttled
from leveler.events import StandingBy
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage

OUTAGE_SECONDS = 20.0


class Downstream:
    """It takes a tenth of a second, or fails at once."""

    def __init__(self) -> None:
        self.is_gone = False
        self.refuses = False
        self.calls: list[float] = []
        self.now = 0

    async def call(self, t: TestApp) -> None:
        self.calls.append(t.clock.monotonic())
        if self.refuses:
            raise Throttled
        if self.is_gone:
            raise ConnectionError("nobody is there")
        self.now += 1
        await t.clock.sleep(0.1)
        self.now -= 1


def shared(stage: Stage, queues: tuple[str, ...], handle: Callable[..., object], **queue: Any) -> Leveler:
    """An app whose queues share one downstream with a breaker."""
    app = Leveler(
        queues={name: stage.queue(**queue) for name in queues},
        consumers={name: ConsumerSettings(downstream="billing") for name in queues},
        downstreams={"billing": LimitSettings(concurrency=16, breaker=BreakerPolicy())},
    )
    for name in queues:
        app.consumer(name)(handle)
    return app


@pytest.mark.parametrize("kind", ["is_gone", "refuses"])
async def test_an_outage_of_20_seconds_loses_nothing_and_kills_nothing(stage: Stage, kind: str) -> None:
    bank, done = Downstream(), Counter[int]()

    async def handle(number: int) -> None:
        await bank.call(t)
        done[number] += 1

    async with stage.run(shared(stage, (QUEUE,), handle)) as t:
        await t.send_many(QUEUE, range(1000))
        await t.advance(2)
        setattr(bank, kind, True)
        await t.advance(1)
        seen = len(bank.calls)
        counts = stage.can().uncounted == "none"
        for _ in range(int(OUTAGE_SECONDS) - 1):
            await t.advance(1)
            assert t.app.health().consumers[QUEUE].held <= (48 if counts else 1)  # what is parked there is held
        probes = len(bank.calls) - seen
        assert 5 <= probes <= OUTAGE_SECONDS - 1
        setattr(bank, kind, False)
        before = len(done)
        await t.advance(3)
        assert len(done) - before >= 100  # it is back: one probe, and then sixteen at a time
        for _ in range(30):
            await t.advance(20)
        assert sorted(done) == list(range(1000))
        assert (t.dead, t.lost) == ([], [])
        assert max(event.attempt for event in t.started) <= 4


async def test_what_the_broker_shows_is_that_nothing_is_leased(stage: Stage) -> None:
    """But where giving back counts: there it is kept."""
    if stage.can().uncounted == "none":
        pytest.skip("what is not started is kept here")
    bank = Downstream()

    async def handle(number: int) -> None:
        await bank.call(t)

    async with stage.run(shared(stage, (QUEUE,), handle)) as t:
        await t.send_many(QUEUE, range(500))
        await t.advance(1)
        bank.is_gone = True
        await t.advance(2)
        leased = Counter[int | None]()
        for _ in range(100):
            await t.advance(0.1)
            leased[(await t.depth(QUEUE)).leased] += 1
        assert leased[0] + leased[1] + leased[None] == 100
        assert leased[1] <= 20


async def test_all_who_share_the_downstream_stand_by_and_all_go_on(stage: Stage) -> None:
    bank, done = Downstream(), Counter[str]()
    queues = ("orders", "refunds")

    async def handle(number: int, ctx: Context) -> None:
        await bank.call(t)
        done[ctx.queue] += 1

    async with stage.run(shared(stage, queues, handle)) as t:
        for name in queues:
            await t.send_many(name, range(300))
        await t.advance(0.5)
        bank.is_gone = True
        await t.advance(1)
        seen = len(bank.calls)
        await t.advance(10)
        assert 3 <= len(bank.calls) - seen <= 10  # of both together
        standing = {event.queue for event in t.events if isinstance(event, StandingBy)}
        assert standing == set(queues)
        bank.is_gone = False
        for _ in range(20):
            await t.advance(20)
        assert done == {"orders": 300, "refunds": 300}
        assert (t.dead, t.lost) == ([], [])


async def test_the_last_attempt_is_not_spent_on_a_downstream_that_is_down(stage: Stage) -> None:
    """Two attempts, and an outage in which the same few messages are tried again and again."""
    bank, done = Downstream(), Counter[int]()

    async def handle(number: int) -> None:
        await bank.call(t)
        done[number] += 1

    retry = RetryPolicy(max_attempts=2, initial_seconds=0.1, cap_seconds=5.0)
    async with stage.run(shared(stage, (QUEUE,), handle, retry=retry)) as t:
        await t.send_many(QUEUE, range(60))
        await t.advance(0.15)
        bank.is_gone = True
        await t.advance(120)
        bank.is_gone = False
        for _ in range(10):
            await t.advance(20)
        assert [event.message.id for event in t.dead] == []
        assert sorted(done) == list(range(60))


async def test_what_is_at_fault_itself_is_dead_lettered_when_the_downstream_is_back(stage: Stage) -> None:
    bank, done = Downstream(), Counter[int]()

    async def handle(number: int) -> None:
        if number < 5:
            raise ValueError("this one never works")
        await bank.call(t)
        done[number] += 1

    retry = RetryPolicy(max_attempts=3, initial_seconds=0.5, cap_seconds=10.0)
    async with stage.run(shared(stage, (QUEUE,), handle, retry=retry)) as t:
        bank.is_gone = True
        await t.send_many(QUEUE, range(100))
        await t.advance(30)
        bank.is_gone = False
        for _ in range(20):
            await t.advance(20)
        assert sorted(done) == list(range(5, 100))
        assert [event.death.reason for event in t.dead] == ["exhausted"] * 5


async def test_a_stop_during_an_outage_gives_everything_back(stage: Stage) -> None:
    bank = Downstream()

    async def handle(number: int) -> None:
        await bank.call(t)

    async with stage.run(shared(stage, (QUEUE,), handle)) as t:
        await t.send_many(QUEUE, range(200))
        bank.is_gone = True
        await t.advance(5)
        assert await t.stop() == 0


async def test_a_downstream_that_another_queue_uses_is_paused_by_its_name(stage: Stage) -> None:
    starts: list[str] = []

    async def order(number: int) -> None:
        starts.append("order")
        if len(starts) == 1:
            raise Throttled(after=15, downstream="mail")

    async def letter(number: int) -> None:
        starts.append("letter")

    app = Leveler(
        queues={"orders": stage.queue(), "letters": stage.queue()},
        consumers={"orders": ConsumerSettings(downstream="billing"), "letters": ConsumerSettings(downstream="mail")},
        downstreams={"billing": LimitSettings(concurrency=1), "mail": LimitSettings(concurrency=1)},
    )
    app.consumer("orders")(order)
    app.consumer("letters")(letter)
    async with stage.run(app) as t:
        await t.send("orders", 1)
        await t.advance(1)
        await t.send("orders", 2)
        await t.send("letters", 1)
        await t.advance(13)
        assert starts == ["order", "order"]  # billing was not meant
        await t.advance(2)
        assert starts == ["order", "order", "letter", "order"] or starts == ["order", "order", "order", "letter"]
