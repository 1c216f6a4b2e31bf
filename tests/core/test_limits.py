"""Limits: rates are exact, concurrency is never exceeded, whoever came first starts first, and nothing leaks."""

from __future__ import annotations

import asyncio
import itertools
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveler.consumer.limits import (
    Adaptive,
    Breaker,
    BreakerPolicy,
    FixedConcurrency,
    Gate,
    Limit,
    Limits,
    Rate,
    Refusal,
    Verdict,
    adaptive,
)
from leveler.consumer.limits.rate import CATCH_UP_SECONDS
from leveler.testing import VirtualClock
from leveler.testing.clock import quiet


def run(story: Callable[[VirtualClock], Coroutine[object, object, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(VirtualClock()), 10))


class LateClock(VirtualClock):
    """Its timers come some milliseconds late, as those of every real loop do."""

    def __init__(self) -> None:
        super().__init__()
        self._lateness = itertools.cycle((0.0, 0.001, 0.004, 0.011, 0.002))

    def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> Any:
        return super().call_later(delay_seconds + next(self._lateness), callback)


async def starts(clock: VirtualClock, per_second: float, seconds: float, waiters: int) -> list[float]:
    """When runs started, where so many waiters want to start all the time."""
    gate, started = Gate("bank", [Rate(per_second)], clock), list[float]()

    async def want() -> None:
        while await gate.start(1, want):
            started.append(clock.monotonic())
            gate.finish(1, 0.0, Verdict.SUCCESS)

    tasks = [asyncio.create_task(want()) for _ in range(waiters)]
    await clock.advance(seconds)
    for task in tasks:
        task.cancel()
    return started


def most_in_a_second(started: list[float]) -> int:
    return max(bisect_left(started, at + 1.0) - index for index, at in enumerate(started))


# Rate.


@pytest.mark.parametrize("per_second", [0.5, 7.0, 50.0, 5000.0])
@pytest.mark.parametrize("clock", [VirtualClock, LateClock])
def test_a_rate_is_kept_within_one_percent_over_ten_seconds(clock: type[VirtualClock], per_second: float) -> None:
    started = asyncio.run(starts(clock(), per_second, 10.0, waiters=20))
    # At 0, then one each interval; what catching up allows is the only burst.
    assert abs(len(started) - 10 * per_second) <= max(1.0, 0.1 * per_second)


@pytest.mark.parametrize("per_second", [0.5, 7.0, 50.0, 5000.0])
@pytest.mark.parametrize("clock", [VirtualClock, LateClock])
def test_no_second_sees_more_starts_than_the_rate_and_what_may_be_made_up_for(
    clock: type[VirtualClock], per_second: float
) -> None:
    started = asyncio.run(starts(clock(), per_second, 5.0, waiters=20))
    assert most_in_a_second(started) <= per_second * (1.0 + CATCH_UP_SECONDS) + 1


def test_a_rate_is_even_where_timers_are_punctual() -> None:
    started = asyncio.run(starts(VirtualClock(), 10.0, 5.0, waiters=3))
    gaps = [after - before for before, after in itertools.pairwise(started)]
    assert gaps[0] == pytest.approx(0.1 - CATCH_UP_SECONDS)  # what may be made up for is there from the beginning
    assert gaps[1:] == pytest.approx([0.1] * 49)


def test_a_rate_after_a_rest_has_saved_up_no_more_than_a_late_timer_costs() -> None:
    rate = Rate(100.0)
    rate.start(0.0, 1)
    at_once = 0
    while rate.wait(60.0) == 0.0:
        rate.start(60.0, 1)
        at_once += 1
    assert at_once == 1 + 100 * CATCH_UP_SECONDS


def test_a_start_of_several_runs_costs_each_of_them() -> None:
    rate = Rate(10.0)
    rate.start(0.0, 5)
    assert rate.wait(0.0) == pytest.approx(0.5 - CATCH_UP_SECONDS)


@given(per_second=st.floats(0.1, 300), now=st.floats(0, 1e5), spent=st.integers(0, 20), horizon=st.floats(0, 1))
def test_the_credit_of_a_rate_is_what_could_start_within_the_horizon(
    per_second: float, now: float, spent: int, horizon: float
) -> None:
    rate = Rate(per_second)
    if spent:
        rate.start(now, spent)
    credit, at, started = rate.credit(now, horizon), now, 0
    while (at := at + rate.wait(at)) <= now + horizon:
        rate.start(at, 1)
        started += 1
    assert abs(credit - started) <= 1  # the last one may fall on either side of the end


# Concurrency.


def test_a_concurrency_is_never_exceeded_by_however_many() -> None:
    async def story(clock: VirtualClock) -> None:
        concurrency = FixedConcurrency(4)
        gate, most = Gate("bank", [concurrency], clock), 0

        async def handle(seconds: float) -> None:
            nonlocal most
            assert await gate.start(1, None)
            most = max(most, concurrency.running)
            await clock.sleep(seconds)
            gate.finish(1, seconds, Verdict.SUCCESS)

        tasks = [asyncio.create_task(handle(1 + number % 3)) for number in range(60)]
        await clock.advance(31)
        assert all(task.done() for task in tasks)
        assert (most, concurrency.running) == (4, 0)

    run(story)


def test_a_full_concurrency_waits_for_an_end_and_not_for_time() -> None:
    concurrency = FixedConcurrency(1)
    concurrency.start(0.0, 1)
    assert (concurrency.wait(1e9), concurrency.credit(0.0, 0.0)) == (float("inf"), 0)
    concurrency.finish(0.0, 1, 0.0, Verdict.SUCCESS)
    assert (concurrency.wait(0.0), concurrency.credit(0.0, 0.0)) == (0.0, 1)


def test_quick_runs_raise_the_credit_by_those_that_will_have_ended_and_a_rest_takes_it_back() -> None:
    concurrency = FixedConcurrency(2)
    for tick in range(1001):  # a run each millisecond, for a second
        concurrency.start(tick / 1000, 1)
        concurrency.finish(tick / 1000, 1, 0.001, Verdict.SUCCESS)
        concurrency.credit(tick / 1000, 0.1)
    assert concurrency.credit(1.002, 0.1) == pytest.approx(2 + 100, rel=0.2)
    concurrency.credit(5.0, 0.1)
    assert concurrency.credit(6.0, 0.1) == pytest.approx(2, abs=0.1)


# One gate.


def test_whoever_came_first_starts_first_and_nobody_overtakes() -> None:
    async def story(clock: VirtualClock) -> None:
        gate, order = Gate("bank", [FixedConcurrency(1)], clock), list[int]()

        async def want(number: int) -> None:
            assert await gate.start(1, None)
            order.append(number)

        assert gate.try_start(1)
        tasks = [asyncio.create_task(want(number)) for number in range(5)]
        await quiet()
        assert not gate.try_start(1)
        for _ in tasks:
            gate.finish(1, 0.0, Verdict.SUCCESS)
            assert not gate.try_start(1) or order == [0, 1, 2, 3, 4]
            await quiet()
        assert order == [0, 1, 2, 3, 4]

    run(story)


def test_nobody_overtakes_a_waiter_whose_timer_is_late() -> None:
    class SlowClock(VirtualClock):
        def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> Any:
            return super().call_later(delay_seconds + 1.0, callback)

    async def story() -> None:
        clock = SlowClock()
        gate = Gate("bank", [Rate(1.0)], clock)
        assert gate.try_start(1)
        waiter = asyncio.create_task(gate.start(1, None))
        await clock.advance(1.5)
        assert gate.wait() == 0.0
        assert (gate.try_start(1), waiter.done()) == (False, False)
        await clock.advance(1.0)
        assert waiter.done()

    asyncio.run(asyncio.wait_for(story(), 10))


def test_the_credit_of_a_gate_is_its_tightest_limit_less_those_that_wait() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [FixedConcurrency(3), FixedConcurrency(9)], clock)
        assert gate.credit(0.1) == 3
        assert gate.try_start(3)
        waiter = asyncio.create_task(gate.start(2, None))
        await quiet()
        assert gate.credit(0.0) == -2
        waiter.cancel()
        await quiet()
        assert gate.credit(0.0) == 0

    run(story)


