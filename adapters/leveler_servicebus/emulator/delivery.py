"""A stored message -> the bytes that a client gets: our header and annotations, and the rest as it came."""

from __future__ import annotations

import struct
from typing import Final
from uuid import UUID

from leveler_servicebus.emulator.amqp.encoder import FALSE, NULL, TRUE, encode, encode_list, encode_map, section, uint
from leveler_servicebus.emulator.amqp.message import ANNOTATIONS, HEADER
from leveler_servicebus.emulator.amqp.values import Symbol, UByte
from leveler_servicebus.emulator.entity.stored import Stored

_TIMESTAMP: Final = struct.Struct(">Bq")
_DELIVERY: Final = struct.Struct(">IBBH6sBIBIBB16sBBB")
_TRANSFER: Final = b"\x00\x53\x14\xc0\x20\x06"
#: Bytes of a transfer frame before its payload.
HEAD_BYTES: Final = _DELIVERY.size


def _key(name: str) -> bytes:
    return encode(Symbol(name))


_ENQUEUED: Final = _key("x-opt-enqueued-time")
_SEQUENCE: Final = _key("x-opt-sequence-number")
_ENQUEUE_SEQUENCE: Final = _key("x-opt-enqueue-sequence-number")
_LOCKED_UNTIL: Final = _key("x-opt-locked-until")
_STATE: Final = _key("x-opt-message-state")
_SOURCE: Final = _key("x-opt-deadletter-source")


def encode_delivery(message: Stored) -> bytes:
    """All sections of `message`, for a transfer or a peek."""
    content = message.content
    return b"".join((_header(message), _annotations(message), content.properties, content.application, content.body))


def transfer_frame(
    channel: int, handle: int, delivery_id: int, tag: bytes, payload: bytes, *, settled: bool, more: bool = False
) -> bytes:
    """One frame of a delivery to a client; `tag` is the token of its lock, 16 bytes."""
    return (
        _DELIVERY.pack(
            HEAD_BYTES + len(payload),
            2,
            0,
            channel,
            _TRANSFER,
            0x70,
            handle,
            0x70,
            delivery_id,
            0xA0,
            16,
            tag,
            0x43,
            0x41 if settled else 0x42,
            0x41 if more else 0x42,
        )
        + payload
    )


def token_uuid(token: bytes) -> UUID:
    """The token of a lock as management requests name it: a GUID as .NET orders its bytes."""
    return UUID(bytes_le=token)


def uuid_token(value: UUID) -> bytes:
    return value.bytes_le


def _header(message: Stored) -> bytes:
    """Every field is there: clients that find no delivery count fail."""
    content = message.content
    fields = (
        TRUE if content.durable else FALSE,
        NULL if content.priority is None else encode(UByte(content.priority)),
        NULL if content.ttl_ms is None else uint(content.ttl_ms),
        NULL,
        uint(message.delivery_count),
    )
    return section(HEADER, encode_list(fields))


def _annotations(message: Stored) -> bytes:
    number = _TIMESTAMP.pack(0x81, message.sequence)
    pairs = [
        message.content.annotations,
        _ENQUEUED,
        _TIMESTAMP.pack(0x83, message.enqueued_ms),
        _SEQUENCE,
        number,
        _ENQUEUE_SEQUENCE,
        number,
        _STATE,
        bytes((0x54, message.state)),
    ]
    if message.token:
        pairs += [_LOCKED_UNTIL, _TIMESTAMP.pack(0x83, message.locked_until_ms)]
    if message.dead_letter_source:
        pairs += [_SOURCE, encode(message.dead_letter_source)]
    return section(ANNOTATIONS, encode_map(b"".join(pairs), message.content.annotation_values + len(pairs) - 1))
