"""Patience: how long to wait for what goes on somewhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: A machine that is slow, and goes on, is given so many times as long in all.
_AT_MOST: Final = 3


class Patience:
    """Ends when nothing has moved for so long.

    Args:
        seconds: how long.
        clock: time.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._reached: float | None = None
        self._until = clock() + seconds
        self._end = clock() + _AT_MOST * seconds

    def is_over(self, reached: float) -> bool:
        """Now that this is how far it is."""
        if reached != self._reached:
            self._reached, self._until = reached, self._clock() + self._seconds
        return self._clock() > min(self._until, self._end)