def test_a_gate_without_limits_lets_everybody_in() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [], clock)
        assert all(gate.try_start(1) for _ in range(1000))
        assert (gate.credit(0.1), gate.wait()) == (float("inf"), 0.0)

    run(story)


def test_a_run_starts_in_every_limit_of_its_gate_or_in_none() -> None:
    async def story(clock: VirtualClock) -> None:
        wide, narrow = FixedConcurrency(5), FixedConcurrency(1)
        gate = Gate("bank", [wide, narrow], clock)
        assert [gate.try_start(1), gate.try_start(1)] == [True, False]
        assert (wide.running, narrow.running) == (1, 1)

    run(story)


def test_who_is_refused_has_started_nothing_and_others_go_on_waiting() -> None:
    async def story(clock: VirtualClock) -> None:
        concurrency, mine, yours = FixedConcurrency(1), object(), object()
        gate = Gate("bank", [concurrency], clock)
        assert gate.try_start(1)
        waiters = [asyncio.create_task(gate.start(1, owner)) for owner in (mine, yours, mine)]
        await quiet()
        gate.refuse(mine)
        await quiet()
        assert [waiter.done() and waiter.result() for waiter in waiters] == [False, False, False]
        assert [waiter.done() for waiter in waiters] == [True, False, True]
        gate.finish(1, 0.0, Verdict.SUCCESS)
        assert await waiters[1]
        assert concurrency.running == 1

    run(story)


