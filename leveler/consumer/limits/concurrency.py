"""Concurrency: so many runs at once."""

from __future__ import annotations

from leveler.consumer.limits.limit import Figures
from leveler.consumer.limits.pace import Pace


class FixedConcurrency:
    """At most `limit` runs at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self._pace = Pace()

    def credit(self, now: float, horizon_seconds: float) -> float:
        return self.limit - self.running + self._pace.per_second(now) * horizon_seconds

    def wait(self, now: float) -> float:
        return 0.0 if self.running < self.limit else float("inf")

    def start(self, now: float, runs: int) -> None:
        self.running += runs

    def series(self, now: float, most: int) -> int:
        return most if self.running < self.limit else 0

    def finish(self, now: float, runs: int, latency_seconds: float, verdict: object) -> None:
        self.running -= runs
        self._pace.ended += runs

    def take_back(self, runs: int) -> None:
        self.running -= runs

    def figures(self) -> Figures:
        return {"concurrency": self.limit, "running": self.running}
