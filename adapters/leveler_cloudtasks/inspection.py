"""Inspection: depth, peek and purge, by listing tasks. The service allows 600 such calls in a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

from leveler.adapter import Depth, QueueSpec
from leveler.clock import Clock
from leveler.message import Message
from leveler_cloudtasks.client import Client
from leveler_cloudtasks.dead import held
from leveler_cloudtasks.push.desk import PARK_SECONDS
from leveler_cloudtasks.tasks import message_in, runs, seconds

_DELETES_AT_ONCE: Final = 32
_LOOKS: Final = 6


class Inspection:
    """
    Args:
        client: the calls.
        clock: to tell what is delayed.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def depth(self, queue: QueueSpec) -> Depth:
        ready = leased = delayed = dead = 0
        now = self._clock.now().timestamp()
        oldest = now
        async for task in self._client.tasks(queue.name, full=False):
            if runs(task):
                leased += 1
            elif _is_delayed(task, now):
                delayed += 1
            else:
                ready += 1
                oldest = min(oldest, seconds(task.create_time if task.dispatch_count else task.schedule_time))
        async for _ in self._client.tasks(queue.dead_name, full=False):
            dead += 1
        return Depth(ready, leased, delayed, dead, max(0.0, now - oldest))

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool) -> Sequence[Message]:
        seen: list[Message] = []
        name, now = queue.dead_name if dead else queue.name, self._clock.now()
        async with aclosing(self._client.tasks(name, full=True)) as tasks:
            async for task in tasks:
                hidden = held(task, self._clock) if dead else runs(task) or _is_delayed(task, now.timestamp())
                if not hidden:
                    seen.append(message_in(task, now))
                if len(seen) >= limit:
                    break
        return seen

    async def purge(self, queue: QueueSpec, *, dead: bool) -> int:
        """One by one: PurgeQueue would take what is being worked on, too. A task that is being offered to a worker may
        be refused and so is still waiting: it is looked at again.
        """
        name, purged = queue.dead_name if dead else queue.name, 0
        for look in range(_LOOKS):
            if look:
                await self._clock.sleep(PARK_SECONDS / (_LOOKS - 1))
            tasks = [task async for task in self._client.tasks(name, full=False)]
            waiting = [task.name for task in tasks if not (held(task, self._clock) if dead else runs(task))]
            purged += await self._delete(waiting)
            if dead or len(waiting) == len(tasks):
                break
        return purged

    async def _delete(self, names: Sequence[str]) -> int:
        turns = asyncio.Semaphore(_DELETES_AT_ONCE)

        async def delete(name: str) -> bool:
            async with turns:
                return await self._client.delete_task(name)

        return sum(await asyncio.gather(*map(delete, names)))


def _is_delayed(task: Any, now: float) -> bool:
    """Not yet due, and not because it was refused."""
    return not task.dispatch_count and seconds(task.schedule_time) > now