def test_a_waiter_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    async def story(clock: VirtualClock) -> None:
        concurrency = FixedConcurrency(1)
        gate = Gate("bank", [concurrency], clock)
        assert gate.try_start(1)
        first, second = (asyncio.create_task(gate.start(1, None)) for _ in range(2))
        await quiet()
        first.cancel()
        await quiet()
        gate.finish(1, 0.0, Verdict.SUCCESS)
        assert await second
        assert concurrency.running == 1

    run(story)


def test_a_large_waiter_that_is_cancelled_lets_those_behind_it_in_at_once() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [Rate(1.0)], clock)
        assert gate.try_start(1)
        first, second = (asyncio.create_task(gate.start(1, None)) for _ in range(2))
        await quiet()
        first.cancel()
        await clock.advance(1.0)
        assert second.done()

    run(story)


def test_a_waiter_that_is_cancelled_just_when_it_was_let_in_gives_its_start_back() -> None:
    async def story(clock: VirtualClock) -> None:
        concurrency = FixedConcurrency(1)
        gate = Gate("bank", [concurrency], clock)
        assert gate.try_start(1)
        first, second = (asyncio.create_task(gate.start(1, None)) for _ in range(2))
        await quiet()
        gate.finish(1, 0.0, Verdict.SUCCESS)  # lets the first in, which does not know it yet
        first.cancel()
        await quiet()
        assert first.cancelled()
        assert second.done()
        assert concurrency.running == 1

    run(story)


def test_nothing_starts_while_a_gate_is_paused_and_everything_goes_on_by_itself() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [FixedConcurrency(5)], clock)
        gate.pause(30)
        gate.pause(10)  # a shorter one does not shorten it
        waiter = asyncio.create_task(gate.start(1, None))
        await clock.advance(29.9)
        assert (waiter.done(), gate.try_start(1), gate.credit(0.05)) == (False, False, 0.0)
        assert gate.wait() == pytest.approx(0.1)
        await clock.advance(0.2)
        assert waiter.done()

    run(story)


def test_a_pause_that_began_while_the_gate_was_full_ends_too() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [FixedConcurrency(1)], clock)
        assert gate.try_start(1)
        waiter = asyncio.create_task(gate.start(1, None))
        await quiet()
        gate.pause(10)
        await clock.advance(5)
        gate.finish(1, 5.0, Verdict.OVERLOAD)
        await clock.advance(4.9)
        assert not waiter.done()
        await clock.advance(0.2)
        assert waiter.done()

    run(story)


