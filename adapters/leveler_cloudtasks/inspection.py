"""Inspection: depth, peek and purge, by listing tasks. The service allows 600 such calls in a minute."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
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


@dataclass
class Look:
    """What was seen of a queue at one time."""

    #: Nobody has them.
    waiting: list[Any] = field(default_factory=list[Any])
    #: Whether one went to a worker so lately that it may be refused, and so still wait.
    offered: bool = False


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
        seen: dict[str, Message] = {}
        async with aclosing(self._looks(queue, dead, full=True, most=limit)) as looks:
            async for look in looks:
                now = self._clock.now()
                due = [task for task in look.waiting if dead or not _is_delayed(task, now.timestamp())]
                seen.update({task.name: message_in(task, now) for task in due})
                if len(seen) >= limit:
                    break
        return list(seen.values())[:limit]

    async def purge(self, queue: QueueSpec, *, dead: bool) -> int:
        """One by one: PurgeQueue would take what is being worked on, too."""
        purged = 0
        async for look in self._looks(queue, dead, full=False):
            purged += await self._delete([task.name for task in look.waiting])
        return purged

    async def _looks(
        self, queue: QueueSpec, dead: bool, *, full: bool, most: int = sys.maxsize
    ) -> AsyncGenerator[Look, None]:
        """At the queue, until nothing of it is on offer any more."""
        for number in range(_LOOKS):
            if number:
                await self._clock.sleep(PARK_SECONDS / (_LOOKS - 1))
            look = await self._look(queue.dead_name if dead else queue.name, full=full, most=most)
            yield look
            if not look.offered:
                return

    async def _look(self, name: str, *, full: bool, most: int) -> Look:
        look, now = Look(), self._clock.now().timestamp()
        async with aclosing(self._client.tasks(name, full=full)) as tasks:
            async for task in tasks:
                if runs(task):
                    look.offered |= now - seconds(task.last_attempt.dispatch_time) < PARK_SECONDS
                elif not held(task, self._clock):
                    look.waiting.append(task)
                if len(look.waiting) >= most:
                    break
        return look

    async def _delete(self, names: Sequence[str]) -> int:
        turns = asyncio.Semaphore(_DELETES_AT_ONCE)

        async def delete(name: str) -> bool:
            async with turns:
                return await self._client.delete_task(name)

        return sum(await asyncio.gather(*map(delete, names)))


def _is_delayed(task: Any, now: float) -> bool:
    """Not yet due, and not because it was refused."""
    return not task.dispatch_count and seconds(task.schedule_time) > now
