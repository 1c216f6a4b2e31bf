"""How often and how soon: the retry policy, by itself and with tenacity's strategies."""

from __future__ import annotations

import logging
import math
import random
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from leveler.errors import ConfigError
from leveler.retry import RetryPolicy

RNG = random.Random(1)
NEVER_OLD = float("inf")


def waits(policy: RetryPolicy, attempts: int, age: float = 0.0) -> list[float]:
    return [policy.delay_seconds(attempt, age, None, RNG) for attempt in range(1, attempts + 1)]


def plain(**settings: Any) -> RetryPolicy:
    return RetryPolicy(jitter="none", **settings)


def fails(*_: object) -> Any:
    raise RuntimeError("the user's own")


# When it ends.


@given(most=st.integers(1, 1000), attempt=st.integers(1, 2000))
def test_a_message_is_started_exactly_max_attempts_times(most: int, attempt: int) -> None:
    assert RetryPolicy(max_attempts=most).gives_up(attempt, 0.0, None) == ("exhausted" if attempt >= most else None)


def test_a_message_as_old_as_max_age_is_given_up_whatever_its_attempts() -> None:
    policy = RetryPolicy(max_attempts=100, max_age_seconds=60)
    assert [policy.gives_up(1, age, None) for age in (0.0, 59.9, 60.0, 61.0)] == [None, None, "expired", "expired"]


def test_an_error_that_never_heals_is_given_up_at_once_and_so_is_its_subclass() -> None:
    policy = RetryPolicy(give_up_on=(LookupError, TypeError))
    reasons = [policy.gives_up(1, 0.0, error) for error in (KeyError("id"), TypeError(), ValueError(), None)]
    assert reasons == ["rejected", "rejected", None, None]


def test_why_it_ended_is_the_error_before_the_age_and_the_age_before_the_count() -> None:
    policy = RetryPolicy(max_attempts=1, max_age_seconds=1, give_up_on=(KeyError,))
    reasons = [policy.gives_up(1, age, error) for age, error in ((1.0, KeyError()), (1.0, None), (0.0, None))]
    assert reasons == ["rejected", "expired", "exhausted"]


# How long it waits.


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"backoff": "exponential", "initial_seconds": 1, "factor": 2}, [1, 2, 4, 8, 16]),
        ({"backoff": "exponential", "initial_seconds": 3, "factor": 10, "cap_seconds": 400}, [3, 30, 300, 400, 400]),
        ({"backoff": "exponential", "initial_seconds": 2, "factor": 1}, [2, 2, 2, 2, 2]),
        ({"backoff": "linear", "initial_seconds": 5, "cap_seconds": 18}, [5, 10, 15, 18, 18]),
        ({"backoff": "constant", "initial_seconds": 7}, [7, 7, 7, 7, 7]),
        ({"initial_seconds": 0.01, "floor_seconds": 0.05}, [0.05, 0.05, 0.05, 0.08, 0.16]),
    ],
)
def test_without_jitter_the_waits_are_exactly_those_of_the_backoff(settings: Any, expected: list[float]) -> None:
    assert waits(plain(**settings), 5) == pytest.approx(expected)


def test_the_waits_double_from_a_second_to_five_minutes_by_default() -> None:
    assert waits(plain(), 11) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(
    backoff=st.sampled_from(["exponential", "linear", "constant"]),
    initial=st.floats(0.001, 1000),
    factor=st.floats(1, 10),
    floor=st.floats(0.001, 10),
    room=st.floats(0, 1000),
    attempt=st.integers(1, 10_000),
    seed=st.integers(),
)
def test_a_jittered_wait_lies_between_the_floor_and_the_full_wait_which_the_cap_bounds(
    backoff: Any, initial: float, factor: float, floor: float, room: float, attempt: int, seed: int
) -> None:
    shape: dict[str, Any] = {
        "backoff": backoff,
        "initial_seconds": initial,
        "factor": factor,
        "floor_seconds": floor,
        "cap_seconds": floor + room,
    }
    full = plain(**shape).delay_seconds(attempt, 0.0, None, random.Random(seed))
    drawn = RetryPolicy(**shape).delay_seconds(attempt, 0.0, None, random.Random(seed))
    assert floor <= drawn <= full <= floor + room


def test_what_failed_together_comes_back_spread_over_the_whole_wait() -> None:
    policy, rng = RetryPolicy(initial_seconds=100, floor_seconds=0.1), random.Random(7)
    drawn = [policy.delay_seconds(1, 0.0, None, rng) for _ in range(10_000)]
    tenths = [sum(1 for wait in drawn if tenth * 10 <= wait < tenth * 10 + 10) for tenth in range(10)]
    assert min(tenths) > 850
    assert max(tenths) < 1150


@pytest.mark.parametrize("backoff", ["exponential", "linear", "constant"])
@pytest.mark.parametrize("jitter", ["full", "none"])
def test_the_wait_after_ten_thousand_attempts_is_still_a_wait(backoff: Any, jitter: Any) -> None:
    policy = RetryPolicy(backoff=backoff, jitter=jitter, factor=1e9, cap_seconds=60)
    assert 0.1 <= policy.delay_seconds(10_000, 0.0, None, RNG) <= 60
    if jitter == "none" and backoff != "constant":
        assert policy.delay_seconds(10_000, 0.0, None, RNG) == 60


