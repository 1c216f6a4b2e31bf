"""SQSSender: sends to one queue."""

from __future__ import annotations

from collections.abc import Sequence

from leveler.adapter import Sender
from leveler.errors import BatchError
from leveler.message import Message
from leveler_sqs.envelope import seal
from leveler_sqs.post import Post


class SQSSender(Sender):
    """
    Args:
        post: to the queue.
    """

    def __init__(self, post: Post) -> None:
        self._post = post

    def size(self, message: Message) -> int:
        return seal(message).size

    async def send(self, messages: Sequence[Message]) -> None:
        if failed := await self._post.send(dict(enumerate(messages))):
            raise BatchError(failed)
