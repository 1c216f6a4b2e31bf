"""Envelope: how a message travels. CloudEvents' AMQP binding in binary mode: attributes in headers, the body untouched.

Of AMQP's own properties the broker looks at two, `delivery_mode` and `priority`, and foreign readers at
`content_type` and `message_id`. `expiration` is never set: the broker would throw expired messages away.
"""

from __future__ import annotations

from datetime import UTC, datetime
from struct import Struct
from typing import Any, Final, NamedTuple

from leveler.errors import InvalidMessage
from leveler.message import Message
from leveler_rabbitmq import tables

#: CloudEvents AMQP binding 1.0.2, section 3.1.3.1; some senders write the older form.
PREFIX: Final = "cloudEvents:"
_PREFIXES: Final = (PREFIX, "cloudEvents_")

#: Ours: the message is to wait on when this wait is over, see `leveler_rabbitmq.delays`.
WAITS_ON: Final = "leveler-waits-on"
_COUNT: Final = "x-delivery-count"

#: What the broker writes down about a message, or would act on: never ours to send again.
_BROKERS: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-", "x-acquired-", "x-opt-")
_ROUTING: Final = frozenset({"CC", "BCC"})

_FLAGS: Final = Struct(">H")
_SHORT: Final = Struct(">B")
_LONG_LONG: Final = Struct(">Q")
_CONTENT_TYPE, _ENCODING, _HEADERS, _MODE, _PRIORITY = 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11
_CORRELATION, _REPLY_TO, _EXPIRATION, _ID, _TIME, _TYPE = 1 << 10, 1 << 9, 1 << 8, 1 << 7, 1 << 6, 1 << 5
_WRITTEN: Final = _FLAGS.pack(_CONTENT_TYPE | _HEADERS | _MODE | _PRIORITY | _ID)
_PERSISTENT: Final = b"\2"
_LONGEST_SHORT: Final = 255

#: Short texts among the properties, in their order, and the headers that stand in for them in a foreign message.
_SHORT_TEXTS: Final = {_CORRELATION: "correlation-id", _REPLY_TO: "reply-to", _EXPIRATION: "", _ID: "message-id"}


class Properties(NamedTuple):
    """What came with a body."""

    content_type: str
    message_id: str
    type: str
    sent_at: datetime | None
    headers: dict[str, tables.Value]
    #: Of a foreign message: properties that have no place in the envelope, by the header that carries them on.
    others: dict[str, str]


class Opened(NamedTuple):
    """A message as it came in."""

    message: Message
    #: How often it has been delivered since it was sent, as far as the broker knows.
    delivered_before: int
    waits_on: bool


def seal(message: Message, *, waits_on: bool = False) -> bytes:
    """Everything of `message` but its body: the properties of a content header.

    Raises:
        InvalidMessage: an attribute does not fit into AMQP.
    """
    try:
        attributes = message.attributes()
        content_type = attributes.pop("datacontenttype").encode()
        if len(content_type) > _LONGEST_SHORT:
            attributes["datacontenttype"], content_type = content_type.decode(), b""
        entries = [tables.entry(PREFIX + name, value) for name, value in attributes.items()]
        entries += [tables.entry(name, value) for name, value in message.headers.items() if name not in _ROUTING]
        if waits_on:
            entries.append(tables.entry(WAITS_ON, "1"))
        name = message.id.encode()
        return b"%b%c%b%b%b%c%c%b" % (
            _WRITTEN, len(content_type), content_type, tables.table(b"".join(entries)), _PERSISTENT,
            min(max(message.priority, 0), 9), len(name), name,
        )  # fmt: skip
    except (UnicodeError, OverflowError) as error:
        raise InvalidMessage(f"message {message.id!r}: an attribute cannot be sent over AMQP: {error}") from error


def open_up(properties: bytes, body: bytes, now: datetime) -> Opened:
    """The message that `seal` wrote, or whatever somebody else sent: nothing about it can be so wrong that it fails."""
    try:
        given = _read(properties)
    except tables.MALFORMED:
        given = Properties("", "", "", None, {}, {})
    attributes: dict[str, str] = {}
    headers: dict[str, str] = {}
    for name, value in given.headers.items():
        if name.startswith(_PREFIXES):
            attributes[name[len(PREFIX) :].lower()] = _text(value)
        elif not name.startswith(_BROKERS) and name not in _ROUTING and name != WAITS_ON:
            headers[name] = _text(value)
    if "specversion" not in attributes:
        headers = {**given.others, **headers}
        attributes.setdefault("type", given.type)
    attributes.setdefault("datacontenttype", given.content_type)
    message = Message.from_attributes(
        attributes, body, headers, received_at=given.sent_at or now, native_id=given.message_id
    )
    return Opened(message, _count(given.headers.get(_COUNT)), WAITS_ON in given.headers)


def id_of(properties: bytes) -> str:
    """The `message_id` that `seal` wrote; of a message that the broker returns to us."""
    try:
        return _read(properties).message_id
    except tables.MALFORMED:
        return ""


def _read(data: bytes) -> Properties:
    flags = _FLAGS.unpack_from(data)[0]
    position = 2
    texts: dict[int, str] = {}
    headers: dict[str, Any] = {}
    sent_at: datetime | None = None
    for flag in (_CONTENT_TYPE, _ENCODING):
        if flags & flag:
            texts[flag], position = _short_text(data, position)
    if flags & _HEADERS:
        headers, position = tables.read(data, position)
    position += bool(flags & _MODE) + bool(flags & _PRIORITY)
    for flag in _SHORT_TEXTS:
        if flags & flag:
            texts[flag], position = _short_text(data, position)
    if flags & _TIME:
        sent_at = _moment(_LONG_LONG.unpack_from(data, position)[0])
        position += 8
    kind = _short_text(data, position)[0] if flags & _TYPE else ""
    others = {_SHORT_TEXTS[flag]: texts[flag] for flag in (_CORRELATION, _REPLY_TO) if flag in texts}
    if _ENCODING in texts:
        others["content-encoding"] = texts[_ENCODING]
    return Properties(texts.get(_CONTENT_TYPE, ""), texts.get(_ID, ""), kind, sent_at, headers, others)


def _short_text(data: bytes, position: int) -> tuple[str, int]:
    end = position + 1 + data[position]
    return str(data[position + 1 : end], "utf-8", "replace"), end


def _text(value: tables.Value) -> str:
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(value: tables.Value | None) -> int:
    """Data from outside, and believed only inside these bounds."""
    return min(max(value, 0), 1_000_000) if isinstance(value, int) else 0


def _moment(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
