"""The stream of bytes <-> frames: a head of size, offset, type and channel, then a performative and its payload."""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from leveler_servicebus.emulator.amqp.performatives import Performative, decode_performative, encode_performative
from leveler_servicebus.emulator.amqp.values import DecodeError

AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
TLS_HEADER: Final = b"AMQP\x02\x01\x00\x00"
SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
HEADER_BYTES: Final = 8

#: Kept by both sides although it says nothing: the connection lives.
EMPTY_FRAME: Final = b"\x00\x00\x00\x08\x02\x00\x00\x00"

_HEAD: Final = struct.Struct(">IBBH")
_AMQP, _SASL = 0, 1


class Frame(NamedTuple):
    """One frame; `performative` is None if it is empty."""

    channel: int
    performative: Any
    payload: bytes


def amqp_frame(channel: int, performative: Performative, payload: bytes = b"") -> bytes:
    return frame_of(channel, encode_performative(performative) + payload)


def sasl_frame(performative: Performative) -> bytes:
    return frame_of(0, encode_performative(performative), _SASL)


def frame_of(channel: int, body: bytes, kind: int = _AMQP) -> bytes:
    return _HEAD.pack(len(body) + 8, 2, kind, channel) + body


class FrameReader:
    """What has been received and not been understood yet.

    Args:
        max_frame_bytes: larger frames are refused.
    """

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._received = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        if self._at:
            del self._received[: self._at]
            self._at = 0
        self._received += data

    def header(self) -> bytes | None:
        """The eight bytes that name a protocol, once they are there."""
        return self._take(HEADER_BYTES)

    def frame(self) -> Frame | None:
        """The next frame, once it is there whole.

        Raises:
            DecodeError: the bytes are none.
        """
        if len(self._received) - self._at < HEADER_BYTES:
            return None
        size, offset, _, channel = _HEAD.unpack_from(self._received, self._at)
        if not HEADER_BYTES <= size <= self._max_frame_bytes or not 2 <= offset <= size // 4:
            raise DecodeError(f"a frame of {size} bytes, whose body starts at {offset * 4}")
        whole = self._take(size)
        return None if whole is None else _frame(channel, whole[offset * 4 :])

    def _take(self, size: int) -> bytes | None:
        end = self._at + size
        if end > len(self._received):
            return None
        taken = bytes(memoryview(self._received)[self._at : end])
        self._at = end
        return taken


def _frame(channel: int, body: bytes) -> Frame:
    if not body:
        return Frame(channel, None, b"")
    performative, end = decode_performative(body)
    return Frame(channel, performative, body[end:])
