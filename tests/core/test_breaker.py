"""The breaker: it opens on an outage and not on a refusal, probes rarely and one at a time, and closes on a success."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leveler.consumer.limits import Breaker, BreakerPolicy, State, Verdict


def breaker(**policy: float) -> Breaker:
    return Breaker(BreakerPolicy(**policy), random.Random(0))  # type: ignore[arg-type]


def ran(limit: Breaker, now: float, verdict: Verdict, runs: int = 1, latency_seconds: float = 0.0) -> None:
    limit.start(now - latency_seconds, runs)
    limit.finish(now, runs, latency_seconds, verdict)


def says(limit: Breaker, state: State) -> bool:
    return limit.state is state


def gone(limit: Breaker, now: float) -> None:
    for _ in range(limit.policy.min_runs):
        ran(limit, now, Verdict.FAILURE)
    assert says(limit, State.OPEN)


@pytest.mark.parametrize("verdict", [Verdict.FAILURE, Verdict.OVERLOAD])
def test_it_opens_when_nothing_succeeds_any_more(verdict: Verdict) -> None:
    limit = breaker()
    ran(limit, 0.0, Verdict.SUCCESS, 5000)
    for _ in range(19):
        ran(limit, 1.0, verdict)
        assert says(limit, State.CLOSED)
        assert limit.wait(1.0) == 0
        assert limit.series(1.0, 9) == 9
    ran(limit, 1.0, verdict)
    assert says(limit, State.OPEN)
    assert limit.wait(1.0) > 0.4
    assert limit.series(1.0, 9) == 0
    assert limit.credit(1.0, 0.1) == 0


def test_it_opens_on_the_error_ratio_of_its_window_and_forgets_what_is_older() -> None:
    limit = breaker(error_ratio=0.5, window_seconds=10.0)
    for tenth in range(100):  # 40 % of them fail
        ran(limit, tenth / 10, Verdict.FAILURE if tenth % 5 < 2 else Verdict.SUCCESS)
    assert says(limit, State.CLOSED)
    for tenth in range(100):  # 60 %
        if says(limit, State.CLOSED):
            ran(limit, 30 + tenth / 10, Verdict.FAILURE if tenth % 5 < 3 else Verdict.SUCCESS)
    assert says(limit, State.OPEN)


def test_a_downstream_that_refuses_what_is_too_much_is_not_gone() -> None:
    """Refusals are quick, so many of them end between two that succeed."""
    limit = breaker(error_ratio=0.9)
    limit.start(0.0, 40)
    for moment in range(200):
        limit.finish(moment / 100, 1, 0.1, Verdict.SUCCESS if moment % 8 == 0 else Verdict.OVERLOAD)
        limit.start(moment / 100, 1)
    assert says(limit, State.CLOSED)


def test_what_says_nothing_neither_opens_nor_closes_it() -> None:
    limit = breaker()
    ran(limit, 0.0, Verdict.NOTHING, 1000)
    assert says(limit, State.CLOSED)
    gone(limit, 1.0)
    ran(limit, 1.0 + limit.wait(1.0), Verdict.NOTHING)
    assert says(limit, State.OPEN)


def test_one_probe_at_a_time_and_at_most_one_a_second_until_one_succeeds() -> None:
    limit, now, probes = breaker(), 0.0, list[float]()
    gone(limit, now)
    while now < 20.0:
        now += limit.wait(now)
        assert limit.series(now, 50) == 1
        limit.start(now, 1)
        probes.append(now)
        assert says(limit, State.HALF_OPEN)
        assert limit.wait(now) == float("inf")
        assert limit.series(now, 50) == 0
        limit.finish(now + 0.02, 1, 0.02, Verdict.FAILURE)
        now += 0.02
    assert 0.5 <= probes[0] <= 0.6
    assert all(1.0 <= after - before <= 2.3 for before, after in itertools.pairwise(probes))
    assert len(probes) <= 12
    now += limit.wait(now)
    ran(limit, now, Verdict.SUCCESS)
    assert says(limit, State.CLOSED)
    assert limit.wait(now) == 0


def test_runs_that_were_under_way_when_it_opened_do_not_close_it() -> None:
    limit = breaker()
    limit.start(0.0, 1)
    gone(limit, 1.0)
    limit.finish(1.1, 1, 1.1, Verdict.SUCCESS)
    assert says(limit, State.OPEN)
    limit.start(2.0, 1)
    limit.finish(2.1, 1, 1.5, Verdict.FAILURE)
    assert says(limit, State.HALF_OPEN)  # that was none of the probe's


def test_a_probe_that_did_not_start_after_all_lets_another_one_start() -> None:
    limit = breaker()
    gone(limit, 0.0)
    limit.start(1.0, 1)
    limit.take_back(1)
    assert limit.wait(1.0) == 0


def test_one_that_falls_again_at_once_is_looked_at_as_rarely_as_before() -> None:
    limit = breaker()
    gone(limit, 0.0)
    now = limit.wait(0.0)
    ran(limit, now, Verdict.FAILURE)
    now += limit.wait(now)
    ran(limit, now, Verdict.SUCCESS)
    gone(limit, now + 0.1)
    assert limit.wait(now + 0.1) >= 1.0
    now += 30.0
    ran(limit, now, Verdict.SUCCESS)
    gone(limit, now + 20.0)
    assert limit.wait(now + 20.0) < 0.6


def test_who_listens_hears_of_every_state() -> None:
    limit, heard = breaker(), list[State]()
    limit.listen(lambda now, state: heard.append(state))
    gone(limit, 0.0)
    limit.start(1.0, 1)
    limit.finish(1.1, 1, 0.1, Verdict.SUCCESS)
    assert heard == [State.OPEN, State.HALF_OPEN, State.CLOSED]


@settings(deadline=None)  # a busy machine is no mistake
@given(st.lists(st.tuples(st.sampled_from(list(Verdict)), st.integers(1, 30), st.floats(0, 3)), max_size=60))
def test_whatever_happens_somebody_may_start_within_three_seconds(story: list[tuple[Verdict, int, float]]) -> None:
    limit, now = breaker(), 0.0
    for verdict, most, latency_seconds in story:
        assert limit.wait(now) <= 3.0
        now += limit.wait(now)
        runs = limit.series(now, most)
        assert runs >= 1
        limit.start(now, runs)
        now += latency_seconds
        limit.finish(now, runs, latency_seconds, verdict)
