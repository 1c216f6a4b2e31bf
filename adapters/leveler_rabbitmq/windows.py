"""Windows: which of the messages that were published are not confirmed yet. Pure bookkeeping, no I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

#: What became of a message that the broker did not take.
Fate = Literal["returned", "refused"]

RETURNED: Final = "returned"
REFUSED: Final = "refused"


class Name(NamedTuple):
    """What a returned message is recognised by."""

    queue: str
    id: str


class Window:
    """Messages that were published in one go, numbered as the broker numbers them.

    Args:
        first: the number of the first one.
        names: of each of them, in order.
        closed: resolved when the last of them is confirmed, with the fate of those that were not taken.
    """

    __slots__ = ("_first", "_singles", "_upto", "closed", "fates", "last", "names")

    def __init__(self, first: int, names: Sequence[Name], closed: asyncio.Future[dict[int, Fate]]) -> None:
        self.last = first + len(names) - 1
        self.names = names
        self.closed = closed
        self._first = first
        #: All up to this one are confirmed, and beyond it these.
        self._upto = first - 1
        self._singles: set[int] = set()
        #: Of those that were not taken, so far.
        self.fates: dict[int, Fate] = {}

    @property
    def open(self) -> bool:
        return self._upto + len(self._singles) < self.last

    def holds(self, tag: int) -> bool:
        return self._first <= tag <= self.last

    def confirm(self, tag: int, *, multiple: bool, accepted: bool) -> None:
        """The broker has answered for `tag`; if `multiple`, for all before it that it had not answered for yet."""
        last = min(tag, self.last)
        if not accepted:
            refused = range(self._upto + 1, last + 1) if multiple else (tag,)
            for one in refused:
                if one not in self._singles:
                    self.fates.setdefault(one - self._first, REFUSED)
        if multiple:
            self._upto = max(self._upto, last)
            self._singles = {one for one in self._singles if one > self._upto}
        elif tag == self._upto + 1:
            self._upto = tag
        else:
            self._singles.add(tag)
        while self._singles and self._upto + 1 in self._singles:
            self._upto += 1
            self._singles.remove(self._upto)

    def unanswered(self) -> list[int]:
        """Which the broker has not answered for; returned ones are among them until it does."""
        open_ones = range(self._upto + 1, self.last + 1)
        return [tag - self._first for tag in open_ones if tag not in self._singles]

    def give_back(self, name: Name) -> None:
        """No queue was found for a message of that name. Each of them: they went the same way."""
        for index, one in enumerate(self.names):
            if one == name and self._first + index > self._upto and self._first + index not in self._singles:
                self.fates[index] = RETURNED

    def close(self) -> None:
        if not self.closed.done():
            self.closed.set_result(self.fates)


class Windows:
    """Those of one channel, in order."""

    def __init__(self) -> None:
        self._windows: deque[Window] = deque()
        self._next = 1

    def open(self, names: Sequence[Name], closed: asyncio.Future[dict[int, Fate]]) -> Window:
        """So many messages are about to be published."""
        window = Window(self._next, names, closed)
        self._windows.append(window)
        self._next += len(names)
        return window

    def confirm(self, tag: int, *, multiple: bool, accepted: bool) -> None:
        windows = self._windows
        if multiple:
            while windows and windows[0].last <= tag:
                window = windows.popleft()
                if not accepted:
                    window.confirm(tag, multiple=True, accepted=False)
                window.close()
            if windows:
                self._confirm(windows[0], tag, multiple=windows[0].holds(tag), accepted=accepted)
        elif windows:
            found = windows[0] if windows[0].holds(tag) else self._holding(tag)
            if found is not None:
                self._confirm(found, tag, multiple=False, accepted=accepted)

    def give_back(self, name: Name) -> None:
        for window in self._windows:
            window.give_back(name)

    def abandon(self, error: Exception) -> None:
        """Nobody will confirm anything any more."""
        while self._windows:
            if not (window := self._windows.popleft()).closed.done():
                window.closed.set_exception(error)

    def _confirm(self, window: Window, tag: int, *, multiple: bool, accepted: bool) -> None:
        if not window.holds(tag):
            return
        window.confirm(tag, multiple=multiple, accepted=accepted)
        if not window.open:
            window.close()
            self._windows.remove(window)  # nearly always the first

    def _holding(self, tag: int) -> Window | None:
        return next((window for window in self._windows if window.holds(tag)), None)
