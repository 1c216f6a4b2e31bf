"""Frames that are written and read for every message, by hand: a general codec would take longer than all the rest.

AMQP 0-9-1, sections 2.3 (frames) and 4.2 (their grammar). Every other frame goes through pamqp.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3

#: kind, channel, size of what follows up to the end mark
HEAD: Final = Struct(">BHI")
HEAD_BYTES: Final = 7
END: Final = b"\xce"
#: Around the payload of each frame.
FRAME_BYTES: Final = 8

#: class and method of a method frame, as one number
METHOD_ID: Final = Struct(">I")
LONG_LONG: Final = Struct(">Q")
#: of a reply
CODE: Final = Struct(">H")

DELIVER: Final = (60 << 16) + 60
RETURN: Final = (60 << 16) + 50
ACK: Final = (60 << 16) + 80
NACK: Final = (60 << 16) + 120

CONNECTION_CLOSE: Final = (10 << 16) + 50
CONNECTION_BLOCKED: Final = (10 << 16) + 60
CONNECTION_UNBLOCKED: Final = (10 << 16) + 61

CLOSE_OK: Final = HEAD.pack(METHOD, 0, 4) + METHOD_ID.pack((10 << 16) + 51) + END
HEARTBEAT: Final = HEAD.pack(8, 0, 0) + END

_SETTLE: Final = Struct(">BHIIQBc")
_CONTENT: Final = Struct(">BHIHHQ")


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return HEAD.pack(kind, channel, len(payload)) + payload + END


def publish(channel: int, routing_key: str) -> bytes:
    """Method frame: to the queue of that name, through the default exchange, or back to us (``mandatory``)."""
    return frame(METHOD, channel, METHOD_ID.pack((60 << 16) + 40) + b"\0\0\0" + short_text(routing_key) + b"\1")


def content(channel: int, properties: bytes, body: bytes, frame_max: int) -> list[bytes]:
    """Header and body frames."""
    parts = [_CONTENT.pack(HEADER, channel, 12 + len(properties), 60, 0, len(body)), properties, END]
    if len(body) <= (most := frame_max - FRAME_BYTES):
        if body:
            parts += (HEAD.pack(BODY, channel, len(body)), body, END)
        return parts
    for start in range(0, len(body), most):
        portion = body[start : start + most]
        parts += (HEAD.pack(BODY, channel, len(portion)), portion, END)
    return parts


def ack(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """This delivery is done; if `multiple`, so is every unsettled one before it."""
    return _SETTLE.pack(METHOD, channel, 13, ACK, tag, multiple, END)


def reject(channel: int, tag: int) -> bytes:
    """This delivery goes back. It counts, also from RabbitMQ 4.3 on, where a nack does not."""
    return _SETTLE.pack(METHOD, channel, 13, (60 << 16) + 90, tag, True, END)


def short_text(text: str) -> bytes:
    """Up to 255 bytes."""
    data = text.encode()
    return bytes((len(data),)) + data
