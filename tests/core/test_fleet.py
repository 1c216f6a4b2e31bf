"""A rate of the whole fleet: never above it, whoever comes, goes or is late; all of it is used; what happens without a
store."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leveler_memory import MemoryAdapter, MemoryOptions

from leveler.clock import Clock
from leveler.consumer.limits import FixedConcurrency, FleetRate, Gate, Limits, Verdict
from leveler.consumer.limits.fleet import AGAIN_SECONDS, AHEAD_SECONDS, LATE_SECONDS
from leveler.errors import BrokerUnavailable
from leveler.events import Event, Observers, RateScopeChanged
from leveler.fleet import PATIENCE_SECONDS, Fleet
from leveler.schedule import Ask, Mark, Stretch, reserve
from leveler.testing import VirtualClock
from leveler.testing.clock import quiet
from leveler.testing.faults import FaultPlan, FaultyAdapter
from tests.excess import most_above

NAME = "downstreams.billing"


def run(story: Callable[[VirtualClock], Coroutine[object, object, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(VirtualClock()), 60))


class Far(MemoryAdapter):
    """A store to which the way is long, there and back."""

    def __init__(self, clock: Clock, seconds: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__("memory://", MemoryOptions(), clock=clock, deadline_seconds=2.0)
        self._seconds = seconds

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        await self.clock.sleep(self._seconds())
        stretch = await super().reserve(rate, ask)
        await self.clock.sleep(self._seconds())
        return stretch


class Worker:
    """A gate with a rate of the fleet in it, and waiters who want to start all the time: how many runs at once, and how
    long each takes."""

    def __init__(
        self,
        store: MemoryAdapter | FaultyAdapter,
        clock: VirtualClock,
        per_second: float,
        *,
        waiters: int = 8,
        runs: tuple[int, float] = (1000, 0.0),
    ) -> None:
        self.rate = FleetRate(per_second)
        concurrency, self._run_seconds = runs
        self.gate = Gate("billing", [FixedConcurrency(concurrency), self.rate], clock)
        self.events: list[Event] = []
        self.fleet = Fleet(store, {NAME: self.rate}, {NAME: ["orders"]}, clock, Observers([self.events.append]))
        self.starts: list[float] = []
        self._clock = clock
        self._waiters = waiters

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(self.fleet.run())]
        self._tasks += [asyncio.create_task(self._want()) for _ in range(self._waiters)]

    async def die(self) -> None:
        """As SIGKILL ends it: nothing is given back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _want(self) -> None:
        while await self.gate.start(1, self):
            self.starts.append(self._clock.monotonic())
            if self._run_seconds:
                await self._clock.sleep(self._run_seconds)
            self.gate.finish(1, self._run_seconds, Verdict.SUCCESS)


def most_in(starts: Sequence[float], seconds: float) -> int:
    starts = sorted(starts)
    return max((bisect_right(starts, start + seconds) - index for index, start in enumerate(starts)), default=0)


# The schedule


ASK = Ask("me", 4, 0.25, AHEAD_SECONDS, 0.1, 60.0)


def test_stretches_follow_each_other() -> None:
    mark, wait = reserve(None, ASK, 100.0)
    assert mark == pytest.approx(Mark(100.9, 1.0))
    assert wait == pytest.approx(-0.1)
    mark, wait = reserve(mark, ASK, 100.5)
    assert mark == pytest.approx(Mark(101.9, 1.0))
    assert wait == pytest.approx(0.4)


def test_time_in_which_nobody_started_anything_is_not_saved_up() -> None:
    _, wait = reserve(Mark(100.0, 1.0), ASK, 5000.0)
    assert wait == pytest.approx(-0.1)


def test_nobody_reserves_what_is_far_away() -> None:
    mark, wait = reserve(Mark(103.0, 4.0), ASK, 100.0)
    assert mark is None
    assert wait == pytest.approx(2.0)
    assert reserve(Mark(103.0, 4.0), ASK, 102.0)[0] is not None


def test_a_store_whose_clock_is_set_back_stands_still_for_no_longer_than_was_reserved() -> None:
    mark, wait = reserve(Mark(5000.0, 1.0), ASK, 100.0)
    assert mark == pytest.approx(Mark(100.9, 1.0))
    assert wait == pytest.approx(-0.1)


# The limit, by itself


def supplied(per_second: float, *stretches: Stretch, at: float = 0.0) -> FleetRate:
    rate = FleetRate(per_second)
    for stretch in stretches:
        rate.supply(stretch, at)
    return rate


