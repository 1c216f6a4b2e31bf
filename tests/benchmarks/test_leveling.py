"""The levelling benchmark measures what it says, and leveler passes the easiest part of it in every test run."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from statistics import median

import msgspec
import pytest

from leveler import Adaptive
from tests.benchmarks.leveling.bars import bar_of
from tests.benchmarks.leveling.clock import EventClock
from tests.benchmarks.leveling.downstream import Kind, Shape, downstream
from tests.benchmarks.leveling.measures import measures
from tests.benchmarks.leveling.optimum import Capacity, optimum
from tests.benchmarks.leveling.real.run import consume
from tests.benchmarks.leveling.rows import ROWS
from tests.benchmarks.leveling.run import run
from tests.benchmarks.leveling.suite import against_bars, table, take
from tests.benchmarks.leveling.traces import TRACES, Trace, trace

SHAPE = Shape(kind="soft", knee=10, latency_seconds=0.1, cv=0.3)


def backlog(shape: Shape, seconds: float) -> Trace:
    capacity = Capacity([(0.0, float(shape.knee))], shape.latency_seconds)
    return Trace("backlog", shape, seconds, [0.0] * int(1.5 * seconds * shape.per_second), capacity)


def test_the_optimum_keeps_the_downstream_at_its_knee_and_no_more() -> None:
    best = optimum([0.0] * 30, Capacity([(0.0, 10.0)], 0.1), 60.0)
    assert best.done[9] == pytest.approx(0.1 + 9 * 0.01)  # one each hundredth of a second, each a tenth later
    assert best.done[-1] == pytest.approx(0.1 + 29 * 0.01)
    [(since, end)] = best.busy(0.1, 60.0)
    assert (since, end) == pytest.approx((0.0, 0.29))


def test_the_optimum_stands_still_with_its_downstream() -> None:
    best = optimum([0.0] * 30, Capacity([(0.0, 10.0), (0.1, 0.0), (5.0, 20.0)], 0.1), 60.0)
    assert sum(done < 1.0 for done in best.done) == 10
    assert best.done[-1] == pytest.approx(5.0 + 19 * 0.005 + 0.1)


@pytest.mark.parametrize(
    ("kind", "knee", "accepted", "seconds"),
    [("soft", 10, 20, 0.2), ("hard", 10, 14, 0.2), ("quota", 10, 10, 0.1), ("collapse", 10, 40, 2.844)],
)
def test_a_downstream_refuses_from_its_bound_on_and_is_as_slow_as_it_is_full(
    kind: Kind, knee: int, accepted: int, seconds: float
) -> None:
    clock = EventClock()
    called = downstream(Shape(kind=kind, knee=knee, latency_seconds=0.1, cv=0.001), clock, random.Random(0))
    answers: Counter[bool] = Counter()
    for _ in range(60):
        called.call(lambda served: answers.update([served]))
    clock.run(0.9 * seconds)
    assert answers[True] < accepted
    clock.run(1.1 * seconds)
    assert answers == {True: accepted, False: 60 - accepted}
    assert (called.calls, called.refused, called.inside) == (60, 60 - accepted, 0)


def test_a_downstream_that_dies_refuses_those_that_are_inside_and_all_that_come() -> None:
    clock = EventClock()
    called = downstream(SHAPE, clock, random.Random(0))
    answers: list[bool] = []
    for _ in range(5):
        called.call(answers.append)
    called.become(0)
    called.call(answers.append)
    clock.run(1.0)
    assert answers == [False] * 6


def test_a_run_is_the_same_for_the_same_seed() -> None:
    one, other = (measures(run(trace("flapping", 3), ROWS["adaptive"], 3)) for _ in range(2))
    assert one == other


def test_rows_that_know_the_knee_do_what_they_must() -> None:
    found = {row: measures(run(backlog(SHAPE, 20.0), ROWS[row], 0)) for row in ROWS if row.startswith("fixed")}
    assert found["fixed-right"]["goodput"] > 0.99
    assert found["fixed-right"]["overload_share"] == 0
    assert found["fixed-right"]["inside_mean"] == pytest.approx(1.0, abs=0.01)
    assert found["fixed-low"]["goodput"] == pytest.approx(0.5, abs=0.03)
    assert found["fixed-high"]["overload_share"] > 0.8  # and its goodput is perfect: goodput alone proves nothing
    assert found["fixed-high"]["goodput"] > 0.99
    collapsed = measures(run(backlog(replace(SHAPE, kind="collapse"), 20.0), ROWS["fixed-high"], 0))
    assert collapsed["goodput"] < 0.2


@pytest.mark.parametrize("name", TRACES)
def test_leveler_reaches_every_bar_on_seeds_that_it_was_tuned_on(name: str) -> None:
    found = [measures(run(trace(name, seed), ROWS["adaptive"], seed)) for seed in (4, 5, 6)]
    for metric in found[0]:
        if (bar := bar_of(metric, name)) is not None:
            sign = 1 if bar.least else -1
            values = sorted(sign * one[metric] for one in found)
            assert median(values) >= sign * bar.median, metric
            assert bar.worst is None or values[0] >= sign * bar.worst, metric


def test_the_table_has_a_row_for_each_way_to_limit_and_the_bars_tell_what_was_missed() -> None:
    lines = take([0], ["fixed-low", "adaptive"], ["quota"], progress=lambda text: None)
    text = table(lines)
    assert "| fixed-low |" in text
    assert "| adaptive |" in text
    [goodput] = [line for line in against_bars(lines).splitlines() if line.startswith("| goodput | quota |")]
    assert goodput.endswith("| yes |")
    worse = [line for line in lines if line.metric != "goodput"]
    worse += [msgspec.structs.replace(line, value=0.5) for line in lines if line.metric == "goodput"]
    assert "**no**" in against_bars(worse)


def test_an_app_in_real_time_levels_a_downstream_in_a_process_of_its_own() -> None:
    shape = replace(SHAPE, latency_seconds=0.05)
    found = asyncio.run(asyncio.wait_for(consume(backlog(shape, 3.0), Adaptive(max=100), seed=0), 300))
    assert 0.3 < found["goodput"] < 1.05  # as much as a busy machine lets it
    assert found["overload_share"] < 0.3
    assert found["inside_mean"] < 2.0
