"""Tags: the unsettled deliveries of one channel, and how few acknowledgements settle some of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_NONE: Final = 1 << 64


class Acks(NamedTuple):
    """What to write. The `multiple` one first: the broker has to find its tag unsettled."""

    #: All unsettled ones up to this; 0 = none.
    upto: int
    singly: list[int]


class Tags:
    """A tag counts as unsettled from its delivery to its settlement, wherever its message is by then."""

    def __init__(self) -> None:
        # In the order of their delivery, which is that of their numbers.
        self._unsettled: dict[int, None] = {}

    def add(self, tag: int) -> None:
        self._unsettled[tag] = None

    def discard(self, tag: int) -> None:
        """Settled in another way."""
        self._unsettled.pop(tag, None)

    def complete(self, tags: Iterable[int]) -> Acks:
        """Take them out.

        One acknowledgement stands for all unsettled tags up to its own. It may be used as far as each of these is
        among `tags`: up to the first one that stays unsettled.
        """
        taken = [tag for tag in tags if self._unsettled.pop(tag, self) is None]
        first_left = next(iter(self._unsettled), _NONE)
        below = [tag for tag in taken if tag < first_left]
        if len(below) < 2:
            return Acks(0, taken)
        return Acks(max(below), [tag for tag in taken if tag > first_left])

    def __len__(self) -> int:
        return len(self._unsettled)

    def __iter__(self) -> Iterator[int]:
        return iter(self._unsettled)
