"""CloudTasksReceiver: what a worker of the service does besides answering requests."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec
from leveler.clock import Clock
from leveler.errors import MessageTooLarge
from leveler.message import Message
from leveler_cloudtasks.client import Client
from leveler_cloudtasks.push import Desks, PushReceiver
from leveler_cloudtasks.tasks import Tasks, fits

#: Before the copy of what has failed: the answer to its source must be there first, and if the message has just ended a
#: process, it would end this one before it is.
_PAUSE_SECONDS: Final = 0.1


class CloudTasksReceiver(PushReceiver):
    """
    Args:
        queue: which.
        capacity: the most that it may hold.
        clock: time.
        tasks: makes the copies.
        client: queues them.
        open_desks: makes sure that the endpoint is there.
    """

    def __init__(
        self,
        queue: QueueSpec,
        *,
        capacity: int,
        clock: Clock,
        tasks: Tasks,
        client: Client,
        open_desks: Callable[[], Awaitable[Desks]],
    ) -> None:
        super().__init__(queue.name, queue.lease_seconds, capacity=capacity, clock=clock)
        self._tasks = tasks
        self._client = client
        self._open_desks = open_desks

    async def opened(self) -> Desks:
        await self._client.queue(self.name)  # a queue that is not there would be waited at for ever
        return await self._open_desks()

    async def copied(self, item: Abandon) -> bool:
        if item.delay_seconds <= 0:
            return False
        task = self._tasks.live(item.copy(self._clock.now()))
        if not fits(task):  # then the service itself tries it again, when it likes
            return False
        await self._client.create_task(self.name, task)
        return True

    async def resend(self, message: Message) -> None:
        task = self._tasks.live(message, _PAUSE_SECONDS)
        if not fits(task):
            raise MessageTooLarge(f"message {message.id}: what it came with leaves no room for a copy")
        await self._client.create_task(self.name, task)

    async def buried(self, item: DeadLetter) -> None:
        letter = item.delivery.message.dead(item.death)
        # The same letter again, if the answer to the first try was lost: its name is its delivery's.
        name = hashlib.sha256(_origin(item.delivery).encode()).hexdigest()[:40]
        await self._client.create_task(f"{self.name}-dead", self._tasks.letter(letter, f"{name}-0"))


def _origin(delivery: Delivery) -> str:
    return f"{delivery.receipt.origin}\0{delivery.message.dedup_key}"
