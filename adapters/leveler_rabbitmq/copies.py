"""Copies: the messages that stand in for others where RabbitMQ has no other way. Each is confirmed before its source
goes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from leveler.adapter import Delivery, QueueSpec
from leveler.clock import Clock
from leveler.errors import LevelerError, MessageTooLarge
from leveler.message import Message, cut
from leveler_rabbitmq.delays import Room, solo_rooms
from leveler_rabbitmq.envelope import seal
from leveler_rabbitmq.feed import Arrival
from leveler_rabbitmq.post import Post
from leveler_rabbitmq.publisher import Letter
from leveler_rabbitmq.sender import letter_of

#: Of each text in a copy that is too large with all that came.
_MOST_BYTES: Final = 1024

log = logging.getLogger("leveler")


class Copies:
    """
    Args:
        queue: whose messages are copied.
        post: over which.
        clock: for delays.
    """

    def __init__(self, queue: QueueSpec, post: Post, clock: Clock) -> None:
        self._solo_room = solo_rooms(queue.name)[0]
        self._lane = f"{queue.name} copies"
        self._bounded = queue.max_depth is not None
        self._post = post
        self._clock = clock

    async def send(self, copies: Mapping[int, Message], queue: str) -> dict[int, LevelerError]:
        """Send each to that queue; the error of each that was not accepted, by its key."""
        return await self._send(copies, lambda copy: letter_of(copy, queue, self._clock))

    @property
    def solo_room(self) -> Room:
        """Where marked messages wait to be fetched."""
        return self._post.rooms.usable(self._solo_room)

    async def send_marked(self, copies: Mapping[int, Message], room: Room) -> dict[int, LevelerError]:
        """The same to `solo_room`."""
        return await self._send(copies, lambda copy: (Letter(room.name, copy.id, seal(copy), copy.body), room))

    async def _send(
        self, copies: Mapping[int, Message], address: Callable[[Message], tuple[Letter, Room | None]]
    ) -> dict[int, LevelerError]:
        failed = await self._attempt(copies, address)
        large = [place for place, error in failed.items() if isinstance(error, MessageTooLarge)]
        if not large:
            return failed
        for place in large:
            log.warning("%s; a copy goes without its headers, for none would be worse", failed.pop(place))
        return failed | await self._attempt({place: _bare(copies[place]) for place in large}, address)

    async def _attempt(
        self, copies: Mapping[int, Message], address: Callable[[Message], tuple[Letter, Room | None]]
    ) -> dict[int, LevelerError]:
        failed: dict[int, LevelerError] = {}
        letters, rooms, places = list[Letter](), list[Room | None](), list[int]()
        for place, copy in copies.items():
            try:
                letter, room = address(copy)
            except LevelerError as error:
                failed[place] = error
            else:
                letters.append(letter)
                rooms.append(room)
                places.append(place)
        if letters:
            refused = await self._post.send_delayed(self._lane, letters, rooms, bounded=self._bounded)
            failed.update({places[index]: error for index, error in refused.items()})
        return failed


def _bare(copy: Message) -> Message:
    """Without headers, and with no more than the beginning of what else its sender may have made too large for a frame
    together with what we add: who cannot be copied would be delivered for ever."""
    return msgspec.structs.replace(
        copy,
        headers={},
        type=cut(copy.type, _MOST_BYTES),
        source=cut(copy.source, _MOST_BYTES),
        content_type=cut(copy.content_type, _MOST_BYTES),
        key=copy.key and cut(copy.key, _MOST_BYTES),
        traceparent=None,
    )


def unseen(arrival: Arrival) -> Message:
    """The copy of what came and was not handed out: its count begins where this one was, and its delay goes on."""
    message = arrival.message
    not_before = message.not_before if arrival.waits_on else None
    return message.copy(attempts=arrival.attempt - 1, not_before=not_before, failed_at=message.failed_at)


def marked(delivery: Delivery) -> Message:
    """The copy of what is started alone: it knows of this delivery, and of a start that its process did not outlive."""
    message = delivery.message
    copy = message.copy(attempts=delivery.attempt, not_before=None, failed_at=message.failed_at)
    return msgspec.structs.replace(copy, solos=message.solos + 1)


def outlived(arrival: Arrival) -> Message:
    """What was marked, as we have it: if we can do anything about it, its process has outlived it."""
    message = arrival.message
    return msgspec.structs.replace(message, attempts=message.attempts - 1, solos=message.solos - 1)
