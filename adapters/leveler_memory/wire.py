"""Wire: how a broker carries the envelope, and what it counts as its size."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from leveler.message import Message

#: Times, counters and trace context, counted as a flat sum: writing them out only to count them would take longer
#: than all the rest of a send.
_BOOKKEEPING_BYTES: Final = 256


class Wire(NamedTuple):
    #: The bytes that count against the limit.
    size: Callable[[Message], int]
    #: There and back again: what the other side makes of the message. None: it gets the very same object.
    carry: Callable[[Message, datetime], Message] | None = None


def _flat_size(message: Message) -> int:
    size = len(message.body) + _BOOKKEEPING_BYTES
    size += len(message.id) + len(message.type) + len(message.source) + len(message.content_type)
    if message.key is not None:
        size += len(message.key)
    return size + _header_bytes(message) if message.headers else size


def _binary_size(message: Message) -> int:
    attributes = message.attributes()
    return (
        len(message.body)
        + _header_bytes(message)
        + sum(len(name) + len(value.encode()) for name, value in attributes.items())
    )


def _header_bytes(message: Message) -> int:
    return sum(len(name) + len(value.encode()) for name, value in message.headers.items())


def _carry_binary(message: Message, received_at: datetime) -> Message:
    return Message.from_attributes(message.attributes(), message.body, message.headers, received_at=received_at)


def _structured_size(message: Message) -> int:
    return len(message.to_json())


def _carry_structured(message: Message, received_at: datetime) -> Message:
    return Message.from_json(message.to_json(), received_at=received_at)


#: Nothing is written at all.
DIRECT: Final = Wire(_flat_size)
#: Body bytes untouched, attributes in native headers.
BINARY: Final = Wire(_binary_size, _carry_binary)
#: One JSON document.
STRUCTURED: Final = Wire(_structured_size, _carry_structured)
