"""The ids that duplicate detection remembers."""

from __future__ import annotations

from collections import deque


class Recent:
    """Ids of messages, each until its time.

    Args:
        window_ms: how long an id is remembered; 0: not at all.
    """

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self._until_ms: dict[bytes, int] = {}
        self._order: deque[tuple[int, bytes]] = deque()

    def has(self, message_id: bytes, now_ms: int) -> bool:
        return self._until_ms.get(message_id, 0) > now_ms

    def add(self, message_id: bytes, now_ms: int) -> int:
        """Remember it from now on; until when."""
        until_ms = now_ms + self.window_ms
        self.restore(message_id, until_ms)
        while self._order and self._order[0][0] <= now_ms:
            forget_ms, oldest = self._order.popleft()
            if self._until_ms.get(oldest) == forget_ms:
                del self._until_ms[oldest]
        return until_ms

    def restore(self, message_id: bytes, until_ms: int) -> None:
        self._until_ms[message_id] = until_ms
        self._order.append((until_ms, message_id))
