"""Buffer: what was received and not started yet; workers take from it.

In an ordered queue it holds back, in a lane of its own, whatever follows an unsettled delivery of the same key.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from leveler.consumer.held import Held


class Buffer:
    """Deliveries that may start, in order.

    Args:
        ordered: hold back a key's followers until it is settled.
        on_taken: told when there is room again.
    """

    def __init__(self, *, ordered: bool, on_taken: Callable[[], object]) -> None:
        self._ordered = ordered
        self._on_taken = on_taken
        self._ready: deque[Held] = deque()
        self._lanes: dict[str, deque[Held]] = {}
        self._workers: deque[asyncio.Future[None]] = deque()
        self._waking = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready) + sum(map(len, self._lanes.values())) if self._lanes else len(self._ready)

    async def take(self, most: int) -> list[Held]:
        """1 to `most` deliveries that may start, as soon as there are any; none once it is closed."""
        ready = self._ready
        while not ready:
            if self._closed:
                return []
            idle = asyncio.get_running_loop().create_future()
            self._workers.append(idle)
            try:
                await idle
            finally:
                self._waking = False
        taken = [ready.popleft()] if most == 1 else [ready.popleft() for _ in range(min(most, len(ready)))]
        self._on_taken()
        if ready and self._workers:
            self._wake_worker()
        return taken

    def put(self, held: Sequence[Held], *, first: bool = False) -> None:
        """Let workers have `held`; before everything else if `first`."""
        for one in held:
            key = one.delivery.message.key
            if self._ordered and key is not None and not first:
                lane = self._lanes.get(key)
                if lane is not None:
                    lane.append(one)
                    continue
                self._lanes[key] = deque()
            if first:
                self._ready.appendleft(one)
            else:
                self._ready.append(one)
        self._wake_worker()

    def follow(self, held: Held, *, done: bool) -> list[Held]:
        """`held` is settled: its key's next one may start. If it was not `done`, its followers must go back."""
        key = held.delivery.message.key
        lane = self._lanes.get(key) if self._ordered and key is not None else None
        if key is None or lane is None:
            return []
        if not done or not lane:
            del self._lanes[key]
            return list(lane)
        self._ready.append(lane.popleft())
        self._wake_worker()
        return []

    def drop(self, held: Held) -> None:
        """Its lease is lost before it was started."""
        if held in self._ready:
            self._ready.remove(held)

    def empty(self) -> list[Held]:
        """Take out everything that nobody has started, in order of receipt."""
        unstarted = list(self._ready)
        self._ready.clear()
        for lane in self._lanes.values():
            unstarted.extend(lane)
            lane.clear()
        for held in unstarted:
            if (key := held.delivery.message.key) is not None and not self._lanes.get(key):
                self._lanes.pop(key, None)
        return unstarted

    def _wake_worker(self) -> None:
        """Wake one; it wakes the next when it leaves something. So quick handlers cost one wake-up a batch."""
        while self._workers and self._ready and not self._waking:
            idle = self._workers.popleft()
            if not idle.done():
                idle.set_result(None)
                self._waking = True

    def close(self) -> None:
        """Workers go home when it is empty."""
        self._closed = True
        for idle in self._workers:
            if not idle.done():
                idle.set_result(None)
        self._workers.clear()
