"""Envelope: how a message travels. CloudEvents' AMQP binding in binary mode: attributes in application properties, the
body untouched, and of AMQP's own properties those that the service or a foreign reader looks at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType

from leveler.message import MAX_DETAIL_BYTES, Death, Message, cut

#: CloudEvents AMQP binding 1.0.2, section 3.1.3.1; some senders write the older form.
PREFIX: Final = "cloudEvents:"
_PREFIXES: Final = (PREFIX, "cloudEvents_")
#: What the service writes beside a dead letter.
_DEATH: Final = ("DeadLetterReason", "DeadLetterErrorDescription")
#: The service takes no longer texts with a dead letter.
_MOST_DEATH_BYTES: Final = 4096
#: Of an encoded message beside what is counted: sections, annotations, properties of the service's own.
_OVERHEAD_BYTES: Final = 256
#: Of each property: two constructors with their lengths.
_PROPERTY_BYTES: Final = 10


def seal(message: Message, *, session: str | None, not_before: datetime | None) -> ServiceBusMessage:
    """The message as it is sent.

    Args:
        message: any.
        session: in which order is kept, where the queue has such.
        not_before: when the service may hand it out.
    """
    attributes = message.attributes()
    content_type = attributes.pop("datacontenttype")
    properties: dict[Any, Any] = {PREFIX + name: value for name, value in attributes.items()}
    properties.update(message.headers)
    return ServiceBusMessage(
        message.body,
        application_properties=properties,
        content_type=content_type,
        message_id=message.dedup_key,
        session_id=session,
        scheduled_enqueue_time_utc=not_before,
    )


def size(message: Message) -> int:
    """Bytes of the message as it is sent, or a few more."""
    texts = [*message.attributes().items(), *message.headers.items()]
    names = len(PREFIX) * (len(texts) - len(message.headers))
    total = len(message.body) + _OVERHEAD_BYTES + len(message.dedup_key) + len(message.key or "") + names
    for name, value in texts:
        total += (
            _PROPERTY_BYTES + len(name) + (len(value) if value.isascii() else len(value.encode("utf-8", "replace")))
        )
    return total


def open_up(raw: ServiceBusReceivedMessage, now: datetime) -> Message:
    """The message, whoever sent it."""
    attributes: dict[str, str] = {}
    headers: dict[str, str] = {}
    death: dict[str, str] = {}
    for name, value in _properties(raw).items():
        if name.startswith(_PREFIXES):
            attributes[name[len(PREFIX) :].lower()] = value
        elif name in _DEATH:
            death[name] = value
        else:
            headers[name] = value
    if "specversion" not in attributes:
        attributes.setdefault("type", _text(raw.subject or ""))
        attributes.setdefault("partitionkey", _text(raw.session_id or ""))
    attributes.setdefault("datacontenttype", _text(raw.content_type or ""))
    if death:
        attributes["levelerdeath"] = death_text(death)
    return Message.from_attributes(
        attributes, _body(raw), headers, received_at=raw.enqueued_time_utc or now, native_id=_native_id(raw)
    )


def reason_and_description(death: Death) -> tuple[str, str]:
    """What the service keeps of a death: its reason, and all of it."""
    for most in (MAX_DETAIL_BYTES + 8, 1024, 256, 3):
        said = msgspec.structs.replace(death, detail=cut(death.detail, most))
        description = msgspec.json.encode(said).decode()
        if len(description.encode()) <= _MOST_DEATH_BYTES:
            break
    return cut(death.reason, _MOST_DEATH_BYTES), description


def death_text(properties: Mapping[str, str]) -> str:
    """The death that we gave it, or the service, as the envelope has it. Anybody may have written that."""
    reason, description = (properties.get(name, "") for name in _DEATH)
    try:
        msgspec.json.decode(description, type=Death)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        death = Death(reason=reason or "unknown", detail=cut(description, MAX_DETAIL_BYTES))
        return msgspec.json.encode(death).decode()
    return description


def _native_id(raw: ServiceBusReceivedMessage) -> str:
    return _text(raw.message_id) if raw.message_id else f"sequence-{raw.sequence_number}"


def _body(raw: ServiceBusReceivedMessage) -> bytes:
    if raw.body_type is AmqpMessageBodyType.DATA:
        return b"".join(raw.body)
    if raw.body_type is AmqpMessageBodyType.VALUE:
        return _text(raw.body).encode()
    return _text(list(raw.body)).encode()


def _properties(raw: ServiceBusReceivedMessage) -> dict[str, str]:
    given: Mapping[Any, Any] = raw.application_properties or {}
    return {_text(name): _text(value) for name, value in given.items()}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else msgspec.json.encode(value, enc_hook=str).decode()
