"""Clocks: what the service's clock says, learnt from the locks that it gives. Pure.

A lock's end is told in the service's time, and the clock here may be wrong by half a minute. The length of a lock is
known, so its end tells when it began, and that is no later than it came here. The least that lay between is the
difference of the clocks.
"""

from __future__ import annotations

from datetime import datetime

from leveler.adapter import INFINITE


class Clocks:
    def __init__(self) -> None:
        self._ahead = INFINITE

    def lock_seen(self, locked_until: datetime, lock_seconds: float, now: datetime) -> float:
        """How many seconds of a lock are left that has come now, at most `lock_seconds`."""
        began = locked_until.timestamp() - lock_seconds
        self._ahead = min(self._ahead, now.timestamp() - began)
        return locked_until.timestamp() + self._ahead - now.timestamp()
