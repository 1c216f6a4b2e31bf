"""python -m tests.benchmarks.leveling.real [--seconds 20] [--seed 0]: real time beside virtual time, as Markdown."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from leveler import Adaptive
from tests.benchmarks.leveling.downstream import Kind, Shape
from tests.benchmarks.leveling.measures import measures
from tests.benchmarks.leveling.optimum import Capacity
from tests.benchmarks.leveling.real.run import consume
from tests.benchmarks.leveling.rows import BOUNDS, ROWS
from tests.benchmarks.leveling.run import run
from tests.benchmarks.leveling.traces import Trace

_SHAPE: Final = Shape(kind="soft", knee=20, latency_seconds=0.1, cv=0.3)
_KINDS: Final[Mapping[str, tuple[Kind, float]]] = {
    "backlog": ("soft", 0.3),
    "half": ("soft", 0.3),
    "collapse": ("collapse", 0.3),
    "heavy": ("soft", 1.5),
    "quota": ("quota", 0.3),
}
_CONCURRENCY: Final[Mapping[str, int | Adaptive]] = {
    "fixed-right": _SHAPE.knee,
    "adaptive": Adaptive(min=BOUNDS[0], max=BOUNDS[1]),
    "adaptive-aimd": Adaptive(min=BOUNDS[0], max=BOUNDS[1], algorithm="aimd"),
}


def _trace(name: str, seconds: float) -> Trace:
    kind, cv = _KINDS[name]
    shape = replace(_SHAPE, kind=kind, cv=cv)
    knee = float(shape.knee)
    steps = [(0.0, knee), (seconds / 3, knee / 2), (2 * seconds / 3, knee)] if name == "half" else [(0.0, knee)]
    messages = int(1.3 * seconds * shape.per_second)
    return Trace(name, shape, seconds, [0.0] * messages, Capacity(steps, shape.latency_seconds))


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.benchmarks.leveling.real")
    words.add_argument("--seconds", type=float, default=20.0)
    words.add_argument("--seed", type=int, default=0)
    given = words.parse_args()
    print("| trace | row | goodput real, virtual | overload real, virtual | inside real, virtual |")
    print("|---|---|--:|--:|--:|")
    for name in _KINDS:
        for row, concurrency in _CONCURRENCY.items():
            trace = _trace(name, given.seconds)
            real = asyncio.run(consume(trace, concurrency, given.seed))
            virtual = measures(run(trace, ROWS[row], given.seed))
            cells = [f"{real[key]:.3f}, {virtual[key]:.3f}" for key in ("goodput", "overload_share", "inside_mean")]
            print(f"| {name} | {row} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
