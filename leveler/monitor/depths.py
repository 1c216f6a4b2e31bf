"""Depths of queues, asked for no more often than makes sense, however many look."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from leveler.adapter import Adapter, Capabilities, Depth, QueueSpec
from leveler.clock import Clock
from leveler.errors import LevelerError
from leveler.patience import Unanswered, answer

#: To count is work for a broker, and costs money at some: what was counted so lately is not counted again.
FRESH_SECONDS: Final = 0.25


class Counted(Protocol):
    """A declared queue."""

    @property
    def spec(self) -> QueueSpec: ...

    @property
    def adapter(self) -> Adapter: ...

    @property
    def can(self) -> Capabilities: ...


class Depths:
    """
    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._one = asyncio.Lock()
        self._counted_at: dict[str, float] = {}
        self._depths: dict[str, Depth | None] = {}

    async def of(self, queues: Sequence[Counted]) -> Mapping[str, Depth | None]:
        """The depth of each queue by its name; None where the broker cannot tell, or does not answer now."""
        async with self._one:  # who comes while it counts shares what it found
            await asyncio.gather(*(self._count(queue) for queue in queues if self._is_old(queue.spec.name)))
        return {queue.spec.name: self._depths[queue.spec.name] for queue in queues}

    def _is_old(self, name: str) -> bool:
        at = self._counted_at.get(name)
        return at is None or self._clock.monotonic() >= at + FRESH_SECONDS

    async def _count(self, queue: Counted) -> None:
        name, depth = queue.spec.name, None
        if queue.can.depth != "none":
            try:
                verb = queue.adapter.depth(queue.spec)
                depth = await answer(verb, self._clock, queue.adapter.deadline_seconds)
            except (LevelerError, Unanswered):
                pass  # whoever consumes the queue says in the log what is wrong
        self._depths[name] = depth
        self._counted_at[name] = self._clock.monotonic()
