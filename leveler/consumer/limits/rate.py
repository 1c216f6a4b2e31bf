"""Rate: so many starts per second, evenly, in this process."""

from __future__ import annotations

from leveler.consumer.limits.limit import Figures

# How far a late start may be made up for. A timer is late by some milliseconds and starts that lose that time each
# would fall short of the rate; 50 ms of catching up is 0.5 % of ten seconds, inside the promised 1 %.
CATCH_UP_SECONDS = 0.05


class Rate:
    """A leaky bucket as a virtual schedule (GCRA, ITU-T I.371): one number of state, exact at any rate.

    Args:
        per_second: starts per second; may be below one.
    """

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._interval = 1.0 / per_second
        self._next = float("-inf")

    def credit(self, now: float, horizon_seconds: float) -> float:
        due = max(self._next, now - CATCH_UP_SECONDS)
        return (now + horizon_seconds - due) // self._interval + 1 if due <= now + horizon_seconds else 0.0

    def wait(self, now: float) -> float:
        return max(0.0, self._next - now)

    def start(self, now: float, runs: int) -> None:
        self._next = max(self._next, now - CATCH_UP_SECONDS) + runs * self._interval

    def series(self, now: float, most: int) -> int:
        due = max(self._next, now - CATCH_UP_SECONDS)
        return min(most, int((now - due) // self._interval) + 1) if due <= now else 0

    def finish(self, now: float, runs: int, latency_seconds: float, verdict: object) -> None:
        """A rate does not care when runs end."""

    def take_back(self, runs: int) -> None:
        self._next -= runs * self._interval

    def charge(self, messages: int) -> None:
        """They are started now, and paid for by those that come after."""
        self._next += messages * self._interval

    def figures(self) -> Figures:
        return {"rate_per_second": self.per_second}
