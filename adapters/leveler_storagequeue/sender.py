"""StorageQueueSender: sends to one queue, a request for each message."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from leveler.adapter import QueueSpec, Sender
from leveler.clock import Clock
from leveler.errors import BatchError, LevelerError, MessageTooLarge, SendUnknown
from leveler.message import Message
from leveler_storagequeue.errors import Unanswered
from leveler_storagequeue.letter import MOST_BYTES, RESERVE_BYTES, size_of, text_of
from leveler_storagequeue.service import Service

#: The service hides a message for no longer.
LONGEST_HIDDEN_SECONDS: Final = 7 * 24 * 3600
#: Unless told so, the service throws away what has waited for a week.
FOR_EVER: Final = -1


class StorageQueueSender(Sender):
    """
    Args:
        queue: where to.
        service: to ask.
        clock: for delays.
    """

    def __init__(self, queue: QueueSpec, service: Service, clock: Clock) -> None:
        self._name = queue.name
        self._service = service
        self._queue = service.queue(queue.name)
        self._clock = clock

    def size(self, message: Message) -> int:
        return size_of(text_of(message))

    async def send(self, messages: Sequence[Message]) -> None:
        async def one(place: int, due: float) -> None:
            await self._send(messages[place], due)

        if failed := await self._service.each(len(messages), one):
            raise BatchError(failed)

    async def _send(self, message: Message, due: float) -> None:
        text = text_of(message)
        self._check(message, size_of(text))
        hidden = min(math.ceil(message.delay_seconds(self._clock.now())), LONGEST_HIDDEN_SECONDS)
        request = self._queue.send_message(text, visibility_timeout=hidden or None, time_to_live=FOR_EVER)
        try:
            await self._service.ask(request, self._name, due)
        except LevelerError as error:
            raise _of_sending(error) from error

    def _check(self, message: Message, size: int) -> None:
        # What comes back from the dead letters says so, and may be a little larger than when it was sent.
        most = MOST_BYTES if message.generation else MOST_BYTES - RESERVE_BYTES
        if size > most:
            raise MessageTooLarge(
                f"message {message.id!r} has {size} bytes as it is written, headers included; {self._name!r} takes up "
                f"to {most}: send a reference to the data instead"
            )


def _of_sending(error: LevelerError) -> LevelerError:
    if isinstance(error, Unanswered):
        return SendUnknown(f"{error}; the message may or may not be queued: send it again with the same id")
    return error
