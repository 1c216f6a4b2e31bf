"""Appetite: how many messages to ask the service for at once. Pure.

The client library answers at once when it has got as many as it has asked for. When there are fewer it waits for a
fifth of a second whether more will come. So one asks for as many as are likely to be there: for more if the last ones
had been waiting, for fewer if they had to be waited for.
"""

from __future__ import annotations

from typing import Final

#: Who has waited for longer is not alone: so fast is a receiver to which messages come one by one.
_WAITED_SECONDS: Final = 0.05
#: Nobody handles more than this before the next look.
_MOST: Final = 256


class Appetite:
    """Asks for one at first."""

    def __init__(self) -> None:
        self._next = 1

    def ask(self, room: int) -> int:
        """How many to ask for, where there is room for so many."""
        return min(room, self._next)

    def got(self, asked: int, came: int, waited_seconds: float) -> None:
        """What came of it.

        Args:
            asked: for how many.
            came: how many.
            waited_seconds: how long the last of them had been in the queue.
        """
        if came < asked:
            self._next = max(1, came // 2)
        elif waited_seconds >= _WAITED_SECONDS:
            self._next = min(max(2 * asked, self._next), _MOST)
        else:
            self._next = max(1, asked // 2)
