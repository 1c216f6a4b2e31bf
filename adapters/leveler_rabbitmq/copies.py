"""Copies: the messages that stand in for others where RabbitMQ has no other way. Each is confirmed before its source
goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from leveler.adapter import Abandon, QueueSpec
from leveler.clock import Clock
from leveler.errors import LevelerError
from leveler.message import Message
from leveler_rabbitmq.feed import Arrival
from leveler_rabbitmq.post import Post
from leveler_rabbitmq.sender import letter_of


class Copies:
    """
    Args:
        queue: whose messages are copied.
        post: over which.
        clock: for delays.
    """

    def __init__(self, queue: QueueSpec, post: Post, clock: Clock) -> None:
        self._bounded = queue.max_depth is not None
        self._post = post
        self._clock = clock

    async def send(self, copies: Mapping[int, Message], queue: str) -> dict[int, LevelerError]:
        """Send each to that queue; the error of each that was not accepted, by its key."""
        failed: dict[int, LevelerError] = {}
        letters, lengths, places = [], [], []
        for place, copy in copies.items():
            try:
                letter, length = letter_of(copy, queue, self._clock)
            except LevelerError as error:
                failed[place] = error
            else:
                letters.append(letter)
                lengths.append(length)
                places.append(place)
        if letters:
            refused = await self._post.send_delayed(queue, f"{queue} copies", letters, lengths, bounded=self._bounded)
            failed.update({places[index]: error for index, error in refused.items()})
        return failed


def given_back(item: Abandon, now: datetime) -> Message:
    """The copy of what is given back with a delay, or uncounted."""
    message, attempt = item.delivery.message, item.delivery.attempt
    return message.copy(
        attempts=attempt if item.counted else attempt - 1,
        not_before=now + timedelta(seconds=item.delay_seconds) if item.delay_seconds > 0 else None,
        failed_at=(message.failed_at or now) if item.counted else message.failed_at,
    )


def unseen(arrival: Arrival) -> Message:
    """The copy of what came and was not handed out: its count begins where this one was, and its delay goes on."""
    message = arrival.message
    not_before = message.not_before if arrival.waits_on else None
    return message.copy(attempts=arrival.attempt - 1, not_before=not_before, failed_at=message.failed_at)
