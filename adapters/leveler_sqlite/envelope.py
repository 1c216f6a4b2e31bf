"""The envelope: a message without its body, as one JSON object that a person can read in the file.

Only what differs from the default is written. Names are those of `Message`; those that a reader does not know are
passed over and those that are missing get their default, so that older and newer versions can share a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import FieldInfo, astuple, fields, force_setattr

from leveler.errors import InvalidMessage
from leveler.message import Message


def _definition(field: FieldInfo) -> tuple[Any, ...]:
    if field.required:
        return (field.name, field.type)
    if field.default is not msgspec.NODEFAULT:
        return (field.name, field.type, field.default)
    return (field.name, field.type, msgspec.field(default_factory=dict))


# The body comes first, and is always empty: whoever reads the envelope can put it in its place.
_STORED: Final = sorted(fields(Message), key=lambda field: (field.name != "body", not field.required))
_Envelope: Final = msgspec.defstruct("Envelope", [_definition(field) for field in _STORED], omit_defaults=True)
assert [field.name for field in fields(Message)[:2]] == ["id", "body"], "`rest_of` relies on it"
_values_of: Final = attrgetter(*(field.name for field in _STORED[1:]))
_to_message: Final = msgspec.json.Decoder(Message).decode
to_json: Final = msgspec.json.Encoder().encode
_to_messages: Final = msgspec.json.Decoder(list[Message]).decode

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError)


def encode(message: Message) -> bytes:
    """Everything of `message` but its body.

    Raises:
        InvalidMessage: an attribute cannot be written as JSON.
    """
    try:
        return to_json(_Envelope(b"", *_values_of(message)))
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise InvalidMessage(f"message {message.id!r}: an attribute cannot be stored: {error}") from error


def check_ids(messages: Sequence[Message]) -> None:
    """
    Raises:
        InvalidMessage: an id cannot be written as JSON.
    """
    try:
        to_json([message.id for message in messages])
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise InvalidMessage(f"one of {len(messages)} ids cannot be stored: {error}") from error


def rest_of(message: Message) -> tuple[Any, ...]:
    """Everything but id and body: what is equal in nearly all messages of one send."""
    return astuple(message)[2:]


def with_id(sample: Message, id_: str, body: bytes) -> Message:
    """Another message that is like `sample` in all the rest. Headers are its own: they may be changed in place."""
    message = copy(sample)
    force_setattr(message, "id", id_)  # nobody else has seen it yet: cheaper than to decode or to replace
    force_setattr(message, "body", body)
    force_setattr(message, "headers", dict(sample.headers))
    return message


def decode(envelope: str, body: bytes) -> Message | None:
    """The message; None where somebody has written something else into the file."""
    try:
        message = _to_message(envelope)
    except _UNREADABLE:
        return None
    force_setattr(message, "body", body)  # nobody else has seen it yet: putting it in is cheaper than a second struct
    return message


def decode_all(envelopes: str, count: int) -> list[Message] | None:
    """As many messages as there should be, all without their bodies; None where one of them cannot be read."""
    try:
        messages = _to_messages(envelopes)
    except _UNREADABLE:
        return None
    return messages if len(messages) == count else None


def size(message: Message) -> int:
    """Body and all that the sender may choose freely, in bytes. Cheap: it is asked for every message."""
    total = len(message.body) + len(message.id) + len(message.type) + len(message.source) + len(message.key or "")
    for name, value in message.headers.items():
        total += len(name) + (len(value) if value.isascii() else len(value.encode(errors="surrogatepass")))
    return total
