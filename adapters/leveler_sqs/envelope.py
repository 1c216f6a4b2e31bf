"""Envelope: how a message travels. CloudEvents' structured mode: one JSON document is the body, and all of it.

So no message attributes are used, of which SQS takes ten; those of a foreign message become headers. A body has only
characters that XML can carry: JSON writes control characters as escapes, what is not JSON goes as base64, and the two
characters that are left, U+FFFE and U+FFFF, are treated here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from leveler.errors import InvalidMessage
from leveler.message import Message

_FORBIDDEN: Final = re.compile("[\ufffe\uffff]")
#: What a text must not have to travel as it is.
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: What we want to know about a message besides its body.
ATTRIBUTES: Final = ("ApproximateReceiveCount", "SentTimestamp", "MessageGroupId")


class Sealed(NamedTuple):
    """A message ready to go."""

    text: str
    #: As SQS counts them.
    size: int


def seal(message: Message) -> Sealed:
    """
    Raises:
        InvalidMessage: an attribute cannot be written as JSON.
    """
    try:
        document = message.to_json()
        text = document.decode()
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise InvalidMessage(f"message {message.id!r}: an attribute cannot be sent to SQS: {error}") from error
    if len(text) == len(document) or not _FORBIDDEN.search(text):
        return Sealed(text, len(document))
    text = _without_forbidden(document, message.body)
    return Sealed(text, len(text.encode()))


def seal_within(message: Message, most_bytes: int) -> Sealed:
    """The same, of a dead letter with as much of its detail as there is room for.

    What others have sent may leave no room even without, nor for an envelope: then it is its body alone, as it came.
    Of any other message, and where there is no room for that either, it is as large as it is.
    """
    sealed = seal(message)
    if message.death is None or sealed.size <= most_bytes:
        return sealed
    for letter in message.shortened():
        if (shorter := seal(letter)).size <= most_bytes:
            return shorter
    bare = _bare(message)
    return bare if bare.size <= most_bytes else sealed


def opened(raw: Mapping[str, Any], now: datetime) -> tuple[Message, int]:
    """The message that `seal` wrote, or whatever somebody else sent, and how often it has been received."""
    system: Mapping[str, str] = raw.get("Attributes", {})
    message = Message.from_json(
        raw.get("Body", "").encode(errors="replace"),
        received_at=_moment(system.get("SentTimestamp")) or now,
        native_id=raw.get("MessageId", ""),
    )
    if attributes := raw.get("MessageAttributes"):
        message = msgspec.structs.replace(message, headers={**_headers(attributes), **message.headers})
    if message.key is None and (group := system.get("MessageGroupId")) and group != message.id:
        message = msgspec.structs.replace(message, key=group)
    return message, _count(system.get("ApproximateReceiveCount"))


def _without_forbidden(document: bytes, body: bytes) -> str:
    """The same document, with the body as base64 and the characters as escapes."""
    event = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    if event.pop("data", None) is not None:
        event["data_base64"] = msgspec.Raw(b'"' + base64.b64encode(body) + b'"')
    text = msgspec.json.encode(event).decode()
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _bare(message: Message) -> Sealed:
    """Its body, and nothing else that a text can do without."""
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        text = "\ufffe"
    if not text or _NO_XML.search(text):
        data = base64.b64encode(message.body).decode()
        text = f'{{"specversion":"1.0","id":"{message.id[:1]}","data_base64":"{data}"}}'
    return Sealed(text, len(text.encode()))


def _headers(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Of a foreign message, or what a gateway has added."""
    return {
        name.lower(): value.get("StringValue") or base64.b64encode(value.get("BinaryValue", b"")).decode()
        for name, value in attributes.items()
    }


def _moment(milliseconds: str | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(milliseconds or "") / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _count(text: str | None) -> int:
    return max(1, int(text)) if text and text.isascii() and text.isdigit() else 1
