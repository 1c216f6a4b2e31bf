"""What is not leased: ready or delayed, and which comes next. `Levels` here; `Lanes` where the order of keys counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush, merge
from itertools import chain
from typing import TypeVar

from leveler.message import MAX_PRIORITY
from leveler_memory.entry import Entry

_T = TypeVar("_T")


class Waiting(ABC):
    """The waiting messages of one queue. It never looks at a clock: whoever calls says what time it is."""

    def __init__(self) -> None:
        #: A heap: the one that is due next comes first.
        self.delayed: list[Entry] = []

    @abstractmethod
    def add(self, entries: Sequence[Entry], now: float) -> None:
        """New messages, ready or delayed, in the order in which they were sent."""

    @abstractmethod
    def take(self, count: int, now: float) -> list[Entry]:
        """The next ones, at most `count`. Each must come to `put_back` or `release` in the end."""

    @abstractmethod
    def put_back(self, entry: Entry, now: float) -> None:
        """What stands in for a taken entry: in its old place, or delayed if it says so."""

    @abstractmethod
    def release(self, entry: Entry, now: float) -> None:
        """A taken entry is gone for good."""

    @abstractmethod
    def ripen(self, now: float) -> None:
        """What was delayed until now is ready."""

    @abstractmethod
    def oldest(self, now: float) -> float:
        """Since when the oldest ready message has been waiting; `now` when there is none."""

    @abstractmethod
    def clear(self) -> None: ...

    @abstractmethod
    def __len__(self) -> int:
        """All of them, the delayed ones included."""

    @abstractmethod
    def __iter__(self) -> Iterator[Entry]:
        """All of them, the next one first."""


class Level:
    """The ready messages of one priority, oldest first."""

    __slots__ = ("fresh", "returned")

    def __init__(self) -> None:
        #: Never taken: in the order in which they were sent, so a queue is enough.
        self.fresh: deque[Entry] = deque()
        #: Back from a lease or a delay: a heap, for they come in any order.
        self.returned: list[Entry] = []

    def take(self, count: int) -> list[Entry]:
        fresh = self.fresh
        if self.returned:
            return [self._next() for _ in range(min(count, len(self)))]
        if count < len(fresh):
            return [fresh.popleft() for _ in range(count)]
        taken = list(fresh)
        fresh.clear()
        return taken

    def first(self) -> Entry:
        return self.returned[0] if self._is_returned_first() else self.fresh[0]

    def _next(self) -> Entry:
        return heappop(self.returned) if self._is_returned_first() else self.fresh.popleft()

    def _is_returned_first(self) -> bool:
        return bool(self.returned) and not (self.fresh and self.fresh[0] < self.returned[0])

    def __len__(self) -> int:
        return len(self.fresh) + len(self.returned)

    def __iter__(self) -> Iterator[Entry]:
        return merge(self.fresh, sorted(self.returned))


class Levels(Waiting):
    """By priority, higher first; within one priority the oldest first."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        ascending = [Level() for _ in range(levels)]
        self._of_priority = by_priority(ascending)
        self._levels = ascending[::-1]

    def add(self, entries: Sequence[Entry], now: float) -> None:
        of_priority = self._of_priority
        for entry in entries:
            if entry.since > now:
                heappush(self.delayed, entry)
            else:
                of_priority[entry.message.priority].fresh.append(entry)

    def take(self, count: int, now: float) -> list[Entry]:
        taken: list[Entry] = []
        for level in self._levels:
            if level.fresh or level.returned:
                taken += level.take(count - len(taken))
                if len(taken) == count:
                    break
        return taken

    def put_back(self, entry: Entry, now: float) -> None:
        heappush(self.delayed if entry.since > now else self._of_priority[entry.message.priority].returned, entry)

    def release(self, entry: Entry, now: float) -> None:
        pass

    def ripen(self, now: float) -> None:
        while self.delayed and self.delayed[0].since <= now:
            self.put_back(heappop(self.delayed), now)

    def oldest(self, now: float) -> float:
        return min((level.first().since for level in self._levels if level), default=now)

    def clear(self) -> None:
        self.delayed.clear()
        for level in self._levels:
            level.fresh.clear()
            level.returned.clear()

    def __len__(self) -> int:
        return len(self.delayed) + sum(map(len, self._levels))

    def __iter__(self) -> Iterator[Entry]:
        yield from chain.from_iterable(self._levels)
        yield from sorted(self.delayed)


def by_priority(ascending: Sequence[_T]) -> list[_T]:
    """Which of the levels each priority belongs to, evenly shared out."""
    return [ascending[priority * len(ascending) // (MAX_PRIORITY + 1)] for priority in range(MAX_PRIORITY + 1)]
