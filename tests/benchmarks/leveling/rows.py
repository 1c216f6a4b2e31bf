"""Rows: ways to limit. Those that know the knee are there to be compared with; nobody knows it in life."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from leveler import Adaptive
from leveler.consumer.limits import Breaker, BreakerPolicy, FixedConcurrency, Limit, adaptive
from leveler.consumer.limits.algorithms import AlgorithmName
from tests.benchmarks.leveling import references, worker
from tests.benchmarks.leveling.downstream import Shape
from tests.benchmarks.leveling.run import Row

#: The bounds of every adaptive row.
BOUNDS: Final = (1, 200)


def _fixed(times: float, delay: worker.Delay) -> Row:
    return Row(lambda shape, rng: [FixedConcurrency(max(1, round(times * shape.knee)))], delay)


def _ours(algorithm: AlgorithmName) -> Row:
    """leveler's: with its breaker, as a user has it."""

    def limits(shape: Shape, rng: random.Random) -> Sequence[Limit]:
        limit = adaptive(Adaptive(min=BOUNDS[0], max=BOUNDS[1], algorithm=algorithm), 0.0)
        breaker = Breaker(BreakerPolicy(), rng)
        breaker.listen(limit.breaker_changed)
        return [breaker, limit]

    return Row(limits, worker.short)


def _theirs(made: Callable[[], Limit]) -> Row:
    return Row(lambda shape, rng: [made()], worker.short)


ROWS: Final[dict[str, Row]] = {
    "fixed-low": _fixed(0.5, worker.short),
    "fixed-right": _fixed(1, worker.short),
    "fixed-high": _fixed(4, worker.none),
    "fixed-high-backoff": _fixed(4, worker.exponential),
    "aimd": _theirs(references.Aimd),
    "vegas": _theirs(references.Vegas),
    "gradient2": _theirs(references.Gradient2),
    "adaptive": _ours("knee"),
    "adaptive-gradient": _ours("gradient"),
    "adaptive-aimd": _ours("aimd"),
}