def test_who_listens_hears_of_an_end_and_of_the_end_of_a_pause_until_he_stops() -> None:
    async def story(clock: VirtualClock) -> None:
        gate, heard = Gate("bank", [FixedConcurrency(1)], clock), list[float]()

        def changed() -> None:
            heard.append(clock.monotonic())

        gate.listen(changed)
        assert gate.try_start(1)
        gate.finish(1, 0.0, Verdict.SUCCESS)
        gate.pause(7)
        await clock.advance(8)
        assert heard == [0.0, 7.0]
        gate.unlisten(changed)
        gate.pause(1)
        await clock.advance(2)
        assert heard == [0.0, 7.0]

    run(story)


# Several gates.


def two(clock: VirtualClock) -> tuple[Limits, FixedConcurrency, FixedConcurrency]:
    own, shared = FixedConcurrency(2), FixedConcurrency(1)
    return Limits([Gate("orders", [own], clock), Gate("bank", [shared], clock)]), own, shared


def test_who_waits_at_one_gate_holds_no_place_at_another() -> None:
    async def story(clock: VirtualClock) -> None:
        limits, own, shared = two(clock)
        assert await limits.acquire(1)
        waiting = asyncio.create_task(limits.acquire(1))
        await quiet()
        assert (own.running, shared.running) == (1, 1)
        limits.refuse()
        assert not await waiting
        assert (own.running, shared.running) == (1, 1)

    run(story)


def test_tokens_of_a_rate_do_not_gather_while_their_takers_wait_for_a_place() -> None:
    async def story(clock: VirtualClock) -> None:
        shared = FixedConcurrency(50)
        bank = Gate("bank", [shared], clock)
        assert bank.try_start(50)
        limits, started = Limits([Gate("orders", [Rate(10.0)], clock), bank]), list[float]()

        async def want() -> None:
            if await limits.acquire(1):
                started.append(clock.monotonic())

        tasks = [asyncio.create_task(want()) for _ in range(30)]
        await clock.advance(10.0)  # a hundred tokens
        assert started == []
        bank.finish(50, 0.0, Verdict.SUCCESS)
        await clock.advance(10.0)
        assert len(started) == 30
        assert most_in_a_second(started) <= 12
        await asyncio.gather(*tasks)

    run(story)


def test_who_is_cancelled_while_it_waits_at_the_second_gate_holds_nothing() -> None:
    async def story(clock: VirtualClock) -> None:
        limits, own, shared = two(clock)
        assert await limits.acquire(1)
        waiting = asyncio.create_task(limits.acquire(1))
        await quiet()
        waiting.cancel()
        await quiet()
        assert (own.running, shared.running) == (1, 1)

    run(story)


@pytest.mark.parametrize("end", ["refuse", "cancel"])
def test_a_start_that_is_called_off_just_when_the_last_gate_lets_it_in_holds_nothing(end: str) -> None:
    async def story(clock: VirtualClock) -> None:
        limits, own, shared = two(clock)
        assert await limits.acquire(1)
        waiting = asyncio.create_task(limits.acquire(1))
        await quiet()
        limits.release(1, 0.0, Verdict.SUCCESS)  # lets it in, which it does not know yet
        if end == "refuse":
            limits.refuse()
            assert not await waiting
        else:
            waiting.cancel()
            await quiet()
            assert waiting.cancelled()
        assert (own.running, shared.running) == (0, 0)

    run(story)


def test_a_refusal_is_for_those_who_wait_now_and_not_for_who_comes_after() -> None:
    async def story(clock: VirtualClock) -> None:
        limits, own, shared = two(clock)
        limits.refuse()
        assert await limits.acquire(1)
        assert (own.running, shared.running) == (1, 1)

    run(story)


