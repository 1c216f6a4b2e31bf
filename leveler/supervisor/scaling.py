"""Scaling: how many workers there are to be now, from what all of them together say would be useful. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from leveler.monitor.useful import CALM_SECONDS


@dataclass(frozen=True, kw_only=True)
class ScalingPolicy:
    """How quickly one follows."""

    #: Between two looks. Whoever is asked counts the messages at the broker, which costs money at some.
    look_seconds: float = 15.0
    #: Up at once, but not again before so long. What a downstream bears is said by those who were there already, and a
    #: process starts in a second: it would be the third and the fourth before the second one has met any resistance.
    rise_seconds: float = CALM_SECONDS
    #: Down to what would have been enough all the time for so long. How busy a worker is, it says as an average of
    #: a minute: who believes in a shorter lull ends processes that the next burst wants again.
    fall_seconds: float = 60.0


class Scaling:
    """
    Args:
        least: never fewer.
        most: never more.
        policy: how quickly.
    """

    def __init__(self, least: int, most: int, policy: ScalingPolicy) -> None:
        self._least = least
        self._most = most
        self._policy = policy
        self._rose_at = float("-inf")
        #: What would have been enough at each look, as far back as it counts.
        self._enough: deque[tuple[float, int]] = deque()

    def wanted(self, now: float, useful: Collection[int | None], *, there: int) -> int:
        """How many there are to be.

        Args:
            now: on a clock that only goes forward.
            useful: workers that would be useful for each queue; None where nobody can tell, which is as many as
                there are.
            there: so many there are to be up to now.
        """
        enough = max((there if count is None else count for count in useful), default=there)
        enough = min(self._most, max(self._least, enough))
        self._enough.append((now, enough))
        while len(self._enough) > 1 and self._enough[1][0] <= now - self._policy.fall_seconds:
            self._enough.popleft()
        if enough > there:
            if now < self._rose_at + self._policy.rise_seconds:
                return there
            self._rose_at = now
            return enough
        if now < self._enough[0][0] + self._policy.fall_seconds:
            return there  # nobody has looked for so long yet
        return min(there, max(count for _, count in self._enough))
