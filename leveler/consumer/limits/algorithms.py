"""The algorithms of an adaptive concurrency, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from leveler.consumer.limits.adaptive import AdaptiveConcurrency
from leveler.consumer.limits.aimd import Aimd
from leveler.consumer.limits.gradient import Gradient
from leveler.consumer.limits.knee import Knee
from leveler.consumer.limits.round import Algorithm
from leveler.settings import Adaptive, AlgorithmName

#: Each is given the wall clock's time less the monotonic clock's.
ALGORITHMS: Final[Mapping[AlgorithmName, Callable[[float], Algorithm]]] = {
    "knee": Knee,
    "gradient": lambda wall_seconds: Gradient(),
    "aimd": lambda wall_seconds: Aimd(),
}


def adaptive(settings: Adaptive, wall_seconds: float) -> AdaptiveConcurrency:
    """A limit that has learnt nothing yet.

    Args:
        settings: its bounds and its algorithm.
        wall_seconds: the wall clock's time less the monotonic clock's.
    """
    return AdaptiveConcurrency(settings.min, settings.max, ALGORITHMS[settings.algorithm](wall_seconds))