def test_consumers_that_share_a_downstream_share_what_it_bears_in_the_order_in_which_they_came() -> None:
    async def story(clock: VirtualClock) -> None:
        bank, order = FixedConcurrency(1), list[str]()
        gate = Gate("bank", [bank], clock)
        orders, refunds = (Limits([Gate(name, [], clock), gate]) for name in ("orders", "refunds"))
        assert await orders.acquire(1)

        async def want(name: str, limits: Limits) -> None:
            assert await limits.acquire(1)
            order.append(name)
            limits.release(1, 0.0, Verdict.SUCCESS)

        tasks = [asyncio.create_task(want(*who)) for who in (("refunds", refunds), ("orders", orders)) * 3]
        await quiet()
        assert (order, orders.credit(0.0), refunds.credit(0.0)) == ([], -6, -6)
        orders.release(1, 0.0, Verdict.SUCCESS)
        await asyncio.gather(*tasks)
        assert order == ["refunds", "orders"] * 3
        assert bank.running == 0

    run(story)


def test_a_stop_of_one_consumer_sends_away_none_of_the_other() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [FixedConcurrency(1)], clock)
        orders, refunds = Limits([gate]), Limits([gate])
        assert await orders.acquire(1)
        mine, yours = asyncio.create_task(orders.acquire(1)), asyncio.create_task(refunds.acquire(1))
        await quiet()
        orders.refuse()
        assert not await mine
        assert not yours.done()
        orders.release(1, 0.0, Verdict.SUCCESS)
        assert await yours

    run(story)


def test_several_gates_wait_for_the_slowest_and_give_the_credit_of_the_tightest() -> None:
    async def story(clock: VirtualClock) -> None:
        limits = Limits([Gate("orders", [FixedConcurrency(8)], clock), Gate("bank", [Rate(0.5)], clock)])
        assert limits.credit(0.1) == 1
        assert await limits.acquire(1)
        await clock.advance(0.5)
        assert limits.wait() == pytest.approx(1.5 - CATCH_UP_SECONDS)

    run(story)


@pytest.mark.parametrize(("named", "paused"), [(None, "bank"), ("bank", "bank"), ("orders", "orders"), ("?", "bank")])
def test_a_pause_is_of_the_gate_that_is_named_or_else_of_the_downstream(named: str | None, paused: str) -> None:
    async def story(clock: VirtualClock) -> None:
        gates = {name: Gate(name, [], clock) for name in ("orders", "bank")}
        Limits([*gates.values()]).pause(5, named)
        assert [name for name, gate in gates.items() if gate.wait() > 0] == [paused]

    run(story)


@given(
    steps=st.lists(st.sampled_from(["ask", "end", "time", "refuse", "cancel", "pause"]), max_size=40),
    limit=st.integers(1, 3),
    per_second=st.floats(0.5, 100),
)
def test_whatever_happens_nothing_leaks_and_no_limit_is_exceeded(
    steps: list[str], limit: int, per_second: float
) -> None:
    async def story(clock: VirtualClock) -> None:
        own, shared = FixedConcurrency(3), FixedConcurrency(limit)
        shared_limits: list[Limit] = [shared, Rate(per_second)]
        limits = Limits([Gate("orders", [own], clock), Gate("bank", shared_limits, clock)])
        asked: list[asyncio.Task[bool]] = []
        ended = 0
        for step in steps:
            let_in = [task for task in asked if task.done() and not task.cancelled() and task.result()]
            if step == "ask":
                asked.append(asyncio.create_task(limits.acquire(1)))
            elif step == "end" and len(let_in) > ended:
                ended += 1
                limits.release(1, 0.01, Verdict.SUCCESS)
            elif step == "time":
                await clock.advance(0.3)
            elif step == "refuse":
                limits.refuse()
            elif step == "cancel" and asked:
                asked[-1].cancel()
            elif step == "pause":
                limits.pause(0.2, None)
            assert own.running <= 3
            assert shared.running <= limit
        limits.refuse()
        for task in asked:
            task.cancel()
        await quiet()
        let_in = [task for task in asked if not task.cancelled() and task.result()]
        assert own.running == shared.running == len(let_in) - ended

    run(story)


