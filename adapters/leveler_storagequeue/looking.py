"""Looking: how long to wait before an empty queue is looked at again. Pure."""

from __future__ import annotations

from typing import Final

#: After something came, and more may be on its way.
_SHORTEST_SECONDS: Final = 0.05


class Looking:
    """Pauses that double from look to look, as long as there is nothing.

    Args:
        longest_seconds: of a pause.
    """

    def __init__(self, longest_seconds: float) -> None:
        self._longest = longest_seconds
        self._next = _SHORTEST_SECONDS

    def saw(self, messages: int) -> None:
        """What a look has brought."""
        if messages:
            self._next = _SHORTEST_SECONDS

    def pause(self) -> float:
        """How long to wait now."""
        pause = min(self._next, self._longest)
        self._next = min(2 * self._next, self._longest)
        return pause
