"""Concurrency: so many runs at once."""

from __future__ import annotations

from typing import Final

from leveler.consumer.limits.limit import Figures

# Over how long the pace of completions is averaged, and how old it may get before it counts for nothing.
_PACE_SECONDS: Final = 0.5


class FixedConcurrency:
    """At most `limit` runs at once.

    It measures the pace at which runs end, so that the intake may ask for the messages that will be startable by
    the time they arrive: a handler of one millisecond frees its slot many times during one trip to the broker.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self._ended = 0
        self._since: float | None = None
        self._per_second = 0.0

    def credit(self, now: float, horizon_seconds: float) -> float:
        return self.limit - self.running + self._pace(now) * horizon_seconds

    def wait(self, now: float) -> float:
        return 0.0 if self.running < self.limit else float("inf")

    def start(self, now: float, runs: int) -> None:
        self.running += runs

    def series(self, now: float, most: int) -> int:
        return most if self.running < self.limit else 0

    def finish(self, now: float, runs: int, latency_seconds: float, verdict: object) -> None:
        self.running -= runs
        self._ended += runs

    def take_back(self, runs: int) -> None:
        self.running -= runs

    def figures(self) -> Figures:
        return {"concurrency": self.limit, "running": self.running}

    def _pace(self, now: float) -> float:
        """Completions per second, of late."""
        if self._since is None:
            self._since, self._ended = now, 0
        elapsed = now - self._since
        if elapsed > 0.001:  # shorter spans would make one completion look like thousands a second
            weight = min(1.0, elapsed / _PACE_SECONDS)
            self._per_second += weight * (self._ended / elapsed - self._per_second)
            self._since, self._ended = now, 0
        return self._per_second
