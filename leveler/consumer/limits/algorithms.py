"""The algorithms of an adaptive concurrency, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from leveler.consumer.limits.adaptive import AdaptiveConcurrency
from leveler.consumer.limits.aimd import Aimd
from leveler.consumer.limits.gradient import Gradient
from leveler.consumer.limits.knee import Knee
from leveler.consumer.limits.round import Algorithm
from leveler.errors import ConfigError

#: How an adaptive concurrency decides.
AlgorithmName = Literal["knee", "gradient", "aimd"]


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """As many handler runs at once as the downstream serves well: found, and followed when it changes."""

    #: Never fewer.
    min: int = 1
    #: Never more.
    max: int
    #: ``knee`` (Little's law), ``gradient`` (of the latency) or ``aimd`` (refusals alone).
    algorithm: AlgorithmName = "knee"

    def __post_init__(self) -> None:
        if self.min < 1:
            raise ConfigError(f"concurrency.min is {self.min}: expected 1 or more")
        if self.min > self.max:
            raise ConfigError(
                f"concurrency.min ({self.min}) is above concurrency.max ({self.max}): expected min <= max"
            )
        if self.algorithm not in (known := get_args(AlgorithmName)):
            raise ConfigError(f"concurrency.algorithm is {self.algorithm!r}: known are {', '.join(known)}")


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
