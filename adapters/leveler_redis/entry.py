"""Entries: messages as they stand in a stream, each attribute and each header a field of its own.

    id, source, type, time, ...     the CloudEvents attributes, as `Message.attributes` names them
    h:<name>                        the sender's headers
    data                            the body, byte for byte
    leveler:<name>                  what the server's side keeps about it

An entry of anybody else's is a message as well. One field called ``data`` (or another of the usual words) is its body;
of several others the body is a JSON object.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

import msgspec
from msgspec.structs import force_setattr

from leveler.message import DEFAULT_PRIORITY, JSON_TYPE, Message
from leveler_redis.command import Argument

#: With more headers than this they stand in one field: a script cannot pass on entries with thousands.
_MOST_FIELDS: Final = 500

_BODY: Final = b"data"
_HEADERS: Final = "levelerheaders"
#: Where those who do not know us put the body.
_BODIES: Final = (_BODY, b"body", b"payload", b"message", b"event", b"json", b"value")

_NAMES: Final = {
    name.encode(): name
    for name in (
        *(
            "specversion",
            "id",
            "source",
            "type",
            "time",
            "datacontenttype",
            "partitionkey",
            "expirytime",
            "traceparent",
        ),
        *("levelerpriority", "levelergeneration", "levelerattempts", "levelerreplays", "levelernotbefore"),
        *("levelerreadyat", "levelerfailedat", "levelerdeath", _HEADERS),
    )
}

#: Attributes that are only written where they are set.
_RARE: Final = {
    **dict.fromkeys(("key", "expires_at", "traceparent", "not_before", "ready_at", "failed_at", "death")),
    **dict.fromkeys(("generation", "attempts", "replays"), 0),
    "priority": DEFAULT_PRIORITY,
}
_rare: Final = attrgetter(*_RARE)
_NOTHING_RARE: Final = tuple(_RARE.values())

#: As Redis has it: the id of the entry, and names and values by turns.
RawEntry = tuple[bytes, Sequence[bytes]]

_USUAL: Final = [b"specversion", b"id", b"source", b"type", b"time", b"datacontenttype", _BODY]


#: A message, its counted deliveries before this one, and its place in the line of its key, as the scripts know it.
Entry = tuple[Message, int, bytes]


def fields_of(message: Message) -> list[Argument]:
    """Names and values by turns."""
    fields: list[Argument]
    if _rare(message) == _NOTHING_RARE and message.time.tzinfo is UTC:
        time = message.time.isoformat()[: -len("+00:00")] + "Z"
        fields = ["specversion", "1.0", "id", message.id, "source", message.source, "type", message.type]
        fields += ("time", time, "datacontenttype", message.content_type)
    else:
        fields = [text for pair in message.attributes().items() for text in pair]
    if len(message.headers) > _MOST_FIELDS:
        fields += (_HEADERS, msgspec.json.encode(dict(message.headers)))
    else:
        for name, value in message.headers.items():
            fields += ("h:" + name, value)
    fields += (_BODY, message.body)
    return fields


def size(message: Message) -> int:
    """Body and all that the sender may choose freely, in bytes. Cheap: it is asked for every message."""
    total = len(message.body) + len(message.id) + len(message.type) + len(message.source) + len(message.key or "")
    for name, value in message.headers.items():
        total += len(name) + (len(value) if value.isascii() else len(value.encode(errors="surrogatepass")))
    return total


def read(raw: RawEntry) -> Entry:
    """One entry, whoever wrote it."""
    identity, flat = raw
    return _usual(flat) or _read(identity, flat)


def _usual(flat: Sequence[bytes]) -> Entry | None:
    """What nearly every entry is: a new message of ours with nothing in it that is rare. Several times as fast."""
    if flat[::2] != _USUAL:
        return None
    _, _, _, identity, _, source, _, kind, _, time, _, content_type, _, body = flat
    is_ours = identity.isalnum() or identity.replace(b"-", b"").isalnum()
    if not (is_ours and len(identity) <= 128 and source and content_type and time.endswith(b"Z")):
        return None
    try:
        message = Message(
            id=identity.decode(),
            body=body,
            type=kind.decode(),
            source=source.decode(),
            time=datetime.fromisoformat(time.decode()),
            content_type=content_type.decode(),
        )
    except ValueError:
        return None
    return message, 0, b""


def _read(identity: bytes, flat: Sequence[bytes]) -> Entry:
    origin = identity
    fields: dict[bytes, bytes] = dict(zip(flat[::2], flat[1::2], strict=True))
    if b"leveler:deliveries" in fields or b"leveler:line" in fields or b"leveler:entry" in fields:
        kept = dict(zip(flat[-2::-2], flat[::-2], strict=True))  # the first of a name, which the scripts go by
        deliveries, line = _count(kept.get(b"leveler:deliveries", b"0")), kept.get(b"leveler:line", b"")
        origin = kept.get(b"leveler:entry", identity)
    else:
        deliveries, line = 0, b""
    message = _ours(origin, fields) if b"specversion" in fields else _foreign(origin, fields)
    if message.failed_at is None and b"leveler:failed" in fields:
        force_setattr(message, "failed_at", _moment(fields[b"leveler:failed"]))
    return message, deliveries, line


def _ours(identity: bytes, fields: dict[bytes, bytes]) -> Message:
    attributes: dict[str, str] = {}
    headers: dict[str, str] = {}
    for name, value in fields.items():
        if (known := _NAMES.get(name)) is not None:
            attributes[known] = value.decode(errors="replace")
        elif name.startswith(b"h:"):
            headers[name[2:].decode(errors="replace")] = value.decode(errors="replace")
    if _HEADERS in attributes:
        headers |= _headers(attributes.pop(_HEADERS))
    return Message.from_attributes(
        attributes,
        fields.get(_BODY, b""),
        headers,
        received_at=_EPOCH if "time" in attributes else _moment(identity),
        native_id=identity.decode(errors="replace"),
    )


def _foreign(identity: bytes, fields: dict[bytes, bytes]) -> Message:
    theirs = {name: value for name, value in fields.items() if not name.startswith(b"leveler:")}
    received_at, native_id = _moment(identity), identity.decode(errors="replace")
    if len(theirs) == 1 and (body := next((theirs[name] for name in _BODIES if name in theirs), None)) is not None:
        return Message.from_json(body, received_at=received_at, native_id=native_id)
    document = {_text(name): _text(value) for name, value in theirs.items()}
    attributes = {"datacontenttype": JSON_TYPE}
    return Message.from_attributes(
        attributes, msgspec.json.encode(document), {}, received_at=received_at, native_id=native_id
    )


#: Data from outside, and believed only up to here.
_MOST_DELIVERIES: Final = 1_000_000
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def _moment(milliseconds: bytes) -> datetime:
    """Of an entry's id, or of a count of milliseconds; now, where it is none."""
    digits = milliseconds.partition(b"-")[0]
    try:
        return datetime.fromtimestamp(int(digits) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)


def _count(digits: bytes) -> int:
    if not digits.isdigit():
        return 0
    return min(int(digits), _MOST_DELIVERIES) if len(digits) < 10 else _MOST_DELIVERIES


def _headers(document: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(document, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
