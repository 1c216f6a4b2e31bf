"""Adaptive concurrency: it finds the knee, follows it, keeps its bounds, and learns nothing where nothing is shown.

Whether it does so well is for the benchmark to say; here is what it must never get wrong.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveler import Adaptive, Leveler, Throttled
from leveler.consumer.limits import AdaptiveConcurrency, Breaker, BreakerPolicy, Phase, State, Verdict, adaptive
from leveler.consumer.limits.knee import Knee
from leveler.consumer.limits.round import Plan, Round
from leveler.testing import TestApp

NAMES = ["knee", "gradient", "aimd"]


@dataclass
class Place:
    """A downstream that serves `knee` calls at once in a tenth of a second each, and refuses from twice that on."""

    knee: int
    now: float = 0.0
    inside: int = 0
    refused: int = 0
    #: (when it answers, when the call began, whether it served it).
    answers: list[tuple[float, float, bool]] = field(default_factory=list)
    free: list[float] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def call(self) -> None:
        if self.inside >= 2 * self.knee:
            self.refused += 1
            heapq.heappush(self.answers, (self.now + 0.02, self.now, False))
            return
        self.inside += 1
        self.free = sorted(self.free)[-self.knee :] if self.free else []
        while len(self.free) < self.knee:
            self.free.append(self.now)
        heapq.heapify(self.free)
        end = max(self.now, heapq.heappop(self.free)) + 0.1 * self.rng.gammavariate(10, 0.1)
        heapq.heappush(self.free, end)
        heapq.heappush(self.answers, (end, self.now, True))

    def work(self, limit: AdaptiveConcurrency, seconds: float, most: float = float("inf")) -> None:
        """Call it as often as the limit allows, and never with more than `most` at once."""
        until = self.now + seconds
        while self.now < until and (most or self.answers):
            while limit.wait(self.now) == 0 and limit.running < most:
                limit.start(self.now, 1)
                self.call()
            self.now, began, served = heapq.heappop(self.answers)
            self.inside -= served
            limit.finish(self.now, 1, self.now - began, Verdict.SUCCESS if served else Verdict.OVERLOAD)


def limit_of(name: str = "knee", least: int = 1, most: int = 200) -> AdaptiveConcurrency:
    return adaptive(Adaptive(min=least, max=most, algorithm=name), 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("knee", [10, 40])
def test_it_starts_small_and_uses_all_that_the_downstream_has(name: str, knee: int) -> None:
    limit, place = limit_of(name), Place(knee)
    assert limit.limit == 4
    place.work(limit, 30.0)
    assert 0.9 * knee <= limit.limit <= 2.5 * knee
    assert limit.phase is Phase.DOWNSTREAM_LIMITED


@pytest.mark.parametrize("knee", [3, 10, 40])
def test_the_knee_is_found_within_a_few_calls(knee: int) -> None:
    limit, place = limit_of(), Place(knee)
    place.work(limit, 10.0)
    assert knee <= limit.limit <= 1.5 * knee + 1
    assert limit.base_seconds == pytest.approx(0.1, rel=0.15)
    refused = place.refused
    place.work(limit, 10.0)
    assert place.refused <= refused + 2


def test_it_follows_a_knee_that_moves_within_two_seconds() -> None:
    limit, place = limit_of(), Place(40)
    place.work(limit, 10.0)
    place.knee = 20
    place.work(limit, 2.0)
    assert limit.limit <= 30
    place.knee = 40
    place.work(limit, 2.0)
    assert limit.limit >= 36


@pytest.mark.parametrize("name", NAMES)
def test_with_fewer_messages_than_the_limit_allows_it_stays_where_it_is(name: str) -> None:
    limit, place = limit_of(name), Place(40)
    place.work(limit, 10.0)
    before = limit.limit
    place.work(limit, 60.0, most=5)
    assert limit.phase is Phase.APP_LIMITED
    assert limit.limit == pytest.approx(before, abs=1)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)  # a busy machine is no mistake
@given(
    story=st.lists(
        st.tuples(st.integers(1, 30), st.floats(0, 5), st.sampled_from(list(Verdict)), st.floats(0, 2)), max_size=80
    ),
    least=st.integers(1, 9),
)
def test_whatever_happens_it_keeps_its_bounds_and_its_count(
    name: str, story: list[tuple[int, float, Verdict, float]], least: int
) -> None:
    limit, now, mine = limit_of(name, least, least + 5), 0.0, list[int]()
    for most, pause, verdict, latency_seconds in story:
        assert least <= limit.limit <= least + 5
        now += pause
        if limit.wait(now) == 0:
            mine.append(limit.series(now, most))
            limit.start(now, mine[-1])
        if mine:
            limit.finish(now, mine.pop(0), latency_seconds, verdict)
        assert limit.running == sum(mine)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("latency_seconds", [0.0, 1e-6])
def test_handlers_that_never_wait_do_no_harm(name: str, latency_seconds: float) -> None:
    limit = limit_of(name)
    for moment in range(2000):
        now = moment * 256 * latency_seconds
        runs = limit.series(now, 256)
        limit.start(now, runs)
        limit.finish(now + runs * latency_seconds, runs, latency_seconds, Verdict.SUCCESS)
    assert limit.phase is Phase.APP_LIMITED
    assert 1 <= limit.limit <= 8


def test_a_dip_that_is_due_before_any_full_round_finds_its_way() -> None:
    """The ramp has ended with a refusal, and then hardly anything came for a while."""
    knee = Knee()
    knee.refused(0.5, 8.0, 7, Round(0.0), first=True)
    knee.decide(1.0, 7.0, Round(0.5, runs=20, full_runs=0, inside=20, latency_seconds=2.0, squares=0.2))
    due_at = knee.plan.due_at
    limit = knee.decide(due_at, 7.0, Round(1.0, runs=2, full_runs=2, inside=14, latency_seconds=0.2, squares=0.02))
    limit = knee.decide(due_at + 1, limit, Round(due_at, 20, 20, inside=100, latency_seconds=2.0, squares=0.2))
    assert 1 <= limit <= 8


def seen(runs: int, latency_seconds: float, limit: float) -> Round:
    """So many runs of that latency, with every place taken."""
    total = runs * latency_seconds
    return Round(0.0, 0, runs, runs, int(runs * limit), total, 1.01 * runs * latency_seconds**2, 0, total)


def test_a_ramp_that_meets_a_higher_latency_looks_once_more() -> None:
    for again, ends in ((0.1, False), (0.16, True)):
        knee, limit = Knee(), 4.0
        for now in (0.1, 0.2):
            limit = knee.decide(now, limit, seen(24, 0.1, limit))
        assert limit == 16
        limit = knee.decide(0.3, limit, seen(24, 0.16, limit))
        assert limit == 16
        limit = knee.decide(0.4, limit, seen(24, again, limit))
        assert (limit < 16) is ends
        assert limit == 32 or ends


def test_a_ramp_that_meets_a_queue_takes_no_latency_of_it_for_the_base() -> None:
    knee, limit = Knee(), 4.0
    for now, latency_seconds in ((0.1, 0.1), (0.2, 0.12), (0.3, 0.2)):  # all of it may be chance: there are few runs
        limit = knee.decide(now, limit, seen(4, latency_seconds, limit))
    assert limit == 32
    assert knee.base_seconds == pytest.approx(0.1)


def test_a_latency_that_only_the_first_round_has_shown_is_looked_at_with_fewer_calls() -> None:
    knee = Knee()
    assert knee.decide(0.4, 4.0, seen(24, 0.133, 4.0)) == 8  # four calls where three are served: all of them waited
    dipped = knee.decide(1.4, 8.0, seen(24, 0.6, 8.0))
    assert round(dipped) == 3
    knee.decide(2.4, dipped, seen(60, 0.1, dipped))
    assert knee.base_seconds == pytest.approx(0.1, rel=0.1)


def test_first_calls_that_were_quick_by_chance_are_forgotten_where_fewer_are_slower() -> None:
    knee = Knee()
    assert knee.decide(0.4, 4.0, seen(12, 0.04, 4.0)) == 8
    dipped = knee.decide(1.4, 8.0, seen(24, 0.2, 8.0))
    assert round(dipped) == 3
    limit = knee.decide(2.4, dipped, seen(24, 0.1, dipped))
    assert knee.base_seconds == pytest.approx(0.1)
    assert limit >= 4


def test_a_limit_of_one_call_does_not_stay_where_that_call_is_slower_than_the_base() -> None:
    knee, limit = Knee(), 1.0
    knee.decide(0.5, limit, Round(0.0, runs=200, full_runs=0, inside=200, latency_seconds=4.0, squares=0.1))
    for moment in range(20):
        limit = max(1.0, knee.decide(0.6 + moment / 100, limit, seen(20, 0.1, limit)))
    assert knee.base_seconds == pytest.approx(0.1, rel=0.1)
    assert limit > 4


def test_a_latency_that_twice_as_many_calls_have_shown_too_is_not() -> None:
    knee, limit = Knee(), 4.0
    for now in (0.4, 0.8):
        limit = knee.decide(now, limit, seen(24, 0.133, limit))
    assert knee.decide(1.8, limit, seen(24, 0.6, limit)) == 8


def test_a_downstream_that_slows_down_in_a_dip_does_not_raise_the_base() -> None:
    knee, limit = Knee(), 4.0
    for now in (0.1, 0.2, 0.3):
        limit = knee.decide(now, limit, seen(60, 0.1, limit))
    limit = knee.decide(0.4, limit, seen(60, 0.3, limit))
    limit = knee.decide(0.8, limit, seen(60, 0.1, limit))
    limit = knee.decide(knee.plan.due_at, limit, seen(200, 0.15, limit))  # now a dip is due
    dipped = knee.decide(20.0, limit, seen(60, 0.165, limit))
    assert dipped < limit
    knee.decide(21.0, dipped, seen(60, 0.11, dipped))
    assert knee.base_seconds == pytest.approx(0.1, rel=0.1)


def test_a_base_that_is_too_low_rises_where_more_calls_are_as_quick() -> None:
    knee, limit = Knee(), 4.0
    for latency_seconds in (0.1, 0.1, 0.3, 0.08, 0.1):  # a ramp, and a dip that was quick by chance
        limit = knee.decide(1.0, limit, seen(20, latency_seconds, limit))
    low = knee.base_seconds
    assert low is not None
    for more in (1.0, 1.5):
        knee.decide(1.0, more * limit, seen(40, 0.12, more * limit))
    assert knee.base_seconds is not None
    assert knee.base_seconds > 1.02 * low


def test_a_round_is_over_that_is_far_behind() -> None:
    plan = Plan(runs=100, latency_seconds=0.1)
    assert not plan.is_over(0.9, 10.0, Round(0.0, runs=90))  # as quick as it should be
    assert not plan.is_over(1.5, 10.0, Round(0.0, runs=80))
    assert plan.is_over(0.5, 10.0, Round(0.0, runs=10))
    assert plan.is_over(1.1, 10.0, Round(0.0, runs=100))


class Noting:
    """An algorithm that keeps what it is shown."""

    def __init__(self) -> None:
        self.growth = 0.0
        self.plan = Plan(runs=2)
        self.base_seconds = None
        self.rounds: list[Round] = []

    def decide(self, now: float, limit: float, round: Round) -> float:
        self.rounds.append(round)
        self.plan = Plan(runs=2, settles=True)
        return limit

    def refused(self, now: float, limit: float, inside: int, round: Round, first: bool) -> float:
        return limit

    def resumed(self, limit: float, goal: float) -> None: ...


def test_what_was_under_way_at_a_decision_does_not_count_after_it() -> None:
    noting = Noting()
    limit = AdaptiveConcurrency(1, 10, noting)
    limit.start(0.0, 5)
    for now in (1.0, 1.0, 2.0, 9.0):  # two make the first round, three are under way then
        limit.finish(now, 1, now, Verdict.FAILURE if now == 2 else Verdict.SUCCESS)
    limit.finish(9.0, 1, 9.0, Verdict.SUCCESS)
    limit.start(9.0, 2)
    for now in (9.5, 10.0):
        limit.finish(now, 1, now - 9.0, Verdict.SUCCESS)
    assert [(round.since, round.mean_seconds) for round in noting.rounds] == [(0.0, 1.0), (9.0, 0.75)]
    assert noting.rounds[1].inside_seconds == pytest.approx(1.5)


def test_failures_that_are_no_refusals_say_nothing() -> None:
    limit, place = limit_of(), Place(20)
    place.work(limit, 5.0)
    before = limit.limit
    for _ in range(500):
        limit.start(place.now, 1)
        limit.finish(place.now, 1, 3.0, Verdict.FAILURE)
    assert limit.limit == before


def test_an_outage_teaches_it_nothing_and_then_it_starts_at_half() -> None:
    limit, place = limit_of(), Place(20)
    breaker = Breaker(BreakerPolicy(), random.Random(0))
    breaker.listen(limit.breaker_changed)
    place.work(limit, 5.0)
    place.work(limit, 60.0, most=0)
    before, base, now = limit.limit, limit.base_seconds, place.now
    while breaker.state is State.CLOSED:
        for one in (limit, breaker):
            one.start(now, 1)
        for one in (breaker, limit):
            one.finish(now, 1, 0.02, Verdict.OVERLOAD)
    refused = limit.refused
    now += breaker.wait(now)
    for one in (limit, breaker):
        one.start(now, 1)
    for one in (breaker, limit):
        one.finish(now + 9.0, 1, 9.0, Verdict.OVERLOAD)
    assert (limit.refused, limit.base_seconds) == (refused, base)
    now += 9.0 + breaker.wait(now + 9.0)
    for one in (limit, breaker):
        one.start(now, 1)
    for one in (breaker, limit):
        one.finish(now + 0.1, 1, 0.1, Verdict.SUCCESS)
    assert limit.limit == pytest.approx(before / 2, rel=0.2)
    limit.start(now, 1)
    before = limit.limit
    limit.finish(now + 0.2, 1, 30.0, Verdict.OVERLOAD)  # it had begun before, and hung
    assert limit.limit == before
    place.now = now + 0.2
    place.work(limit, 0.5)
    assert limit.limit >= 18


def test_processes_dip_at_the_same_moments_of_the_wall_clock() -> None:
    dips: list[set[float]] = []
    for started in (0.0, 3.3):  # by their monotonic clocks, which know nothing of one another
        limit, place, seen = adaptive(Adaptive(max=200), 1000.0 + started), Place(20), set[float]()
        place.work(limit, 20.0)
        while place.now < 80.0:
            before = limit.limit
            place.work(limit, 0.05)
            if limit.limit < 0.8 * before:
                seen.add(round((place.now + 1000.0 + started) / 8.0))
        dips.append(seen)
    assert len(dips[0] & dips[1]) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_a_consumer_finds_what_its_downstream_bears(name: str) -> None:
    asyncio.run(asyncio.wait_for(_consume(name), 300))


async def _consume(name: str) -> None:
    app, inside, seen = Leveler(), 0, list[int]()

    @app.consumer("orders", concurrency=Adaptive(max=64, algorithm=name))  # type: ignore[arg-type]
    async def handle(order: int) -> None:
        nonlocal inside
        if inside >= 16:
            raise Throttled
        inside += 1
        seen.append(inside)
        await t.clock.sleep(0.1 * max(1.0, inside / 8))
        inside -= 1

    async with TestApp(app) as t:
        await t.send_many("orders", range(4000))
        await t.advance(30.0)
        assert len(t.completed) > 30 * 80 * 0.8
        assert 8 <= max(seen[-500:]) <= 16
