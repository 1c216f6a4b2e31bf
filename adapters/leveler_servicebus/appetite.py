"""Appetite: how many messages to ask the service for at once. Pure.

The client library answers at once when it has got as many as it has asked for. When there are fewer it waits for a
fifth of a second whether more will come. So one asks for as many as are likely to be there: more if those of the last
time were, fewer if they had to be waited for.
"""

from __future__ import annotations

from typing import Final

#: What was there already comes in less than this, and in as much again for each of it.
_AT_ONCE_SECONDS: Final = 0.03
_EACH_SECONDS: Final = 0.001
#: Nobody handles more than this before the next look.
_MOST: Final = 256


class Appetite:
    """Asks for one at first."""

    def __init__(self) -> None:
        self._next = 1

    def ask(self, room: int) -> int:
        """How many to ask for, where there is room for so many."""
        return min(room, self._next)

    def got(self, asked: int, came: int, seconds: float) -> None:
        """What came of it, and how long that took."""
        expected = _AT_ONCE_SECONDS + _EACH_SECONDS * asked
        if came < asked:
            self._next = max(1, came // 2)
        elif seconds < expected:
            self._next = min(max(2 * asked, self._next), _MOST)
        elif seconds > 3 * expected:
            self._next = max(1, asked // 2)