# Series: runs that follow one another.


@given(per_second=st.floats(0.5, 5000), spent=st.integers(0, 50), most=st.integers(1, 300), now=st.floats(0, 1e4))
def test_a_series_of_a_rate_is_what_may_start_just_now(per_second: float, spent: int, most: int, now: float) -> None:
    rate, one_by_one, at_once = Rate(per_second), Rate(per_second), 0
    if spent:
        rate.start(now, spent)
        one_by_one.start(now, spent)
    while at_once < most and one_by_one.wait(now) == 0.0:
        one_by_one.start(now, 1)
        at_once += 1
    series = rate.series(now, most)
    assert abs(series - at_once) <= 1  # rounding: the last one may fall on either side of now
    if series:
        assert rate.wait(now) == 0.0
        rate.start(now, series)
        assert rate.wait(now) == pytest.approx(Rate.wait(one_by_one, now), abs=1.1 / per_second)


@given(per_second=st.floats(0.5, 5000), runs=st.integers(1, 100), back=st.integers(0, 100))
def test_what_is_taken_back_may_start_again(per_second: float, runs: int, back: int) -> None:
    rate, fewer, back = Rate(per_second), Rate(per_second), min(runs, back)
    for limit, count in ((rate, runs), (fewer, runs - back)):
        limit.start(0.0, 1)  # so that neither has anything saved up
        limit.start(0.0, count)
    rate.take_back(back)
    assert rate.wait(0.0) == pytest.approx(fewer.wait(0.0), abs=1e-6)


def test_a_series_takes_one_place_and_needs_it_free() -> None:
    concurrency = FixedConcurrency(2)
    assert concurrency.series(0.0, 100) == 100
    concurrency.start(0.0, 2)
    assert concurrency.series(0.0, 100) == 0
    concurrency.take_back(1)
    assert concurrency.series(0.0, 100) == 100


def test_a_series_is_as_long_as_every_gate_lets_it_be() -> None:
    async def story(clock: VirtualClock) -> None:
        own, shared = Gate("orders", [FixedConcurrency(1)], clock), Gate("bank", [Rate(100.0)], clock)
        limits = Limits([own, shared])
        assert limits.series(50) == 1 + 100 * CATCH_UP_SECONDS
        shared.pause(1.0)
        assert limits.series(50) == 0
        await clock.advance(1.0)
        assert limits.series(50) == 1 + 100 * CATCH_UP_SECONDS

    run(story)


def test_nobody_takes_a_series_while_somebody_waits() -> None:
    async def story(clock: VirtualClock) -> None:
        concurrency = FixedConcurrency(1)
        gate = Gate("bank", [concurrency], clock)
        assert gate.try_start(1)
        waiting = asyncio.create_task(gate.start(1, "other"))
        await quiet()
        concurrency.running -= 1  # a place is free, and he who waits has not been told yet
        assert gate.series(10) == 0
        gate.take_back(0)
        assert await waiting

    run(story)


def test_what_one_gate_has_let_in_and_the_next_one_not_is_taken_back_at_once() -> None:
    async def story(clock: VirtualClock) -> None:
        own, shared = Gate("orders", [FixedConcurrency(3)], clock), Gate("bank", [FixedConcurrency(1)], clock)
        assert shared.try_start(1)
        limits = Limits([own, shared])
        assert not limits.try_acquire(1)
        assert own.credit(0.0) == 3
        shared.take_back(1)
        assert limits.try_acquire(1)
        assert (own.credit(0.0), shared.credit(0.0)) == (2, 0)

    run(story)


# What they show.


def test_a_gate_shows_its_limits_who_waits_and_how_long_it_is_paused_yet() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [FixedConcurrency(2), Rate(50.0), Mute(3)], clock)
        tasks = [asyncio.create_task(gate.start(1, None)) for _ in range(5)]
        await quiet()
        await clock.advance(1.0)  # both places are taken by then
        gate.pause(4.0)
        await clock.advance(1.0)
        shown = {"concurrency": 2, "running": 2, "rate_per_second": 50.0, "waiting": 3, "paused_seconds": 3.0}
        assert gate.figures() == pytest.approx(shown)
        gate.refuse(None)
        await asyncio.gather(*tasks)

    run(story)


