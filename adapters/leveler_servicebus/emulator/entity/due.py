"""Due: what falls due when, the earliest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", int, bytes, str)


class Due(Generic[K]):
    """Keys, each with the times at which it was said to fall due.

    A time that is moved is said again, and what is gone is not taken back: `until` tells what holds.

    Args:
        until: when the key falls due as things are now; None: it is gone.
    """

    def __init__(self, until: Callable[[K], int | None]) -> None:
        self._until: Callable[[K], int | None] = until
        self._heap: list[tuple[int, K]] = []

    def add(self, due_ms: int, key: K) -> None:
        heapq.heappush(self._heap, (due_ms, key))

    def pop(self, now_ms: int) -> Iterator[K]:
        """What has fallen due until now."""
        while self._heap and self._heap[0][0] <= now_ms:
            key = heapq.heappop(self._heap)[1]
            due_ms = self._until(key)
            if due_ms is not None and due_ms <= now_ms:
                yield key

    def next_ms(self) -> int | None:
        """When there will be something, at the earliest."""
        while self._heap and self._until(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
