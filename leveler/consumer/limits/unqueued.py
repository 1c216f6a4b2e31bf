"""Unqueued: the latency of a call that does not wait, and how much of what is seen may be chance."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from leveler.consumer.limits.round import Round

#: So exact a mean is enough: what is older than the runs that it takes is forgotten.
_ERROR: Final = 0.04
_LEAST_RUNS: Final = 60.0
#: Over so many runs the coefficient of variation is averaged; before any, nothing is believed easily.
_CV_RUNS: Final = 50
_FIRST_CV: Final = 0.8
#: How far above it a latency is no sign of a queue, beside its noise.
TOLERANCE: Final = 0.15
#: It may be far too low while its own error is above that.
_TRUST: Final = 0.1


class Seen(NamedTuple):
    """One round."""

    limit: float
    latency: float
    per_second: float
    runs: int


class Unqueued:
    """A mean, never a minimum: the least of noisy means is always too low."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        #: Coefficient of variation of the service time.
        self.cv = _FIRST_CV
        self._runs = 0.0

    def learn(self, seen: Seen) -> None:
        """From calls that did not wait."""
        if self.seconds is None:
            self.seconds = seen.latency
        self._runs = min(self._runs + seen.runs, max(_LEAST_RUNS, (self.cv / _ERROR) ** 2))
        self.seconds += (seen.latency - self.seconds) * min(1.0, seen.runs / self._runs)

    def learn_cv(self, seen: Seen, round: Round) -> None:
        """From any calls: those that wait vary by as many seconds."""
        deviation = round.cv * round.mean_seconds / (self.seconds or round.mean_seconds)
        self.cv += min(1.0, seen.runs / _CV_RUNS) * (deviation - self.cv)

    def noise(self, runs: int) -> float:
        """By what share of itself the mean of so many calls that do not wait may differ from it."""
        return TOLERANCE + 2 * self.cv * math.sqrt(1 / runs + 1 / max(self._runs, 1.0))

    def bearable(self, runs: int) -> float:
        """The latency of so many calls up to which nobody need have waited."""
        return math.inf if self.seconds is None else self.seconds * (1 + self.noise(runs))

    def forget(self) -> None:
        """What was known counts no more than the next round."""
        self._runs = 0.0

    def correct(self, seen: Seen) -> None:
        """That was it."""
        self.seconds, self._runs = seen.latency, float(seen.runs)

    @property
    def is_proven(self) -> bool:
        return self.cv / math.sqrt(self._runs) < _TRUST