def test_a_policy_draws_its_chance_from_what_it_is_given_and_keeps_none() -> None:
    policy = RetryPolicy(initial_seconds=50)
    first, again = ([policy.delay_seconds(1, 0.0, None, random.Random(seed)) for seed in range(5)] for _ in range(2))
    assert first == again
    assert len(set(first)) == 5


# Strategies of tenacity.


def test_a_wait_strategy_takes_the_place_of_backoff_and_jitter() -> None:
    policy = RetryPolicy(wait=tenacity.wait_exponential(multiplier=3, max=40), initial_seconds=99)
    assert waits(policy, 5) == [3, 6, 12, 24, 40]


def test_a_chain_of_waits_goes_by_the_attempt() -> None:
    chain = tenacity.wait_chain(*(tenacity.wait_fixed(seconds) for seconds in (1, 5, 20)))
    assert waits(RetryPolicy(wait=chain), 5) == [1, 5, 20, 20, 20]


def test_an_exponential_wait_with_jitter_keeps_to_its_bounds() -> None:
    policy = RetryPolicy(wait=tenacity.wait_exponential_jitter(max=1000, jitter=1))
    for _ in range(50):
        for full, wait in zip((1, 2, 4, 8), waits(policy, 4), strict=True):
            assert full <= wait <= full + 1


def test_floor_and_cap_hold_for_a_strategy_too() -> None:
    bounds: dict[str, float] = {"floor_seconds": 2, "cap_seconds": 10}
    waited = [waits(RetryPolicy(wait=tenacity.wait_fixed(s), **bounds), 1)[0] for s in (0, 5, 99)]  # type: ignore[arg-type]
    assert waited == [2, 5, 10]


def test_a_strategy_may_look_at_the_error() -> None:
    def wait(state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        return 30.0 if isinstance(state.outcome.exception(), ConnectionError) else 3.0

    policy = RetryPolicy(wait=wait)
    assert policy.delay_seconds(1, 0.0, ConnectionError(), RNG) == 30
    assert policy.delay_seconds(1, 0.0, ValueError(), RNG) == 3
    assert policy.delay_seconds(1, 0.0, None, RNG) == 3


def test_a_stop_strategy_ends_it_before_max_attempts_and_never_after() -> None:
    policy = RetryPolicy(max_attempts=5, stop=tenacity.stop_after_attempt(3))
    assert [policy.gives_up(attempt, 0.0, None) for attempt in (2, 3)] == [None, "exhausted"]
    late = RetryPolicy(max_attempts=5, stop=tenacity.stop_never)
    assert [late.gives_up(attempt, 0.0, None) for attempt in (4, 5)] == [None, "exhausted"]


def test_stops_may_be_joined_and_the_delay_is_the_age_of_the_message() -> None:
    policy = RetryPolicy(max_attempts=99, stop=tenacity.stop_after_delay(60) | tenacity.stop_after_attempt(4))
    ends = [policy.gives_up(attempt, age, None) for attempt, age in ((3, 59.0), (4, 0.0), (1, 61.0))]
    assert ends == [None, "exhausted", "exhausted"]
    both = RetryPolicy(max_attempts=99, stop=tenacity.stop_after_delay(60) & tenacity.stop_after_attempt(4))
    assert [both.gives_up(attempt, age, None) for attempt, age in ((4, 0.0), (4, 61.0))] == [None, "exhausted"]


def test_a_strategy_that_fails_is_told_of_and_the_backoff_decides(caplog: pytest.LogCaptureFixture) -> None:
    policy = plain(wait=fails, stop=fails, max_attempts=2, initial_seconds=4)
    with caplog.at_level(logging.ERROR, "leveler"):
        assert waits(policy, 1) == [4]
        assert [policy.gives_up(attempt, 0.0, None) for attempt in (1, 2)] == [None, "exhausted"]
    assert {record.getMessage() for record in caplog.records} == {
        "retry.wait failed: the backoff decides instead",
        "retry.stop failed: only max_attempts and max_age decide",
    }


@pytest.mark.parametrize("answer", [math.nan, "soon", None])
def test_a_strategy_that_answers_no_number_is_as_good_as_none(answer: object) -> None:
    assert waits(plain(wait=lambda state: answer, initial_seconds=4), 1) == [4]


@pytest.mark.parametrize(("answer", "expected"), [(-5, 0.1), (math.inf, 300), (-math.inf, 0.1)])
def test_a_strategy_without_bounds_is_bounded(answer: float, expected: float) -> None:
    assert waits(RetryPolicy(wait=lambda state: answer), 1) == [expected]


# Settings that are refused.


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"max_attempts": 0}, "retry.max_attempts is 0"),
        ({"floor_seconds": 0}, "retry.floor is 0"),
        ({"floor_seconds": -1}, "retry.floor is -1"),
        ({"floor_seconds": 5, "cap_seconds": 4}, "retry.cap"),
        ({"max_age_seconds": 0}, "retry.max_age"),
        ({"initial_seconds": 0}, "retry.initial"),
        ({"factor": 0.5}, "retry.factor"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(setting: Any, named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RetryPolicy(**setting)
    assert named in str(refused.value)
