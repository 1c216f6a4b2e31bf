"""A token bucket: so many dispatches per second, and so many at once after a rest."""

from __future__ import annotations


class Bucket:
    """Full at first.

    Args:
        rate: tokens per second.
        size: the most that it holds.
        now: seconds, on the clock of all later calls.
    """

    def __init__(self, rate: float, size: float, now: float) -> None:
        self.rate = rate
        self.size = size
        self._tokens = size
        self._at = now

    def wait_seconds(self, now: float) -> float:
        """Until the next token; 0 if there is one."""
        self._refill(now)
        # A rounding error less than one is one: else a timer that fires a hair too early spins.
        return 0.0 if self._tokens >= 1.0 - 1e-9 else (1.0 - self._tokens) / self.rate

    def take(self, now: float) -> bool:
        if self.wait_seconds(now) > 0:
            return False
        self._tokens -= 1.0
        return True

    def _refill(self, now: float) -> None:
        self._tokens = min(self.size, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
