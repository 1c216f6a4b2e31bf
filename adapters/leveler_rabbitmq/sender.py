"""RabbitMQSender: sends to one queue."""

from __future__ import annotations

from collections.abc import Sequence

from leveler.adapter import QueueSpec, Sender
from leveler.clock import Clock
from leveler.errors import BatchError, LevelerError, MessageTooLarge
from leveler.message import Message
from leveler_rabbitmq.delays import Room, delay_room, wait_of
from leveler_rabbitmq.envelope import seal
from leveler_rabbitmq.post import Post
from leveler_rabbitmq.publisher import Letter


class RabbitMQSender(Sender):
    """
    Args:
        queue: where to.
        post: over which.
        clock: for delays.
        max_message_bytes: largest message.
    """

    def __init__(self, queue: QueueSpec, post: Post, clock: Clock, max_message_bytes: int) -> None:
        self._queue = queue
        self._post = post
        self._clock = clock
        self._most = max_message_bytes

    def size(self, message: Message) -> int:
        return len(seal(message)) + len(message.body)

    async def send(self, messages: Sequence[Message]) -> None:
        failed: dict[int, LevelerError] = {}
        letters: list[Letter] = []
        rooms: list[Room | None] = []
        places: list[int] = []
        for place, message in enumerate(messages):
            try:
                letter, room = letter_of(message, self._queue.name, self._clock)
                self._check(letter)
            except LevelerError as error:
                failed[place] = error
            else:
                letters.append(letter)
                rooms.append(room)
                places.append(place)
        if letters:
            refused = await self._accepted(letters, rooms)
            failed.update({places[index]: error for index, error in refused.items()})
        if failed:
            raise BatchError(failed)

    async def _accepted(self, letters: Sequence[Letter], rooms: Sequence[Room | None]) -> dict[int, LevelerError]:
        name, bounded = self._queue.name, self._queue.max_depth is not None
        if any(rooms):
            return dict(await self._post.send_delayed(name, letters, rooms, bounded=bounded))
        return dict(await self._post.send(name, letters, bounded=bounded))

    def _check(self, letter: Letter) -> None:
        if (size := len(letter.properties) + len(letter.body)) > self._most:
            raise MessageTooLarge(
                f"message {letter.id!r} has {size} bytes, headers included; this queue takes up to {self._most} "
                "(max_message_bytes): send a reference to the data instead"
            )


def letter_of(message: Message, queue: str, clock: Clock) -> tuple[Letter, Room | None]:
    """`message` on its way to `queue`, and where it waits first, if it has to wait.

    Raises:
        InvalidMessage: an attribute does not fit into AMQP.
    """
    if message.not_before is None or (seconds := message.delay_seconds(clock.now())) <= 0:
        return Letter(queue, message.id, seal(message), message.body), None
    wait = wait_of(seconds)
    room = delay_room(queue, wait.length_ms)
    return Letter(room.name, message.id, seal(message, waits_on=wait.waits_on), message.body), room
