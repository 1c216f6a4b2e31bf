"""Moment: when something happened or will, as exactly as one can know it from outside."""

from __future__ import annotations

from typing import Final, NamedTuple

#: Rounding of floating point, and of wall clocks to microseconds. Two things closer than this may come in any order.
TOLERANCE_SECONDS: Final = 0.001

#: Enough to be sure that something is over, or is not.
MARGIN_SECONDS: Final = 0.01


class Moment(NamedTuple):
    """Not before `earliest` and not after `latest`, on the monotonic clock.

    A verb takes effect somewhere between its call and its answer. On a virtual clock that is one point in time.
    """

    earliest: float
    latest: float

    @classmethod
    def between(cls, began: float, ended: float) -> Moment:
        return cls(began - TOLERANCE_SECONDS, ended + TOLERANCE_SECONDS)

    def after(self, seconds: float, *, late_seconds: float = 0.0) -> Moment:
        """`seconds` later, or up to `late_seconds` more."""
        return Moment(self.earliest + seconds, self.latest + seconds + late_seconds)

    def is_before(self, moment: float) -> bool:
        """For sure."""
        return self.latest < moment

    def is_past(self, moment: float) -> bool:
        """For sure."""
        return self.earliest >= moment
