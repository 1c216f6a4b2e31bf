"""Queue: a typed handle. A type checker knows what may be sent to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, TypeVar, Unpack

from leveler.message import Message
from leveler.producer import SendWords

if TYPE_CHECKING:
    from leveler.app import Leveler

T = TypeVar("T")


class Queue(Generic[T]):
    """A queue and the type of what it carries."""

    def __init__(self, app: Leveler, name: str, type: type[T]) -> None:
        self._app = app
        self.name = name
        self.type = type

    async def send(self, value: T, **words: Unpack[SendWords]) -> Message:
        """See `Leveler.send`."""
        return await self._app.send(self.name, value, **words)

    async def send_many(self, values: Iterable[T], **words: Unpack[SendWords]) -> list[Message]:
        """See `Leveler.send_many`."""
        return await self._app.send_many(self.name, values, **words)
