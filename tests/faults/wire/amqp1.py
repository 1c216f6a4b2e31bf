"""AMQP 1.0, as far as it takes to tell the operations of Service Bus apart.

A frame is its size in four bytes, where its body begins in units of four, a type, a channel; then the body, whose
performative shows in its third byte. What is asked of the management node, and its answers, are transfers as well:
their content tells. An answer comes on the connection of its question, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.faults.wire.unit import Unit

#: What the units are called.
SEND: Final = "send"
SEND_REPLY: Final = "send reply"
DELIVERY: Final = "delivery"
SETTLE: Final = "settle"
SETTLE_REPLY: Final = "settle reply"
RENEW: Final = "renew"
RENEW_REPLY: Final = "renew reply"

_HEADER: Final = b"AMQP"
_HEADER_BYTES: Final = 8
_FLOW: Final = 0x13
_TRANSFER: Final = 0x14
_DISPOSITION: Final = 0x15
_ASKED: Final = {b"com.microsoft:update-disposition": SETTLE, b"com.microsoft:renew-lock": RENEW}
_ANSWERS: Final = {SETTLE: SETTLE_REPLY, RENEW: RENEW_REPLY}
#: How the library's receivers call themselves when they open a connection.
_RECEIVER: Final = b"SBReceiver-"
#: In every request to a management node, the one of the credentials included, and in every answer of such.
_OF_REQUESTS: Final = (b"com.microsoft:server-timeout", b"put-token")
_OF_ANSWERS: Final = (b"statusCode", b"status-code")


class Amqp1Conversation:
    """One connection."""

    def __init__(self) -> None:
        self._asked = b""
        self._answered = b""
        self._waiting = ""
        #: There are no heartbeats: who only sends misses nobody until it sends.
        self.listens = False

    def requests(self, data: bytes) -> Iterator[Unit]:
        data = self._asked + data
        while (end := _end(data)) is not None:
            self.listens = self.listens or _RECEIVER in data[:end]
            asks = _performative(data[:end]) not in (0, _FLOW, _DISPOSITION)
            yield Unit(data[:end], self._name_of_request(data[:end]), asks=asks)
            data = data[end:]
        self._asked = data

    def replies(self, data: bytes) -> Iterator[Unit]:
        data = self._answered + data
        while (end := _end(data)) is not None:
            yield Unit(data[:end], self._name_of_reply(data[:end]))
            data = data[end:]
        self._answered = data

    def _name_of_request(self, frame: bytes) -> str:
        if _performative(frame) != _TRANSFER:
            return ""
        if any(word in frame for word in _OF_REQUESTS):
            self._waiting = next((name for word, name in _ASKED.items() if word in frame), "")
            return self._waiting
        return SEND

    def _name_of_reply(self, frame: bytes) -> str:
        performative = _performative(frame)
        if performative == _DISPOSITION:
            return SEND_REPLY
        if performative != _TRANSFER:
            return ""
        if any(word in frame for word in _OF_ANSWERS):
            return _ANSWERS.get(self._waiting, "")
        return DELIVERY


def _end(data: bytes) -> int | None:
    """Where the frame at the beginning ends; None if it is not all there yet."""
    if len(data) < _HEADER_BYTES:
        return None
    end = _HEADER_BYTES if data.startswith(_HEADER) else int.from_bytes(data[:4], "big")
    return end if end <= len(data) else None


def _performative(frame: bytes) -> int:
    """Of an AMQP frame; 0 of all others."""
    if frame.startswith(_HEADER) or frame[5] != 0:
        return 0
    start = 4 * frame[4]
    return frame[start + 2] if len(frame) > start + 2 else 0
