"""Unit: a piece of a conversation that is passed on whole or not at all, unless somebody cuts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol


class Unit(NamedTuple):
    """One frame, command or reply."""

    data: bytes
    #: What it does, in words of its protocol's module; empty if nobody asks.
    name: str = ""
    #: Whether the operation begins with it, and whether it ends with it: content takes several frames.
    first: bool = True
    last: bool = True
    #: Of a request: whether there is an answer to it.
    asks: bool = True


class Conversation(Protocol):
    """Splits the two directions of one connection into units, whatever the chunks that they come in."""

    @property
    def listens(self) -> bool:
        """Whether the client waits for something even when it has asked nothing: for deliveries, for a heartbeat."""
        ...

    def requests(self, data: bytes) -> Iterator[Unit]:
        """The units that are complete with this chunk from the client."""
        ...

    def replies(self, data: bytes) -> Iterator[Unit]:
        """The units that are complete with this chunk from the server."""
        ...


NewConversation = Callable[[], Conversation]
