"""What others do, as they publish it, behind the interface of our limits. They share nothing with leveler's own.

Aimd        +1 per run that succeeds, x 0.9 per refusal
Vegas       Netflix' concurrency-limits: the queue from the least latency; one step a second
Gradient2   Netflix' concurrency-limits: the latency of a second against that of the last ten minutes
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Final

from leveler.consumer.limits import Verdict

_FIRST: Final = 4.0
_MOST: Final = 200.0
_WINDOW_SECONDS: Final = 1.0


class Reference(ABC):
    """A limit that is told of each run."""

    def __init__(self) -> None:
        self.limit = _FIRST
        self.running = 0

    def credit(self, now: float, horizon_seconds: float) -> float:
        return int(self.limit) - self.running

    def wait(self, now: float) -> float:
        return 0.0 if self.running < int(self.limit) else float("inf")

    def series(self, now: float, most: int) -> int:
        return min(most, 1) if self.wait(now) == 0 else 0

    def start(self, now: float, runs: int) -> None:
        self.running += runs

    def take_back(self, runs: int) -> None:
        self.running -= runs

    def finish(self, now: float, runs: int, latency_seconds: float, verdict: Verdict) -> None:
        inside = self.running
        self.running -= runs
        self._ended(now, inside, latency_seconds, verdict is Verdict.OVERLOAD)
        self.limit = min(max(self.limit, 1.0), _MOST)

    @abstractmethod
    def _ended(self, now: float, inside: int, latency_seconds: float, refused: bool) -> None: ...


class Aimd(Reference):
    def _ended(self, now: float, inside: int, latency_seconds: float, refused: bool) -> None:
        if refused:
            self.limit *= 0.9
        elif 2 * inside >= self.limit:
            self.limit += 1


class Windowed(Reference):
    """Averages the latency of a second."""

    def __init__(self) -> None:
        super().__init__()
        self._since = 0.0
        self._runs = 0
        self._sum = 0.0
        self._least = float("inf")
        self._inside = 0
        self._refused = False

    def _ended(self, now: float, inside: int, latency_seconds: float, refused: bool) -> None:
        self._refused |= refused
        if not refused:
            self._runs += 1
            self._sum += latency_seconds
            self._least = min(self._least, latency_seconds)
            self._inside = max(self._inside, inside)
        if now - self._since >= _WINDOW_SECONDS and (self._runs >= 10 or self._refused):
            self._window(self._sum / self._runs if self._runs else 0.0)
            self._since, self._runs, self._sum = now, 0, 0.0
            self._least, self._inside, self._refused = float("inf"), 0, False

    @abstractmethod
    def _window(self, mean_seconds: float) -> None: ...


class Vegas(Windowed):
    """Alpha 3, beta 6, threshold 1, each times the logarithm of the limit; the base is taken anew now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._base = float("inf")
        self._windows = 0

    def _window(self, mean_seconds: float) -> None:
        step = max(1.0, math.log10(self.limit))
        if self._refused:
            self.limit -= step
            return
        self._windows += 1
        if self._windows >= 30 * self.limit:
            self._windows, self._base = 0, mean_seconds
        self._base = min(self._base, mean_seconds)
        if 2 * self._inside < self.limit:
            return
        queue = math.ceil(self.limit * (1 - self._base / mean_seconds))
        if queue <= step:
            self.limit += 6 * step
        elif queue < 3 * step:
            self.limit += step
        elif queue > 6 * step:
            self.limit -= step


class Gradient2(Windowed):
    """Tolerance 1.5, smoothing 0.2, queue 4, an average of 600 windows; it does not look at refusals."""

    def __init__(self) -> None:
        super().__init__()
        self._old = 0.0
        self._windows = 0

    def _window(self, mean_seconds: float) -> None:
        if not mean_seconds:
            return
        self._windows += 1
        self._old += (mean_seconds - self._old) / min(self._windows, 600)
        if self._old > 2 * mean_seconds:
            self._old *= 0.95
        if 2 * self._inside >= self.limit:
            gradient = max(0.5, min(1.0, 1.5 * self._old / mean_seconds))
            self.limit = 0.8 * self.limit + 0.2 * (self.limit * gradient + 4)