def test_it_starts_nothing_before_it_was_given_something() -> None:
    rate = FleetRate(10.0)
    assert (rate.wait(0.0), rate.series(0.0, 5)) == (float("inf"), 0)
    assert rate.credit(0.0, 0.1) >= 1  # or nobody would ever receive a message that could wait for a start


def test_it_starts_one_an_interval_in_its_stretch_and_no_more() -> None:
    rate = supplied(10.0, Stretch(0.5, 3, 1))
    started = []
    for tick in range(20):
        now = tick / 20 + 1e-9
        while rate.wait(now) == 0.0:
            rate.start(now, 1)
            started.append(now)
    assert started == pytest.approx([0.5, 0.6, 0.7])
    assert rate.wait(2.0) == float("inf")


def test_a_start_that_is_not_used_in_time_passes() -> None:
    rate = supplied(20.0, Stretch(0.0, 20, 1))
    assert rate.series(0.44, 10) == 2  # those of 0.35 and of 0.4
    assert rate.wait(2.0) == float("inf")


def test_a_start_that_is_taken_back_can_be_used_and_is_not_too_early_for_it() -> None:
    rate = supplied(10.0, Stretch(0.0, 1, 1), Stretch(1.0, 1, 1))
    rate.start(0.0, 1)
    rate.take_back(1)
    assert (rate.wait(0.05), rate.series(0.05, 5)) == (0.0, 1)
    rate.start(0.05, 1)
    assert rate.wait(0.05) == pytest.approx(0.95)


def test_a_batch_is_paid_for_by_those_that_come_after() -> None:
    rate = supplied(10.0, Stretch(0.0, 2, 1))
    rate.start(0.0, 1)
    rate.charge(7)
    assert (rate.wait(0.0), rate.ask, rate.ask_at) == (float("inf"), 1 + 6, float("-inf"))
    rate.supply(Stretch(0.1, 7, 1), 0.0)
    assert rate.wait(0.0) == pytest.approx(0.7)
    rate.start(0.71, 1)
    rate.charge(-1)
    assert rate.wait(0.71) == 0.0


def test_it_asks_for_what_somebody_waits_for_and_for_nothing_when_idle() -> None:
    rung: list[int] = []
    rate = supplied(100.0, Stretch(0.0, 10, 1))
    rate.listen(lambda: rung.append(1))
    rate.want()
    assert (rate.ask_at, rung) == (float("inf"), [])  # more than half of it is left
    rate.start(0.05, 6)
    rate.want()
    assert (rate.ask_at, rate.ask, rung) == (float("-inf"), 10, [1])


def test_what_it_takes_at_a_time_gets_less_the_more_there_are() -> None:
    assert [supplied(200.0, Stretch(0.01, 1, workers)).ask for workers in (1, 2, 5, 50)] == [20, 10, 4, 1]


def test_it_takes_more_while_nobody_is_before_it_and_its_part_again_when_somebody_is() -> None:
    rate = supplied(200.0, Stretch(0.01, 5, 4))
    asks = []
    for number, wait_seconds in enumerate((-0.01, 0.0, 0.0, 0.01, 0.01, 0.01)):
        rate.start(0.01 * number, 1)
        rate.supply(Stretch(wait_seconds, 1, 4), 0.01 * number)
        asks.append(rate.ask)
    assert asks == [10, 20, 20, 10, 5, 5]


def test_it_takes_no_more_than_it_uses() -> None:
    rate = supplied(200.0, Stretch(0.01, 20, 1))
    rate.start(0.05, 3)  # the rest passes
    rate.supply(Stretch(0.01, 20, 1), 0.5)
    assert rate.ask == 1
    rate.start(0.7, 20)
    rate.supply(Stretch(0.01, 20, 1), 0.7)
    assert rate.ask == 10


def test_it_expects_no_more_than_its_share() -> None:
    rate = supplied(100.0, Stretch(0.0, 10, 4))
    assert rate.credit(0.0, 0.1) == 10 + 1
    assert rate.credit(0.0, 0.5) == 10 + 11
    rate.start(0.0, 14)
    assert rate.credit(0.1, 0.0) == 1 - 4


def test_one_that_is_sent_away_asks_again_in_time_and_receives_nothing_till_then() -> None:
    rate = supplied(0.01, Stretch(80.0, 0, 1))
    rate.want()
    assert (rate.credit(0.0, 0.1), rate.wait(0.0)) == (0.0, 80.0)
    assert rate.ask_at == 20.0  # so that it is counted, though it has to wait longer
    rate.supply(Stretch(0.2, 0, 8), 30.0)
    rate.want()
    assert rate.ask_at == 30.5  # not all of the eight ask at the same moment


