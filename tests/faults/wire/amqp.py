"""AMQP 0-9-1, as far as it takes to tell the operations apart: frames, methods and the content that follows them.

A frame is type (1 byte), channel (2), size (4), payload, and 0xCE; the payload of a method begins with class and method
ids (2 and 2), that of a content header with class, weight and the size of the body (2, 2 and 8).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from tests.faults.wire.unit import Unit

PUBLISH: Final = "publish"
CONFIRM: Final = "confirm"
DELIVER: Final = "deliver"
ACK: Final = "ack"
REJECT: Final = "reject"
CONSUME: Final = "consume"

#: What a client, and what a server, says with which method.
REQUESTS: Final[Mapping[tuple[int, int], str]] = {
    (60, 20): CONSUME,
    (60, 40): PUBLISH,
    (60, 80): ACK,
    (60, 90): REJECT,
    (60, 120): REJECT,
}
REPLIES: Final[Mapping[tuple[int, int], str]] = {(60, 60): DELIVER, (60, 80): CONFIRM, (60, 120): CONFIRM}

#: basic.publish, basic.return, basic.deliver and basic.get-ok are followed by content.
_WITH_CONTENT: Final = {(60, 40), (60, 50), (60, 60), (60, 71)}

_METHOD: Final = 1
_HEADER: Final = 2
_BODY: Final = 3
_OVERHEAD: Final = 8
_GREETING: Final = b"AMQP"


class AmqpConversation:
    """One connection."""

    listens = True

    def __init__(self) -> None:
        self.requests = _Direction(REQUESTS).units
        self.replies = _Direction(REPLIES).units


class _Direction:
    def __init__(self, names: Mapping[tuple[int, int], str]) -> None:
        self._names = names
        self._rest = b""
        #: By channel: the operation whose content is on its way, and how much of it is to come; -1 = not yet known.
        self._content: dict[int, tuple[str, int]] = {}

    def units(self, data: bytes) -> Iterator[Unit]:
        data = self._rest + data
        at = 0
        while (end := _end(data, at)) is not None:
            yield self._unit(data[at:end])
            at = end
        self._rest = data[at:]

    def _unit(self, frame: bytes) -> Unit:
        if frame.startswith(_GREETING):
            return Unit(frame)
        kind, channel = struct.unpack_from(">BH", frame)
        if kind == _METHOD:
            return self._method(channel, frame)
        if kind in (_HEADER, _BODY) and channel in self._content:
            return self._part(channel, kind, frame)
        return Unit(frame)

    def _method(self, channel: int, frame: bytes) -> Unit:
        method = struct.unpack_from(">HH", frame, 7)
        name = self._names.get(method, "")
        if method in _WITH_CONTENT:
            self._content[channel] = (name, -1)
        return Unit(frame, name, last=method not in _WITH_CONTENT)

    def _part(self, channel: int, kind: int, frame: bytes) -> Unit:
        name, left = self._content[channel]
        left = struct.unpack_from(">Q", frame, 11)[0] if kind == _HEADER else left - (len(frame) - _OVERHEAD)
        self._content[channel] = (name, left)
        if not left:
            del self._content[channel]
        return Unit(frame, name, first=False, last=not left)


def _end(data: bytes, at: int) -> int | None:
    """Where the frame that begins at `at` ends; None if it is not there yet."""
    if data[at : at + 4] == _GREETING:
        end = at + 8
    elif len(data) < at + 7:
        return None
    else:
        end = at + _OVERHEAD + int(struct.unpack_from(">I", data, at + 3)[0])
    return end if len(data) >= end else None
