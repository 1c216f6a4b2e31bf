"""Buffer: what was received and not started yet; workers take from it.

In an ordered queue every delivery stands in the lane of its key from its receipt to its settlement, and only the
first of a lane may start.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from leveler.consumer.held import BUFFERED, RUNNING, Held


class Buffer:
    """Deliveries that may start, in order. Its length is how many a worker could take now.

    Args:
        ordered: hold back a key's followers until it is settled.
        on_taken: told when there is room again.
    """

    def __init__(self, *, ordered: bool, on_taken: Callable[[], object]) -> None:
        self.ordered = ordered
        self._on_taken = on_taken
        self._ready: deque[Held] = deque()
        self._lanes: dict[str, deque[Held]] = {}
        self._workers: deque[asyncio.Future[None]] = deque()
        self._waking = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    async def take(self, most: Callable[[], int]) -> list[Held]:
        """1 to `most()` deliveries that may start, as soon as there are any; none once it is closed."""
        ready = self._ready
        while not self._ripe():
            if self._closed:
                return []
            idle = asyncio.get_running_loop().create_future()
            self._workers.append(idle)
            try:
                await idle
            finally:
                self._waking = False
        taken = [ready.popleft() for _ in range(min(most(), len(ready)))]
        self._on_taken()
        if ready and self._workers:
            self._wake_worker()
        return taken

    def line_up(self, arrived: Sequence[Held]) -> None:
        """These have just arrived, whatever becomes of them: none of their keys may overtake them."""
        if self.ordered:
            for held in arrived:
                if (key := held.delivery.message.key) is not None:
                    self._lanes.setdefault(key, deque()).append(held)

    def put(self, held: Sequence[Held]) -> None:
        """Let workers have `held`, each as soon as it is the first of its lane.

        They wake in the loop's next turn but one: before they keep it busy, whoever put these may ask for more, which
        the broker fetches meanwhile.
        """
        self._ready.extend(self._leading(held) if self.ordered else held)
        if self._workers:
            asyncio.get_running_loop().call_soon(self._wake_worker)

    def put_first(self, held: Sequence[Held]) -> None:
        """The same, ahead of everything else: they have waited already."""
        self._ready.extendleft(reversed(self._leading(held)))
        self._wake_worker()

    def follow(self, held: Held, *, done: bool) -> list[Held]:
        """`held` has left this consumer: the next of its key may start. But if it is not `done` it will come back, and
        those behind it, which are returned, must leave too, or they would overtake it."""
        key = held.delivery.message.key
        lane = self._lanes.get(key) if self._lanes and key is not None else None
        if key is None or lane is None or held not in lane:
            return []
        led = lane[0] is held
        behind = list(islice(lane, lane.index(held) + 1, None))
        lane.remove(held)
        if not done:
            for _ in behind:
                lane.pop()
        if not lane:
            del self._lanes[key]
        elif led and lane[0].state == BUFFERED:
            self._ready.append(lane[0])
            self._wake_worker()
        return [] if done else [one for one in behind if one.state < RUNNING]

    def drop(self, held: Held) -> None:
        """Its lease is lost before it was started."""
        if held in self._ready:
            self._ready.remove(held)

    def empty(self) -> list[Held]:
        """Take out everything that nobody has started, each key in its order."""
        unstarted = list(self._ready)
        self._ready.clear()
        for lane in self._lanes.values():
            unstarted.extend(held for held in islice(lane, 1, None) if held.state == BUFFERED)
        return unstarted

    def close(self) -> None:
        """Workers go home when it is empty."""
        self._closed = True
        for idle in self._workers:
            if not idle.done():
                idle.set_result(None)
        self._workers.clear()

    def _ripe(self) -> bool:
        """Whether a worker may take something now."""
        return bool(self._ready)

    def _leading(self, held: Sequence[Held]) -> list[Held]:
        """Those of `held` that nothing stands before; the others wait in their lanes."""
        for one in held:
            one.state = BUFFERED
        return [one for one in held if self.is_first(one)]

    def is_first(self, held: Held) -> bool:
        """Whether nothing of its key stands before it."""
        key = held.delivery.message.key
        lane = self._lanes.get(key) if key is not None else None
        return lane is None or lane[0] is held

    def _wake_worker(self) -> None:
        """Wake one; it wakes the next when it leaves something. So quick handlers cost one wake-up a batch."""
        while self._workers and self._ripe() and not self._waking:
            idle = self._workers.popleft()
            if not idle.done():
                idle.set_result(None)
                self._waking = True