# A gate


def test_nothing_is_asked_for_while_something_else_stands_in_the_way() -> None:
    async def story(clock: VirtualClock) -> None:
        rate, concurrency = FleetRate(10.0), FixedConcurrency(1)
        gate = Gate("billing", [concurrency, rate], clock)
        rate.supply(Stretch(0.0, 1, 1), 0.0)
        assert gate.try_start(1)
        waiting = asyncio.create_task(gate.start(1, None))
        await quiet()
        assert rate.ask_at == float("inf")
        gate.finish(1, 0.0, Verdict.SUCCESS)
        assert rate.ask_at == float("-inf")
        rate.supply(Stretch(0.0, 1, 1), 0.0)
        await quiet()
        assert waiting.done()
        gate.finish(1, 0.0, Verdict.SUCCESS)
        gate.pause(60.0)
        another = asyncio.create_task(gate.start(1, None))
        await quiet()
        assert rate.ask_at == float("inf")
        gate.refuse(None)
        assert not await another

    run(story)


def test_the_end_of_a_pause_is_followed_by_an_ask() -> None:
    """Nobody else looks: there may be no other run whose end would wake who waits."""

    async def story(clock: VirtualClock) -> None:
        rate = supplied(10.0, Stretch(0.0, 1, 1))
        gate = Gate("billing", [FixedConcurrency(8), rate], clock)
        assert gate.try_start(1)
        gate.pause(3.0)
        gate.finish(1, 0.0, Verdict.OVERLOAD)
        waiting = asyncio.create_task(gate.start(1, None))
        await clock.advance(2.9)
        assert rate.ask_at == float("inf")
        await clock.advance(0.2)
        assert rate.ask_at == float("-inf")
        rate.supply(Stretch(0.0, 1, 1), clock.monotonic())
        await quiet()
        assert waiting.done()

    run(story)


def test_a_start_that_another_gate_does_not_let_through_is_not_lost() -> None:
    async def story(clock: VirtualClock) -> None:
        rate = FleetRate(10.0)
        rate.supply(Stretch(0.0, 1, 1), 0.0)
        own, shared = Gate("orders", [rate], clock), Gate("billing", [FixedConcurrency(1)], clock)
        assert shared.try_start(1)
        limits = Limits([own, shared])
        assert not limits.try_acquire(1)
        shared.take_back(1)
        assert limits.try_acquire(1)

    run(story)


# The fleet


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    workers=st.integers(1, 6),
    per_second=st.sampled_from([2.0, 7.5, 40.0, 150.0]),
    way_seconds=st.sampled_from([0.0, 0.005, 0.08]),
)
def test_however_they_interleave_they_never_start_more_than_the_rate(
    seed: int, workers: int, per_second: float, way_seconds: float
) -> None:
    """The bound is the same for any number of workers: the lateness of a start, and that of the store's answers."""

    async def story(clock: VirtualClock) -> None:
        dice = random.Random(seed)
        store = Far(clock, lambda: dice.uniform(0.0, way_seconds))
        crew = [Worker(store, clock, per_second, waiters=dice.randint(1, 8)) for _ in range(workers)]
        here = list[Worker]()
        for _ in range(12):  # they come, die and come again
            for worker in crew:
                if worker in here and dice.random() < 0.3:
                    here.remove(worker)
                    await worker.die()
                elif worker not in here and dice.random() < 0.7:
                    here.append(worker)
                    worker.begin()
            await clock.advance(dice.uniform(0.0, 1.0))
        for worker in here:
            await worker.die()
        starts = [start for worker in crew for start in worker.starts]
        assert most_above(starts, per_second) <= 1 + per_second * (LATE_SECONDS + way_seconds) + 1e-6

    run(story)


@pytest.mark.parametrize(("workers", "per_second"), [(1, 40.0), (4, 40.0), (3, 200.0), (12, 5.0), (2, 0.5)])
def test_all_of_the_rate_is_used_and_everybody_gets_some(workers: int, per_second: float) -> None:
    async def story(clock: VirtualClock) -> None:
        dice = random.Random(3)
        store = Far(clock, lambda: dice.uniform(0.0, 0.01))
        crew = [Worker(store, clock, per_second) for _ in range(workers)]
        for worker in crew:
            worker.begin()
        seconds = max(20.0, 40 / per_second)
        await clock.advance(seconds)
        started = [len(worker.starts) for worker in crew]
        assert 0.97 * per_second * seconds - 1 <= sum(started) <= per_second * (seconds + LATE_SECONDS) + 1
        if per_second >= 40:  # each comes round ten times a second
            assert min(started) >= 0.8 * sum(started) / workers
        for worker in crew:
            await worker.die()

    run(story)


