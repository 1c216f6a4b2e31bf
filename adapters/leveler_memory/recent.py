"""Recent: which messages a queue has seen lately."""

from __future__ import annotations

from collections import deque


class Recent:
    """Dedup keys of the last `window_seconds`, counted from the first time that each was seen."""

    def __init__(self, window_seconds: float) -> None:
        self.window_seconds = window_seconds
        self._keys: set[str] = set()
        self._seen: deque[tuple[float, str]] = deque()

    def is_new(self, key: str, now: float) -> bool:
        self._forget(now)
        return key not in self._keys

    def remember(self, key: str, now: float) -> None:
        self._keys.add(key)
        self._seen.append((now, key))

    def _forget(self, now: float) -> None:
        seen = self._seen
        while seen and seen[0][0] + self.window_seconds <= now:
            self._keys.discard(seen.popleft()[1])

    def __len__(self) -> int:
        return len(self._keys)
