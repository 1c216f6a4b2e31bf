"""Seen: a message that somebody has looked at, also one that the client library cannot read.

The library refuses values that are nested more than 64 deep, and all that was shown together with such a one. What the
service itself writes stands in front of what senders write, so its number can be had all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from azure.servicebus import ServiceBusMessageState, ServiceBusReceivedMessage

#: What each section starts with, before its value: a described value, a small number, which section.
_SECTION_BYTES: Final = 3
_ANNOTATIONS: Final = 0x72
#: By the upper half of a constructor: bytes of the value, or of the length in front of it (AMQP 1.0, section 1.2.2).
_FIXED: Final = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_LENGTHS: Final = {0xA: 1, 0xB: 4, 0xC: 1, 0xD: 4, 0xE: 1, 0xF: 4}


@dataclass(frozen=True)
class Seen:
    #: By which the service knows it; None if not even that can be read.
    sequence: int | None
    #: None if it cannot be read.
    raw: ServiceBusReceivedMessage | None

    @property
    def is_active(self) -> bool:
        """Whether it waits to be taken, or is locked. One that cannot be read is delivered like any other."""
        return self.raw is None or self.raw.state is ServiceBusMessageState.ACTIVE


def seen(data: bytes) -> Seen:
    """The message of these bytes."""
    if (raw := _read(data)) is not None:
        return Seen(raw.sequence_number, raw)
    return Seen(_sequence(data), None)


def _read(data: bytes) -> ServiceBusReceivedMessage | None:
    try:
        return ServiceBusReceivedMessage.from_bytes(data)
    except (ValueError, OverflowError):  # the latter for a time that there is not
        return None


def _sequence(data: bytes) -> int | None:
    start = 0
    try:
        while data[start + _SECTION_BYTES - 1] != _ANNOTATIONS:
            start = _end(data, start + _SECTION_BYTES)
        annotations = _read(data[start : _end(data, start + _SECTION_BYTES)])
    except (IndexError, KeyError):
        return None
    return None if annotations is None else annotations.sequence_number


def _end(data: bytes, at: int) -> int:
    """Where the value ends that starts there."""
    kind = data[at] >> 4
    if kind in _FIXED:
        return at + 1 + _FIXED[kind]
    length = _LENGTHS[kind]
    start = at + 1 + length
    return start + int.from_bytes(data[at + 1 : start], "big")