@pytest.mark.parametrize("way_seconds", [0.001, 0.03])
@pytest.mark.parametrize("per_second", [40.0, 400.0])
@pytest.mark.parametrize("slow", [(1, 0.5, 3), (1, 0.1, 3), (2, 0.2, 6), (1, 1.0, 10)], ids=str)
def test_what_slow_workers_leave_a_fast_one_takes(
    way_seconds: float, per_second: float, slow: tuple[int, float, int]
) -> None:
    """What is reserved and not used passes: nobody may reserve much more than he uses."""

    async def story(clock: VirtualClock) -> None:
        store = Far(clock, lambda: way_seconds)
        concurrency, run_seconds, count = slow
        crew = [Worker(store, clock, per_second, runs=(concurrency, run_seconds)) for _ in range(count)]
        crew.append(Worker(store, clock, per_second, waiters=64, runs=(64, 0.05)))
        for worker in crew:
            worker.begin()
        await clock.advance(15)
        for worker in crew:
            await worker.die()
        lately = sum(start >= 5 for worker in crew for start in worker.starts)
        assert lately >= (0.98 if way_seconds < 0.01 else 0.9) * per_second * 10

    run(story)


def test_others_take_the_share_of_one_that_died() -> None:
    async def story(clock: VirtualClock) -> None:
        store = Far(clock)
        crew = [Worker(store, clock, 40.0) for _ in range(4)]
        for worker in crew:
            worker.begin()
        await clock.advance(10.0)
        await crew[0].die()
        died = len(crew[0].starts)
        before = sum(len(worker.starts) for worker in crew)
        await clock.advance(5.0)  # the dead one is still counted for a while, and nobody waits for that
        after = sum(len(worker.starts) for worker in crew)
        assert after - before >= 200 - 6  # at most the stretches it had
        assert len(crew[0].starts) == died
        for worker in crew[1:]:
            await worker.die()

    run(story)


def test_an_idle_worker_leaves_everything_to_the_others() -> None:
    async def story(clock: VirtualClock) -> None:
        store = FaultyAdapter(Far(clock), FaultPlan())
        idle, busy = Worker(store, clock, 40.0, waiters=0), Worker(store, clock, 40.0)
        idle.begin()
        await clock.advance(5.0)
        assert store.faults.calls == []
        busy.begin()
        await clock.advance(10.0)
        assert len(busy.starts) >= 0.98 * 400
        await idle.die()
        await busy.die()

    run(story)


def test_without_its_store_each_keeps_to_its_share_and_says_so_once_and_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(clock: VirtualClock) -> None:
        caplog.set_level("INFO", "leveler")
        faults = FaultPlan()
        store = FaultyAdapter(Far(clock), faults)
        crew = [Worker(store, clock, 40.0) for _ in range(4)]
        for worker in crew:
            worker.begin()
        await clock.advance(5.0)
        assert crew[0].gate.figures()["rate_scope"] == "fleet"
        with faults.failing("reserve", BrokerUnavailable("connection refused")):
            await clock.advance(10.0)
            assert crew[0].gate.figures()["rate_scope"] == "local-share"
            assert crew[0].gate.figures()["rate_per_second"] == 40.0
            [line] = crew[0].fleet.degraded()["orders"]
            assert line.startswith("downstreams.billing.rate: <")
            assert line.endswith("keeps to its share, 10/s")
        away = [start for worker in crew for start in worker.starts if 6.0 <= start < 15.0]
        assert 0.95 * 360 <= len(away) <= 40.0 * (9.0 + LATE_SECONDS) + 4
        await clock.advance(10.0)
        assert crew[0].fleet.degraded() == {}
        assert crew[0].events == [
            RateScopeChanged("orders", NAME, is_fleet=False, per_second=10.0),
            RateScopeChanged("orders", NAME, is_fleet=True, per_second=40.0),
        ]
        lines = [record.getMessage() for record in caplog.records]
        assert sum("is away" in line and "connection refused" in line for line in lines) == 4
        assert sum("answers again: 40/s for all" in line for line in lines) == 4
        starts = [start for worker in crew for start in worker.starts]
        assert len([start for start in starts if 16.0 <= start < 25.0]) >= 0.97 * 360
        # While some have noticed that it went or came and others have not.
        assert most_above(starts, 40.0) <= 4 + 40.0 * (AGAIN_SECONDS + LATE_SECONDS)
        for worker in crew:
            await worker.die()

    run(story)


