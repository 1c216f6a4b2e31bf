"""Clocks: what the service's clock says, learnt from the locks that it gives. Pure.

A lock's end is told in the service's time, and the clock here may be wrong by half a minute. The length of a lock is
known, so its end tells when it began, and that is no later than it came here. The least that lay between is the
difference of the clocks.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from leveler.adapter import INFINITE

#: A difference below this may be no more than the way that an answer takes.
_NO_DIFFERENCE_SECONDS: Final = 0.5


class Clocks:
    """Nothing is known until a lock has been seen."""

    def __init__(self) -> None:
        self._ahead = INFINITE

    def lock_seen(self, locked_until: datetime, lock_seconds: float, now: datetime) -> float:
        """How many seconds of a lock are left that has come now, at most `lock_seconds`."""
        began = locked_until.timestamp() - lock_seconds
        self._ahead = min(self._ahead, now.timestamp() - began)
        return locked_until.timestamp() + self._ahead - now.timestamp()

    def there(self, moment: datetime) -> datetime:
        """What the service's clock says at this moment of ours."""
        known = _NO_DIFFERENCE_SECONDS < abs(self._ahead) < INFINITE
        return moment - timedelta(seconds=self._ahead) if known else moment
