"""The sections of a message, kept as the bytes that came: what the emulator does not read, it cannot spoil."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from leveler_servicebus.emulator.amqp.decoder import compound, decode, skip
from leveler_servicebus.emulator.amqp.encoder import encode, encode_map, section
from leveler_servicebus.emulator.amqp.values import DecodeError, Described, Symbol

HEADER: Final = 0x70
DELIVERY_ANNOTATIONS: Final = 0x71
ANNOTATIONS: Final = 0x72
PROPERTIES: Final = 0x73
APPLICATION: Final = 0x74
DATA: Final = 0x75
VALUE: Final = 0x77

#: The message-format of a transfer that carries several messages, each in a data section of its own.
BATCH_FORMAT: Final = 0x80013700

_MESSAGE_ID, _GROUP_ID = 0, 10
_PRIORITY, _TTL = 1, 2


@dataclass(slots=True)
class Content:
    """What a client has sent, as far as the service reads it. Texts and sections are encoded AMQP; empty is absent."""

    #: Whether it is marked durable, its priority, its time to live in milliseconds.
    durable: bool = False
    priority: int | None = None
    ttl_ms: int | None = None
    #: Pairs of message annotations, and how many values they are.
    annotations: bytes = b""
    annotation_values: int = 0
    scheduled_ms: int | None = None
    #: The properties section, and what stands in it.
    properties: bytes = b""
    message_id: bytes = b""
    session_id: str | None = None
    #: The application properties section; then everything after it.
    application: bytes = b""
    body: bytes = b""

    @property
    def size_bytes(self) -> int:
        return len(self.annotations) + len(self.properties) + len(self.application) + len(self.body)


def parse(data: bytes) -> Content:
    """The sections of one message.

    Raises:
        DecodeError: these bytes are none.
    """
    content = Content()
    at = 0
    while at < len(data):
        if len(data) - at < 4 or data[at] != 0 or data[at + 1] != 0x53:
            raise DecodeError(f"no section of a message at byte {at}")
        code, start = data[at + 2], at + 3
        if code >= DATA:
            content.body = data[at:]
            return content
        end = skip(data, start)
        if code not in _SECTIONS:
            raise DecodeError(f"there is no section {code:#04x}")
        _SECTIONS[code](content, data, start, end)
        at = end
    return content


def split_batch(data: bytes) -> list[bytes]:
    """The messages in a transfer of the batch format.

    Raises:
        DecodeError: these bytes are none.
    """
    messages: list[bytes] = []
    at = 0
    while at < len(data):
        end = skip(data, at)
        if data[at : at + 3] == b"\x00\x53\x75":
            message, _ = decode(data, at + 3)
            messages.append(message)
        at = end
    return messages


def with_application(application: bytes, extra: dict[str, str]) -> bytes:
    """The application properties section with `extra` in it, instead of what it had of these names."""
    pairs, count = b"", 0
    if application:
        at, values, _ = compound(application, 3)
        for _ in range(values // 2):
            key, value_at = decode(application, at)
            end = skip(application, value_at)
            if key not in extra:
                pairs, count = pairs + application[at:end], count + 2
            at = end
    added = b"".join(encode(part) for pair in extra.items() for part in pair)
    return section(APPLICATION, encode_map(pairs + added, count + 2 * len(extra)))


def data_section(body: bytes) -> bytes:
    return section(DATA, encode(body))


def read(data: bytes) -> dict[int, Any]:
    """All sections of a small message, decoded: a request to a management node."""
    sections: dict[int, Any] = {}
    at = 0
    while at < len(data):
        value, at = decode(data, at)
        if not isinstance(value, Described):
            raise DecodeError("a message consists of sections")
        sections[value.descriptor] = value.value
    return sections


def field(properties: bytes, index: int) -> bytes:
    """One field of a properties section, as its bytes; empty where it is null or left out."""
    at, count, _ = compound(properties, 3)
    if index >= count:
        return b""
    for _ in range(index):
        at = skip(properties, at)
    found = properties[at : skip(properties, at)]
    return b"" if found == b"\x40" else found


def _header(content: Content, data: bytes, start: int, end: int) -> None:
    values, _ = decode(data, start)
    content.durable = bool(values and values[0])
    content.priority = values[_PRIORITY] if len(values) > _PRIORITY else None
    content.ttl_ms = values[_TTL] if len(values) > _TTL else None


def _annotations(content: Content, data: bytes, start: int, end: int) -> None:
    """The service's own are made anew for each delivery; the client's are kept."""
    at, values, _ = compound(data, start)
    for _ in range(values // 2):
        key, value_at = decode(data, at)
        after = skip(data, value_at)
        if key == "x-opt-scheduled-enqueue-time":
            scheduled, _ = decode(data, value_at)
            content.scheduled_ms = scheduled
        if key not in OWN_ANNOTATIONS:
            content.annotations += data[at:after]
            content.annotation_values += 2
        at = after


def _properties(content: Content, data: bytes, start: int, end: int) -> None:
    content.properties = data[start - 3 : end]
    content.message_id = field(content.properties, _MESSAGE_ID)
    if session := field(content.properties, _GROUP_ID):
        content.session_id, _ = decode(session)


def _application(content: Content, data: bytes, start: int, end: int) -> None:
    content.application = data[start - 3 : end]


def _nothing(content: Content, data: bytes, start: int, end: int) -> None:
    """Delivery annotations are for the next hop only: for us."""


_SECTIONS: Final = {
    HEADER: _header,
    DELIVERY_ANNOTATIONS: _nothing,
    ANNOTATIONS: _annotations,
    PROPERTIES: _properties,
    APPLICATION: _application,
}

#: Annotations that only the service sets.
OWN_ANNOTATIONS: Final = frozenset(
    map(
        Symbol,
        (
            "x-opt-enqueued-time",
            "x-opt-sequence-number",
            "x-opt-enqueue-sequence-number",
            "x-opt-locked-until",
            "x-opt-lock-token",
            "x-opt-message-state",
            "x-opt-deadletter-source",
        ),
    )
)