def test_an_answer_that_takes_too_long_counts_as_none() -> None:
    async def story(clock: VirtualClock) -> None:
        faults = FaultPlan()
        worker = Worker(FaultyAdapter(Far(clock), faults), clock, 40.0)
        faults.delay("reserve", 5.0, after=True)
        worker.begin()
        await clock.advance(PATIENCE_SECONDS + 0.001)
        assert worker.gate.figures()["rate_scope"] == "local-share"
        await clock.advance(AGAIN_SECONDS)
        assert worker.gate.figures()["rate_scope"] == "fleet"
        before = len(worker.starts)
        await clock.advance(5.0)  # the late one comes in between
        assert len(worker.starts) - before <= 40.0 * (5.0 + LATE_SECONDS) + 1
        await worker.die()

    run(story)


class Still(MemoryAdapter):
    """A store whose answer is heard late, because the process stood still, and its timers with it."""

    still_seconds = 0.0

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        assert isinstance(self.clock, VirtualClock)
        stretch = await super().reserve(rate, ask)
        over, self.still_seconds = self.clock.monotonic() + self.still_seconds, 0.0
        self.clock.call_later(over - self.clock.monotonic(), lambda: None)
        while self.clock.monotonic() < over:
            self.clock.fire_next()
        return stretch


@pytest.mark.parametrize(("still_seconds", "used"), [(0.9, True), (3.0, False)])
def test_what_was_reserved_before_a_process_stood_still_has_passed_when_it_goes_on(
    still_seconds: float, used: bool
) -> None:
    async def story(clock: VirtualClock) -> None:
        store = Still("memory://", MemoryOptions(), clock=clock, deadline_seconds=2.0)
        store.still_seconds = still_seconds
        worker = Worker(store, clock, 40.0)
        worker.begin()
        await quiet()
        assert clock.monotonic() == still_seconds
        assert (worker.starts != []) is used
        await clock.advance(5.0)
        assert len(worker.starts) > 0.8 * 40 * 4  # and it asks again
        await worker.die()

    run(story)


def test_who_was_never_answered_does_not_know_its_share_and_starts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Else each of those that start while the store is away would take the whole rate."""

    async def story(clock: VirtualClock) -> None:
        faults = FaultPlan()
        worker = Worker(FaultyAdapter(Far(clock), faults), clock, 40.0)
        with faults.failing("reserve", BrokerUnavailable("read-only")):
            worker.begin()
            await clock.advance(10.0)
            assert worker.starts == []
            assert worker.gate.credit(1.0) <= 0  # beyond those that wait already
            assert worker.events == [RateScopeChanged("orders", NAME, False, 0.0)]
            [line] = worker.fleet.degraded()["orders"]
            assert line.endswith("is away: this one starts nothing before it has heard how many share it")
            assert line in caplog.text
        await clock.advance(2.0)
        assert len(worker.starts) >= 0.9 * 40 * 1.5
        assert worker.fleet.degraded() == {}
        await worker.die()

    run(story)


def test_a_bug_in_the_adapter_of_the_store_is_an_answer_that_never_came() -> None:
    async def story(clock: VirtualClock) -> None:
        faults = FaultPlan()
        worker = Worker(FaultyAdapter(Far(clock), faults), clock, 40.0)
        worker.begin()
        await clock.advance(1.0)
        with faults.failing("reserve", RuntimeError("a bug")):
            await clock.advance(2.0)
            assert worker.gate.figures()["rate_scope"] == "local-share"
        began = len(worker.starts)
        await clock.advance(2.0)
        assert worker.gate.figures()["rate_scope"] == "fleet"
        assert len(worker.starts) - began >= 0.9 * 40 * 1.5
        await worker.die()

    run(story)


def test_a_fleet_that_stops_asks_no_more_and_ends() -> None:
    async def story(clock: VirtualClock) -> None:
        faults = FaultPlan()
        worker = Worker(FaultyAdapter(Far(clock), faults), clock, 40.0)
        running: asyncio.Task[Any] = asyncio.create_task(worker.fleet.run())
        await quiet()
        worker.fleet.stop()
        await running
        assert faults.calls == []

    run(story)