def test_an_adaptive_limit_and_a_breaker_show_their_states() -> None:
    breaker = Breaker(BreakerPolicy(min_runs=1), random.Random(1))
    concurrency = adaptive(Adaptive(min=2, max=8), 0.0)
    gate = Gate("bank", [breaker, concurrency], VirtualClock())
    shown = gate.figures()
    assert shown == {
        "breaker": "closed",
        "concurrency": 4,
        "concurrency_max": 8,
        "running": 0,
        "phase": "app-limited",
        "refused": 0,
        "waiting": 0,
        "paused_seconds": 0.0,
    }
    assert gate.try_start(1)
    gate.finish(1, 0.1, Verdict.FAILURE)
    assert gate.figures()["breaker"] == "open"


def test_a_gate_is_calm_since_its_downstream_last_held_something_back() -> None:
    async def story(clock: VirtualClock) -> None:
        breaker = Breaker(BreakerPolicy(min_runs=10), random.Random(1))
        gate = Gate("bank", [breaker, FixedConcurrency(8)], clock)
        limits = Limits([gate])

        def end(verdict: Verdict, refusal: Refusal | None = None) -> None:
            assert limits.try_acquire(1)
            limits.release(1, 0.1, verdict, refusal)

        await clock.advance(50.0)
        end(Verdict.SUCCESS)
        end(Verdict.FAILURE)
        assert gate.calm_seconds() == pytest.approx(50.0)  # what it has never met says nothing
        end(Verdict.OVERLOAD, Refusal(None, 0.0))
        assert gate.calm_seconds() == 0.0
        await clock.advance(20.0)
        gate.pause(10.0)
        assert gate.calm_seconds() == 0.0
        await clock.advance(15.0)
        assert gate.calm_seconds() == pytest.approx(5.0)
        while gate.down_seconds() is None:
            end(Verdict.FAILURE)
        await clock.advance(5.0)
        assert gate.calm_seconds() == 0.0  # it is down
        end(Verdict.SUCCESS)
        await clock.advance(7.0)
        assert gate.calm_seconds() == pytest.approx(7.0)

    run(story)


def test_a_limit_that_is_found_holds_back_while_it_is_lower_than_it_might_be_and_full() -> None:
    async def story(clock: VirtualClock) -> None:
        gate = Gate("bank", [adaptive(Adaptive(max=8), 0.0)], clock)

        async def rounds(at_once: int, seconds: float) -> None:
            """Runs of 0.1 s, as many as may be, one after another."""
            until, under_way = clock.monotonic() + seconds, deque[float]()
            while clock.monotonic() < until:
                if len(under_way) < at_once and gate.try_start(1):
                    under_way.append(clock.monotonic())
                await clock.advance(0.1 / at_once / 2)
                while under_way and clock.monotonic() >= under_way[0] + 0.1:
                    gate.finish(1, clock.monotonic() - under_way.popleft(), Verdict.SUCCESS)
            for started_at in under_way:
                gate.finish(1, clock.monotonic() - started_at, Verdict.NOTHING)

        await rounds(1, 30.0)
        assert gate.calm_seconds() >= 30.0
        await rounds(8, 1.0)
        assert gate.calm_seconds() <= 1.0  # it was at 4, and might be 8
        await rounds(8, 30.0)
        assert gate.figures()["concurrency"] == 8
        assert gate.calm_seconds() >= 20.0

    run(story)


class Mute:
    """A limit of somebody's own, with nothing to show."""

    def __init__(self, limit: int) -> None:
        inner = FixedConcurrency(limit)
        self.credit, self.wait, self.start, self.series = inner.credit, inner.wait, inner.start, inner.series
        self.finish, self.take_back = inner.finish, inner.take_back
