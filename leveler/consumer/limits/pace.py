"""Pace: how many runs end per second, so that the intake may ask ahead."""

from __future__ import annotations

from typing import Final

# Over how long it is averaged, and how old it may get before it counts for nothing.
_AVERAGE_SECONDS: Final = 0.5


class Pace:
    """A handler of one millisecond frees its slot many times during one trip to the broker: the messages that will be
    startable by the time they arrive may be asked for."""

    def __init__(self) -> None:
        #: Counted up by whoever sees runs end.
        self.ended = 0
        self._since: float | None = None
        self._per_second = 0.0

    def per_second(self, now: float) -> float:
        """Of late."""
        if self._since is None:
            self._since, self.ended = now, 0
        elapsed = now - self._since
        if elapsed > 0.001:  # shorter spans would make one completion look like thousands a second
            weight = min(1.0, elapsed / _AVERAGE_SECONDS)
            self._per_second += weight * (self.ended / elapsed - self._per_second)
            self._since, self.ended = now, 0
        return self._per_second
