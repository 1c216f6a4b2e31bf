"""CloudTasksSender: one CreateTask for each message, so many of them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from leveler.adapter import Sender
from leveler.errors import BatchError, ConfigError, LevelerError, MessageTooLarge
from leveler.message import Message
from leveler_cloudtasks.client import Client
from leveler_cloudtasks.tasks import Tasks

#: The service takes 1 MiB. What a dead letter adds to its message must have room, and so must the name of the task.
MAX_MESSAGE_BYTES: Final = 1024 * 1024 - 32 * 1024


class CloudTasksSender(Sender):
    """
    Args:
        name: of the queue.
        tasks: makes its tasks.
        client: queues them.
        calls: so many at once; None = the workers' address is not known, so nothing can be sent.
    """

    def __init__(self, name: str, tasks: Tasks, client: Client, calls: asyncio.Semaphore | None) -> None:
        self._name = name
        self._tasks = tasks
        self._client = client
        self._calls = calls

    def size(self, message: Message) -> int:
        size: int = self._tasks.live(message).ByteSize()
        return size

    async def send(self, messages: Sequence[Message]) -> None:
        errors = await asyncio.gather(*map(self._send, messages))
        failed = {place: error for place, error in enumerate(errors) if error is not None}
        if failed:
            raise BatchError(failed)

    async def _send(self, message: Message) -> LevelerError | None:
        if self._calls is None:
            return ConfigError("cloudtasks: set endpoint to the URL at which the service reaches the workers")
        task = self._tasks.live(message)
        if (size := task.ByteSize()) > MAX_MESSAGE_BYTES:
            return MessageTooLarge(f"message {message.id} takes {size} bytes of at most {MAX_MESSAGE_BYTES}")
        try:
            async with self._calls:
                await self._client.create_task(self._name, task)  # one that is there already is accepted, and dropped
        except LevelerError as error:
            return error
        return None
