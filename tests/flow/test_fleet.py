"""A rate of the whole fleet: whole apps in virtual time, and real processes over real stores, killed and cut off."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Final

import pytest

from leveler import ConsumerSettings, Leveler, LimitSettings, Throttled
from leveler.consumer.limits.fleet import AGAIN_SECONDS, LATE_SECONDS
from leveler.errors import BrokerUnavailable, ConfigError
from tests.flow.conftest import QUEUE, Stage

PER_SECOND: Final = 40.0


def most_in(starts: list[float], seconds: float) -> int:
    starts = sorted(starts)
    return max((bisect_right(starts, start + seconds) - index for index, start in enumerate(starts)), default=0)


# Whole apps


def app_of(stage: Stage, started: Callable[[int], object], *, limits: LimitSettings) -> Leveler:
    async def handle(number: int) -> None:
        started(number)

    app = Leveler(
        queues={QUEUE: stage.queue()},
        consumers={QUEUE: ConsumerSettings(downstream="billing")},
        downstreams={"billing": limits},
    )
    app.consumer(QUEUE)(handle)
    return app


SHARED = LimitSettings(concurrency=8, rate_per_second=20.0, rate_scope="fleet")


async def test_two_workers_have_one_rate(stage: Stage) -> None:
    starts: dict[str, list[float]] = defaultdict(list)
    first = stage.run(app_of(stage, lambda _: starts["first"].append(first.clock.monotonic()), limits=SHARED))
    async with first:
        second_app = app_of(stage, lambda _: starts["second"].append(first.clock.monotonic()), limits=SHARED)
        async with stage.after(first, second_app):
            await first.send_many(QUEUE, range(400))
            await first.advance(10.0)
            together = sorted(starts["first"] + starts["second"])
            assert 195 <= len(together) <= 200 + 20 * LATE_SECONDS + 1
            assert most_in(together, 1.0) <= 20 * (1.0 + LATE_SECONDS) + 1
            assert min(len(starts["first"]), len(starts["second"])) > 80
            assert first.app.health().degraded.get(QUEUE, ()) == ()
            shown = (await first.app.figures()).downstreams["billing"]
            assert (shown["rate_per_second"], shown["rate_scope"]) == (20.0, "fleet")


async def test_without_its_store_a_worker_says_so_in_its_health_and_goes_on(stage: Stage) -> None:
    starts: list[float] = []
    t = stage.run(app_of(stage, lambda _: starts.append(t.clock.monotonic()), limits=SHARED))
    async with t:
        await t.send_many(QUEUE, range(300))
        await t.advance(1.0)
        with t.faults.failing("reserve", BrokerUnavailable("gone")):
            await t.advance(5.0)
            [line] = t.app.health().degraded[QUEUE][-1:]
            assert "is away: this one keeps to its share, 20/s" in line
            assert (await t.app.figures()).downstreams["billing"]["rate_scope"] == "local-share"
        await t.advance(3.0)
        assert not [line for line in t.app.health().degraded.get(QUEUE, ()) if "is away" in line]
        assert 0.9 * 180 <= len(starts) <= 180 + 20 * (LATE_SECONDS + AGAIN_SECONDS) + 1


async def test_a_consumer_may_have_a_rate_of_the_fleet_by_itself(stage: Stage) -> None:
    starts: list[float] = []

    async def handle(number: int) -> None:
        starts.append(t.clock.monotonic())

    limits = LimitSettings(rate_per_second=0.5, rate_scope="fleet")
    app = Leveler(queues={QUEUE: stage.queue()}, consumers={QUEUE: ConsumerSettings(limits=limits)})
    app.consumer(QUEUE)(handle)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(10))
        await t.advance(11.0)
        assert [later - earlier for earlier, later in pairwise(starts)] == pytest.approx(
            [2.0] * 5, abs=LATE_SECONDS + 1e-6
        )


async def test_an_idle_worker_asks_the_store_for_nothing(stage: Stage) -> None:
    async with stage.run(app_of(stage, lambda _: None, limits=SHARED)) as t:
        await t.advance(20.0)
        assert t.faults.sizes("reserve") == []
        await t.send(QUEUE, 1)
        await t.drain()
        assert len(t.completed) == 1


async def test_nothing_is_taken_from_the_fleet_while_the_downstream_pauses(stage: Stage) -> None:
    async def handle(number: int) -> None:
        raise Throttled(after=30)

    app = Leveler(
        queues={QUEUE: stage.queue()},
        consumers={QUEUE: ConsumerSettings(downstream="billing")},
        downstreams={"billing": SHARED},
    )
    app.consumer(QUEUE)(handle)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(20))
        await t.advance(1.0)
        asked = len(t.faults.sizes("reserve"))
        await t.advance(25.0)
        assert len(t.faults.sizes("reserve")) == asked


async def test_batches_are_paid_for() -> None:
    stage = Stage("plain")  # one that keeps order makes small batches
    handled: list[int] = []

    async def handle(numbers: list[int]) -> None:
        handled.extend(numbers)

    app = Leveler(
        queues={QUEUE: stage.queue()},
        consumers={QUEUE: ConsumerSettings(downstream="billing")},
        downstreams={"billing": SHARED},
    )
    app.consumer(QUEUE, batch_size=10)(handle)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(500))
        await t.advance(15.0)
        assert 0.9 * 300 <= len(handled) <= 300 + 10 + 20 * LATE_SECONDS


def test_a_broker_that_keeps_no_rates_needs_a_store_beside_it() -> None:
    app = Leveler("sqs://", downstreams={"billing": SHARED})
    with pytest.raises(ConfigError, match=r"downstreams\.billing\.rate\.scope.*broker 'default' cannot keep it"):
        app.settings()
