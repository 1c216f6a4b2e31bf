"""A queue made anew: on a server that outlives a measurement, each begins with an empty one."""

from __future__ import annotations

from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find


async def made_anew(url: str, name: str) -> None:
    """Drop the queue and declare it, as leveler would."""
    async with find(url, clock=SystemClock(), deadline_seconds=10.0) as adapter:
        queue = QueueSpec(name=name)
        await adapter.drop(queue)
        await adapter.declare(queue)
