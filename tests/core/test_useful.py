"""How many workers would be useful: what one of them says, and that a scaler which believes them all settles."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveler.consumer.limits import Figures
from leveler.monitor.useful import CALM_SECONDS, Load, Useful, Way, together, useful
from leveler.supervisor.scaling import Scaling, ScalingPolicy

LOAD = Load(backlog=6000, seconds_each=0.1, target_wait_seconds=300.0)


def way(limits: Figures, *loads: Load, calm_seconds: float = 0.0) -> Way:
    return Way(limits=limits, calm_seconds=calm_seconds, loads=loads)


# ---- what the backlog needs


def test_the_backlog_needs_as_many_as_work_it_off_within_the_target() -> None:
    # One worker: 2 places, 10 messages a second each, 300 s: 6,000 messages.
    assert useful([way({"concurrency": 2}, LOAD)]).needed == pytest.approx(1.0)
    assert useful([way({"concurrency": 2}, replace(LOAD, backlog=15_000))]).needed == pytest.approx(2.5)
    assert useful([way({"concurrency": 2}, replace(LOAD, target_wait_seconds=30.0))]).needed == pytest.approx(10.0)


def test_a_rate_of_each_process_is_all_that_a_worker_works_off() -> None:
    assert useful([way({"concurrency": 16, "rate_per_second": 5.0}, LOAD)]).needed == pytest.approx(4.0)
    assert useful([way({"rate_per_second": 0.001}, replace(LOAD, backlog=3))]).needed == pytest.approx(3.0)


@pytest.mark.parametrize("scope", ["fleet", "local-share"])
def test_of_a_rate_of_the_fleet_as_many_make_use_as_can_start_so_many(scope: str) -> None:
    endless = replace(LOAD, backlog=10**9, per_second=50.0)
    shared = way({"rate_per_second": 50.0, "rate_scope": scope}, endless)
    # 50 a second of 0.1 s each: 5 places. One worker has 2.
    assert useful([way({"concurrency": 2}, endless), shared]).needed == pytest.approx(2.5)
    assert useful([way({"concurrency": 16}, endless), shared]).needed == 1.0
    assert useful([way({"concurrency": 16}, replace(endless, backlog=0)), way(shared.limits)]).needed == 0.0
    assert useful([way({"concurrency": 16}, endless), shared]).busy == 0.0


def test_nobody_is_of_use_who_has_no_message_to_run() -> None:
    slow = replace(LOAD, backlog=10, seconds_each=3600.0)
    assert useful([way({"concurrency": 4}, slow)]).needed == pytest.approx(2.5)
    assert useful([way({"concurrency": 4}, replace(slow, batch_size=10))]).needed == pytest.approx(0.25)


def test_an_adaptive_limit_counts_as_what_it_may_become() -> None:
    assert useful([way({"concurrency": 1, "concurrency_max": 2}, LOAD)]).needed == pytest.approx(1.0)


def test_the_narrowest_way_counts_and_queues_that_share_one_add_up() -> None:
    own, shared = way({"concurrency": 4}, LOAD), way({"concurrency": 2}, LOAD, LOAD)
    assert useful([own]).needed == pytest.approx(0.5)
    assert useful([own, shared]).needed == pytest.approx(2.0)


@pytest.mark.parametrize("unknown", [replace(LOAD, backlog=None), replace(LOAD, seconds_each=None)])
def test_what_nobody_knows_is_no_number(unknown: Load) -> None:
    assert useful([way({"concurrency": 2}, LOAD, unknown)]).needed is None
    assert useful([way({"concurrency": 2}, LOAD), way({"concurrency": 9}, unknown)]).needed is None


def test_an_empty_queue_needs_nobody_whatever_else_is_unknown() -> None:
    assert useful([way({"concurrency": 2}, replace(LOAD, backlog=0, seconds_each=None))]).needed == 0.0


def test_runs_that_take_no_time_need_somebody_all_the_same() -> None:
    needed = useful([way({"concurrency": 2}, replace(LOAD, seconds_each=0.0))]).needed
    assert needed is not None
    assert needed > 0


# ---- what is busy, and what is borne


def test_a_worker_is_as_busy_as_its_places_or_its_rate() -> None:
    assert useful([way({"concurrency": 8}, replace(LOAD, running=2.0))]).busy == 0.25
    assert useful([way({"concurrency": 8, "rate_per_second": 4.0}, replace(LOAD, per_second=3.0))]).busy == 0.75
    assert useful([way({"concurrency": 8}, replace(LOAD, running=9.0))]).busy == 1.0
    assert useful([way({"rate_per_second": 1.0}, replace(LOAD, running=9.0))]).busy == 0.0


@pytest.mark.parametrize(("calm_seconds", "borne"), [(0.0, 1.0), (CALM_SECONDS - 1, 1.0), (CALM_SECONDS, 2.0)])
def test_a_second_one_is_borne_only_after_a_calm_minute(calm_seconds: float, borne: float) -> None:
    calm = way({"concurrency": 8}, LOAD, calm_seconds=900.0)
    assert useful([calm, way({"concurrency": 8}, LOAD, calm_seconds=calm_seconds)]).borne == borne


# ---- all workers together


def test_together_they_are_needed_but_never_more_than_borne_nor_fewer_than_busy() -> None:
    one = Useful(needed=9.0, busy=0.5, borne=2.0)
    assert together([one, one, one]) == 6
    assert together([replace(one, needed=3.2)] * 3) == 4
    assert together([replace(one, needed=0.1)] * 3) == 2  # one and a half is busy
    assert together([replace(one, needed=0.0, busy=0.0)] * 3) == 0
    assert together([]) is None
    assert together([replace(one, needed=None)]) is None
    assert together([replace(one, needed=None), replace(one, needed=4.0)]) == 4


@given(
    limits=st.fixed_dictionaries(
        {}, optional={"concurrency": st.integers(1, 500), "rate_per_second": st.floats(0.01, 1e4)}
    ),
    loads=st.lists(
        st.builds(
            Load,
            backlog=st.none() | st.integers(0, 10**7),
            seconds_each=st.none() | st.floats(0, 1e5),
            running=st.floats(0, 1000),
            per_second=st.floats(0, 1e5),
            batch_size=st.integers(1, 100),
            target_wait_seconds=st.floats(0.001, 1e6),
        ),
        max_size=3,
    ),
    calm_seconds=st.floats(0, 1e6),
    workers=st.integers(1, 50),
)
def test_whatever_is_true_no_worker_says_nonsense(
    limits: dict[str, Any], loads: list[Load], calm_seconds: float, workers: int
) -> None:
    told = useful([Way(limits=limits, calm_seconds=calm_seconds, loads=loads)])
    backlog = sum(load.backlog or 0 for load in loads)
    assert told.needed is None or 0 <= told.needed <= backlog * (1 + 1e-9)
    assert 0 <= told.busy <= 1 <= told.borne <= 2
    number = together([told] * workers)
    assert number is None or number <= 2 * workers


# ---- a fleet, a scaler and a downstream


@dataclass
class Worker:
    """One, since it was started."""

    starts_at: float
    calm_since: float


@dataclass
class World:
    """Workers that a scaler starts and stops, in steps of a second: messages flow like water.

    Up to its knee the downstream serves every call in `LATENCY_SECONDS`; beyond, calls wait for one another. Workers
    with an adaptive limit have found equal parts of the knee, those with a fixed one have not looked for it.
    """

    places: int = 8
    adaptive: bool = False
    knee: float = 1e9
    rate: float | None = None
    target_wait_seconds: float = 300.0
    least: int = 1
    most: int = 100
    #: From the decision to the first message, and from the figures to the decision.
    start_seconds: float = 45.0
    stale_seconds: float = 30.0
    every_seconds: float = 15.0
    #: "Kubernetes", with a tolerance, and a look back before it stops anybody; or one that "obeys at once"; or
    #: "leveler", the one of ``leveler run --processes``.
    scaler: str = "Kubernetes"

    now: float = 0.0
    ready: float = 0.0
    running: float = 0.0
    workers: list[Worker] = field(default_factory=list)
    seen: deque[tuple[float, float | None]] = field(default_factory=deque)
    wanted: deque[tuple[float, int]] = field(default_factory=deque)
    counts: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    dones: list[float] = field(default_factory=list)
    backlogs: list[float] = field(default_factory=list)

    LATENCY_SECONDS = 0.1

    def run(self, seconds: int, arrivals: Callable[[float], float]) -> None:
        for _ in range(seconds):
            self._flow(arrivals(self.now))
            if self.now % self.every_seconds == 0:
                self._scale()
            self.counts.append(len(self.workers))
            self.now += 1.0

    @property
    def up(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.starts_at <= self.now]

    def limit(self, workers: int) -> float:
        """Of each of so many."""
        return min(self.places, max(1.0, self.knee / max(1, workers))) if self.adaptive else self.places

    @property
    def latency_seconds(self) -> float:
        return self.LATENCY_SECONDS * max(1.0, self.running / self.knee)

    def _flow(self, arriving: float) -> None:
        workers = self.up
        limit = self.limit(len(workers))
        self.ready += arriving
        most = len(workers) * limit
        fastest = min(most, self.knee) / self.LATENCY_SECONDS
        if self.rate is not None:
            fastest = min(fastest, self.rate * len(workers))
        done = min(self.ready, fastest)
        self.ready -= done
        is_full = self.ready > 0 and done == fastest
        self.running = most if is_full and self.rate is None else done * self.LATENCY_SECONDS
        self.dones.append(done)
        self.calls.append(self.running)
        self.backlogs.append(self.ready + self.running)
        self.waits.append(self.ready / done if done else float("inf") if self.ready else 0.0)
        if self.adaptive and is_full and limit < self.places:
            for worker in workers:
                worker.calm_since = self.now

    def _told(self) -> list[Useful]:
        up = self.up
        limits: dict[str, float | str] = {"concurrency": self.limit(len(up))}
        if self.adaptive:
            limits["concurrency_max"] = self.places
        if self.rate is not None:
            limits["rate_per_second"] = self.rate
        done, running = (sum(values[-60:]) / 60 for values in (self.dones, self.calls))
        load = Load(
            backlog=int(self.ready + self.running + 0.5),
            seconds_each=self.latency_seconds,
            running=running / max(1, len(up)),
            per_second=done / max(1, len(up)),
            target_wait_seconds=self.target_wait_seconds,
        )
        return [useful([way(limits, load, calm_seconds=self.now - worker.calm_since)]) for worker in up]

    def __post_init__(self) -> None:
        self.scaling = Scaling(self.least, self.most, ScalingPolicy())
        if self.scaler == "leveler":  # starts processes on its own host, and asks them when it decides
            self.start_seconds, self.stale_seconds = 2.0, 0.0
            self._be(self.least)

    @property
    def settles(self) -> bool:
        """It leaves them as they are when nothing changes."""
        return self.scaler != "obeys at once"

    def _scale(self) -> None:
        self.seen.append((self.now, clamped(self._told())))
        while len(self.seen) > 1 and self.seen[1][0] <= self.now - self.stale_seconds:
            self.seen.popleft()
        now = len(self.workers)
        value = self.seen[0][1] if self.seen[0][0] <= self.now - self.stale_seconds else None
        if self.scaler == "leveler":
            useful = None if value is None else ceil(value)
            self._be(self.scaling.wanted(self.now, [useful], there=now))
            return
        if value is None:  # nobody answers: as many as there are, or the first one, if there is anything to do
            wanted = max(now, 1 if self.ready else 0)
        elif self.settles and now and abs(value / now - 1) <= 0.1:
            wanted = now
        else:
            wanted = -int(-value // 1)
        if self.settles:
            self.wanted.append((self.now, wanted))
            while self.wanted[0][0] < self.now - 300:
                self.wanted.popleft()
            wanted = max(wanted, min(now, max(one for _, one in self.wanted)))
        self._be(min(self.most, max(self.least, wanted)))

    def _be(self, wanted: int) -> None:
        starts_at = self.now + self.start_seconds
        self.workers += [Worker(starts_at, starts_at) for _ in range(wanted - len(self.workers))]
        del self.workers[wanted:]


def clamped(told: Sequence[Useful]) -> float | None:
    """What the query for Prometheus makes of them."""
    needed = [one.needed for one in told if one.needed is not None]
    low, high = sum(one.busy for one in told), sum(one.borne for one in told)
    return max(low, min(high, max(needed))) if needed else None


def changes(counts: Sequence[int]) -> int:
    return sum(before != after for before, after in pairwise(counts))


def turns(counts: Sequence[int]) -> int:
    """How often it changes its direction."""
    steps = [after > before for before, after in pairwise(counts) if before != after]
    return sum(before != after for before, after in pairwise(steps))


def assert_settled(world: World) -> None:
    """It goes up once and down once and stays. Who obeys at once starts and stops the last one, and no other."""
    last = world.counts[-3600:]
    if world.settles:
        assert (changes(last), turns(world.counts)) in ((0, 0), (0, 1))
    assert max(last) - min(last) <= 1


def noisy(per_second: float) -> Callable[[float], float]:
    """By as much as a third more or less."""
    rng = random.Random(7)
    return lambda now: per_second * rng.uniform(0.7, 1.3)


def steady(per_second: float) -> Callable[[float], float]:
    return lambda now: per_second


OTHERS = pytest.mark.parametrize("scaler", ["Kubernetes", "obeys at once"])
SCALERS = pytest.mark.parametrize("scaler", ["Kubernetes", "obeys at once", "leveler"])


@SCALERS
@pytest.mark.parametrize("arrivals", [steady, noisy])
@pytest.mark.parametrize("workers", [0.3, 1.0, 2.5, 7.2, 20.4])
def test_it_settles_at_as_many_as_what_arrives_keeps_busy(
    workers: float, arrivals: Callable[[float], Callable[[float], float]], scaler: str
) -> None:
    world = World(scaler=scaler)
    world.run(3 * 3600, arrivals(workers * 80))  # 8 places, 0.1 s: one does 80 a second

    assert_settled(world)
    assert workers * 0.95 <= world.counts[-1] <= workers * 1.1 + 1
    assert max(world.waits[-3600:]) <= 1.2 * world.target_wait_seconds


@SCALERS
def test_a_burst_gets_what_works_it_off_in_time_and_then_the_least_is_left(scaler: str) -> None:
    world = World(scaler=scaler)
    world.run(600, steady(8))
    assert world.counts[-1] == 1

    world.ready += 240_000  # ten workers for five minutes
    world.run(3600, steady(8))

    peak = max(world.counts)
    assert 6 <= peak <= 10  # what one works off while others come needs nobody
    done_at = next(at for at, wait in enumerate(world.waits[600:]) if wait == 0)
    assert done_at <= 2 * world.target_wait_seconds + 5 * 60  # it doubles once a minute at most
    assert world.counts[-1] == 1
    assert not world.settles or turns(world.counts) == 1


@SCALERS
@pytest.mark.parametrize("knee", [3.0, 20.0, 100.0])
def test_nobody_is_added_beyond_what_the_downstream_bears(knee: float, scaler: str) -> None:
    world = World(adaptive=True, knee=knee, places=8, scaler=scaler)
    world.run(3 * 3600, steady(5 * knee / world.LATENCY_SECONDS))  # five times what it serves

    enough = knee / world.places
    assert max(world.counts) <= 2 * enough + 2
    assert max(world.counts) * world.places >= knee
    assert_settled(world)
    assert max(world.calls[3600:]) <= max(knee, len(world.workers)) + 1e-6


@SCALERS
def test_when_the_downstream_can_do_less_nobody_comes_and_when_it_recovers_the_backlog_is_done(scaler: str) -> None:
    world = World(adaptive=True, knee=80.0, places=8, scaler=scaler)
    world.run(3600, steady(400))
    before = world.counts[-1]

    world.knee = 20.0
    world.run(1800, steady(400))
    assert max(world.counts[3600:]) <= before

    world.knee = 80.0
    world.run(2 * 3600, steady(400))
    assert world.waits[-1] == 0
    assert 5 <= world.counts[-1] <= 6


@SCALERS
def test_of_a_rate_each_worker_brings_its_own(scaler: str) -> None:
    world = World(rate=10.0, scaler=scaler)
    world.run(3 * 3600, steady(45.0))
    assert 5 <= world.counts[-1] <= 6
    assert_settled(world)


@OTHERS
def test_from_none_it_comes_back_for_one_message_and_goes_again(scaler: str) -> None:
    world = World(least=0, scaler=scaler)
    world.run(600, steady(0))
    assert world.counts[-1] == 0

    world.ready += 1
    world.run(1200, steady(0))

    assert max(world.counts) == 1
    assert (world.counts[-1], world.ready) == (0, 0)


@OTHERS
@pytest.mark.parametrize("late_seconds", [15.0, 110.0])
@pytest.mark.parametrize("every_seconds", [5.0, 60.0])
def test_a_late_scaler_goes_up_once_and_down_once_and_stays(
    late_seconds: float, every_seconds: float, scaler: str
) -> None:
    half = late_seconds / 2
    world = World(start_seconds=half, stale_seconds=half, every_seconds=every_seconds, scaler=scaler)
    world.run(3 * 3600, steady(800.0))

    assert_settled(world)
    assert 10 <= world.counts[-1] <= 11
    assert max(world.counts) <= max(world.backlogs) / (80 * world.target_wait_seconds) + 1


def test_on_one_host_workers_may_take_long_to_start() -> None:
    world = World(scaler="leveler")
    world.start_seconds = 110.0
    world.run(3 * 3600, noisy(7.2 * 80))
    assert_settled(world)
