"""Gradient: less where the latency is above what it is of old, more where it is not.

After Netflix' concurrency-limits, with two changes for a consumer: windows of round trips, so that it is as quick with
any latency; and a refusal counts.
"""

from __future__ import annotations

import math
from typing import Final

from leveler.consumer.limits.round import Plan, Round

_TOLERANCE: Final = 1.5
_SMOOTHING: Final = 0.2
_LESS: Final = 0.85
#: Of a round.
_LEAST_RUNS: Final = 8.0
#: Rounds over which the latency of old is averaged.
_OLD_ROUNDS: Final = 600


class Gradient:
    """``limit x tolerance x latency of old / latency now, + sqrt(limit)``."""

    def __init__(self) -> None:
        self.growth = 0.0
        self.plan = Plan(runs=_LEAST_RUNS)
        self.base_seconds: float | None = None
        self._rounds = 0

    def decide(self, now: float, limit: float, round: Round) -> float:
        latency = round.mean_seconds
        self._learn(latency)
        self.plan = Plan(runs=max(_LEAST_RUNS, limit))
        if not round.is_full or self.base_seconds is None:
            return limit
        gradient = max(0.5, min(1.0, _TOLERANCE * self.base_seconds / latency)) if latency else 1.0
        return limit + _SMOOTHING * (limit * gradient + math.sqrt(limit) - limit)

    def refused(self, now: float, limit: float, inside: int, round: Round, first: bool) -> float:
        return limit * _LESS if first else limit

    def resumed(self, limit: float, goal: float) -> None:
        """Nothing that it knew has changed."""

    def _learn(self, latency: float) -> None:
        if self.base_seconds is None:
            self.base_seconds = latency
        self._rounds += 1
        self.base_seconds += (latency - self.base_seconds) / min(self._rounds, _OLD_ROUNDS)
        if self.base_seconds > 2 * latency:  # it comes from an outage
            self.base_seconds *= 0.95
