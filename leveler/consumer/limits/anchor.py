"""Anchor: a round with other calls at once, to compare with: what is as quick with more of them had not waited."""

from __future__ import annotations

from typing import Final

from leveler.consumer.limits.unqueued import Seen, Unqueued

#: So many fewer calls must be quicker, if any of them had waited.
_FEWER: Final = 0.75


class Anchor:
    """
    Args:
        base: corrected where two rounds show that it is too low.
    """

    def __init__(self, base: Unqueued) -> None:
        self._base = base
        self._seen: Seen | None = None

    def lift(self) -> None:
        """What comes next is compared with nothing that was."""
        self._seen = None

    def climb(self, seen: Seen, teaches: bool) -> None:
        """A round of a ramp, with more calls than the one before it. `teaches`: it may be of use to the base."""
        below, self._seen = self._seen, seen
        if teaches and below is not None and seen.limit > below.limit and _is_quick(seen, below):
            self._base.learn(below)

    def check(self, seen: Seen) -> Seen | None:
        """What the rate of this round proves. None: the calls are fewer now, and no quicker. So nobody had waited, or
        others are in line too: only a dip can tell."""
        anchor = self._seen
        if anchor is None or seen.latency > anchor.latency * (1 + self._base.noise(seen.runs)):
            self._seen = seen
            return seen
        if _FEWER < seen.limit / anchor.limit < 1 / _FEWER:
            return seen
        self._seen = seen
        if seen.limit > anchor.limit:
            if _is_quick(seen, anchor):  # so many more, and as quick: nobody had waited
                self._base.learn(anchor)
            return seen
        if _is_quick(seen, anchor) or seen.latency < (self._base.seconds or 0.0):
            return seen
        if self._base.is_proven:
            return None
        self._base.correct(seen)
        return anchor


def _is_quick(seen: Seen, anchor: Seen) -> bool:
    """Below the middle between the anchor's latency, which remains if nobody waits, and what it becomes if all do."""
    return seen.latency < anchor.latency * (1 + seen.limit / anchor.limit) / 2
