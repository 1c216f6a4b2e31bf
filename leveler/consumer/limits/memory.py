"""Memory: so many bytes of bodies in this process, whatever the backlog and however large a message is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from leveler.consumer.held import RUNNING, Held

# So much of the budget must be free before more is asked for: a queue whose next message does not fit is not asked
# again for every message that is settled.
_WORTH_ASKING: Final = 1 / 8


class Memory:
    """What one consumer holds, and how much more it may.

    How large a message is shows when it comes. Where the broker can keep to a number of bytes it is told this one;
    elsewhere each message that may come is reckoned with the most that the queue takes, so that fewer are held.

    Args:
        most_bytes: the budget.
        largest_bytes: of one message.
        is_told: the broker keeps to it.
    """

    def __init__(self, most_bytes: int, *, largest_bytes: int, is_told: bool) -> None:
        self.most_bytes = most_bytes
        self.is_told = is_told
        #: Deliveries that may be held at once.
        self.capacity: float = float("inf") if is_told else max(1, most_bytes // largest_bytes)
        self._held_bytes = 0
        # Nobody's any more but for a handler that has not ended yet.
        self._lingering: list[Held] = []

    def take(self, arrived: Iterable[Held]) -> None:
        self._held_bytes += _bytes(arrived)

    def give(self, gone: Iterable[Held]) -> None:
        """These are settled, or lost; what still runs is here nevertheless."""
        for held in gone:
            if held.lost and held.state == RUNNING:
                self._lingering.append(held)
            else:
                self._held_bytes -= len(held.delivery.message.body)

    @property
    def held_bytes(self) -> int:
        if self._lingering:
            ended = [held for held in self._lingering if held.state != RUNNING]
            self._lingering = [held for held in self._lingering if held.state == RUNNING]
            self._held_bytes -= _bytes(ended)
        return self._held_bytes

    def room(self) -> int:
        """Bytes that may come now; 0 = ask for nothing."""
        held_bytes = self.held_bytes
        room = self.most_bytes - held_bytes
        return room if room >= self.most_bytes * _WORTH_ASKING or not held_bytes else 0


def _bytes(some: Iterable[Held]) -> int:
    return sum([len(held.delivery.message.body) for held in some])
