"""MemorySender: messages into a queue, if they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from leveler.adapter import Sender
from leveler.clock import Clock
from leveler.errors import BatchError, LevelerError, MessageTooLarge, QueueFull
from leveler.message import Message
from leveler_memory.personality import Personality
from leveler_memory.queue import MemoryQueue

#: All but the body takes less, headers included and everything escaped. Only a body that could reach the limit
#: together with so much is measured.
_ENVELOPE_BYTES: Final = 128 * 1024


class MemorySender(Sender):
    """Sends to one queue.

    Args:
        find: the queue, as it is when something is sent; raises `QueueNotFound`.
    """

    def __init__(self, find: Callable[[], MemoryQueue], personality: Personality, clock: Clock) -> None:
        self._find = find
        self._personality = personality
        self._clock = clock
        self._limit_bytes = personality.capabilities.max_message_bytes
        # A body that is not JSON takes a third more in a JSON document.
        self._surely_small_bytes = (self._limit_bytes - _ENVELOPE_BYTES) * 3 // 4

    def size(self, message: Message) -> int:
        return self._personality.wire.size(message)

    async def send(self, messages: Sequence[Message]) -> None:
        self._personality.check_batch(len(messages))
        queue = self._find()
        failed = self._too_large(messages)
        if not failed:
            failed = self._send(queue, messages, range(len(messages)))
        else:
            rest = [index for index in range(len(messages)) if index not in failed]
            failed |= self._send(queue, [messages[index] for index in rest], rest)
        if failed:
            raise _as_one(failed, len(messages))

    def _too_large(self, messages: Sequence[Message]) -> dict[int, LevelerError]:
        small = self._surely_small_bytes
        return {
            index: MessageTooLarge(
                f"message {message.id} takes {size} bytes, and this queue takes at most {self._limit_bytes}: "
                "keep the data somewhere else and send a reference to it"
            )
            for index, message in enumerate(messages)
            if len(message.body) > small and (size := self.size(message)) > self._limit_bytes
        }

    def _send(self, queue: MemoryQueue, messages: Sequence[Message], indexes: Sequence[int]) -> dict[int, LevelerError]:
        queue.asker = self._clock
        refused = queue.send(self._carried(messages), queue.catch_up())
        if not refused:
            return {}
        full = QueueFull(f"queue {queue.name!r} holds {queue.max_depth} waiting messages, its bound; send again later")
        return {indexes[place]: full for place in refused}

    def _carried(self, messages: Sequence[Message]) -> Sequence[Message]:
        carry = self._personality.wire.carry
        if carry is None:
            return messages
        received_at = self._clock.now()
        return [carry(message, received_at) for message in messages]


def _as_one(failed: dict[int, LevelerError], count: int) -> LevelerError:
    """One and the same error for all is the error of the call; anything else is told item by item."""
    if len(failed) == count and len(set(failed.values())) == 1:
        return failed[0]
    return BatchError(failed)
