"""Ceiling: where the downstream refused, and when to look whether it bears more by now."""

from __future__ import annotations

from typing import Final

#: Between two looks, in base latencies: soon at first, and less and less often where it goes on to refuse.
_LOOK_EVERY: Final = (5.0, 40.0)
#: After one that met no refusal; each then looks twice as far.
_LOOK_AGAIN: Final = 2.0


class Ceiling:
    """A quota shows in nothing but refusals, so it is approached from below, one call at a time."""

    def __init__(self) -> None:
        self.limit = float("inf")
        self._step = 1.0
        self._look_at = float("inf")
        self._every = _LOOK_EVERY[0]
        # Whether the limit is higher than the downstream was known to bear.
        self._looks = False

    def refused(self, now: float, limit: float, base_seconds: float, first: bool) -> None:
        """It bore `limit`, at most. `first`: see `Algorithm.refused`."""
        self.limit = max(1.0, limit)
        self._step = 1.0
        if first:
            self._every = min(2 * self._every, _LOOK_EVERY[1]) if self._looks else _LOOK_EVERY[0]
            self._looks = False
        self._look_at = now + self._every * base_seconds

    def look_up(self, now: float, limit: float, base_seconds: float) -> None:
        """After a round without a refusal at `limit`."""
        if self.limit < float("inf") and now >= self._look_at and limit >= 0.9 * self.limit:
            self.limit += self._step
            self._step *= 2
            self._looks = True
            self._look_at = now + _LOOK_AGAIN * base_seconds

    def lift(self) -> None:
        self.limit = float("inf")
