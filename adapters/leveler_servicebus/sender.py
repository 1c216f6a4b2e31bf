"""ServiceBusSender: sends to one queue, as many messages at once as the link takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from azure.servicebus import ServiceBusMessage

from leveler.adapter import QueueSpec, Sender
from leveler.clock import Clock
from leveler.errors import BatchError, BrokerUnavailable, LevelerError, MessageTooLarge, SendUnknown
from leveler.message import Message
from leveler_servicebus.clocks import Clocks
from leveler_servicebus.envelope import seal, size
from leveler_servicebus.errors import Unanswered
from leveler_servicebus.links import Link

#: Of the largest message, kept free for what the bookkeeping of a copy adds.
RESERVE_BYTES: Final = 4 * 1024
#: What one message of a batch has beside itself.
_WRAPPING_BYTES: Final = 16


class ServiceBusSender(Sender):
    """
    Args:
        queue: where to.
        link: to it.
        clock: for delays.
        clocks: what the service's clock says.
        max_link_bytes: what the link takes at once.
    """

    def __init__(self, queue: QueueSpec, link: Link, clock: Clock, clocks: Clocks, *, max_link_bytes: int) -> None:
        self._queue = queue
        self._link = link
        self._clock = clock
        self._clocks = clocks
        self._most = max_link_bytes

    def size(self, message: Message) -> int:
        return size(message)

    async def send(self, messages: Sequence[Message]) -> None:
        failed: dict[int, LevelerError] = {}
        away: LevelerError | None = None
        for portion in self._portions(messages, failed):
            try:
                if away is not None:
                    raise away
                await self._send([self._sealed(messages[place]) for place in portion])
            except LevelerError as error:
                failed |= dict.fromkeys(portion, _of_sending(error))
                if isinstance(error, BrokerUnavailable):  # the rest would only wait for it as well
                    away = BrokerUnavailable(str(error))
        if failed:
            raise BatchError(failed)

    async def doubt(self) -> None:
        """Nobody may be there any more, others have found."""
        await self._link.doubt()

    async def _send(self, sealed: Sequence[ServiceBusMessage]) -> None:
        await self._link.ask(lambda sender: _together(sender, sealed))

    def _sealed(self, message: Message) -> ServiceBusMessage:
        session = (message.key or message.id) if self._queue.ordered else None
        later = None
        if message.not_before is not None and message.delay_seconds(self._clock.now()) > 0:
            later = self._clocks.there(message.not_before)
        return seal(message, session=session, not_before=later)

    def _portions(self, messages: Sequence[Message], failed: dict[int, LevelerError]) -> Iterator[list[int]]:
        """Places, as many as go into one transfer; those that are too large are `failed`."""
        portion: list[int] = []
        total = RESERVE_BYTES
        for place, message in enumerate(messages):
            bytes_in_all = size(message)
            # What comes back as a copy says so, and may be a little larger than when it was sent.
            if bytes_in_all > (self._most if message.generation else self._most - RESERVE_BYTES):
                failed[place] = self._too_large(message, bytes_in_all)
                continue
            if portion and total + bytes_in_all > self._most:
                yield portion
                portion, total = [], RESERVE_BYTES
            total += bytes_in_all + _WRAPPING_BYTES
            portion.append(place)
        if portion:
            yield portion

    def _too_large(self, message: Message, bytes_in_all: int) -> MessageTooLarge:
        return MessageTooLarge(
            f"message {message.id!r} has {bytes_in_all} bytes, headers included; {self._queue.name!r} takes up to "
            f"{self._most - RESERVE_BYTES}: send a reference to the data instead"
        )


async def _together(sender: Any, sealed: Sequence[ServiceBusMessage]) -> None:
    """In one transfer. A list would be the same, and is converted twice."""
    if len(sealed) == 1:
        await sender.send_messages(sealed[0])
        return
    batch = await sender.create_message_batch()
    for message in sealed:
        batch.add_message(message)
    await sender.send_messages(batch)


def _of_sending(error: LevelerError) -> LevelerError:
    if isinstance(error, Unanswered):
        return SendUnknown(f"{error}; the message may or may not be queued: send it again with the same id")
    return error
