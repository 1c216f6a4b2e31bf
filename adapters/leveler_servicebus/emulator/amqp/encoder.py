"""A value -> its bytes, in the shortest encoding that its type has."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import UUID

from leveler_servicebus.emulator.amqp.values import (
    Array,
    Char,
    Described,
    Encoded,
    Int,
    Opaque,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

_UINT32: Final = struct.Struct(">BI")
_INT32: Final = struct.Struct(">Bi")
_UINT64: Final = struct.Struct(">BQ")
_INT64: Final = struct.Struct(">Bq")

NULL: Final = b"\x40"
TRUE: Final = b"\x41"
FALSE: Final = b"\x42"


def encode(value: Any) -> bytes:
    """The bytes of `value`.

    Raises:
        TypeError: AMQP has no such type.
    """
    encoder = _BY_TYPE.get(type(value))
    if encoder is None:
        raise TypeError(f"{type(value).__name__} has no place in an AMQP message")
    return encoder(value)


def encode_list(items: Iterable[bytes]) -> bytes:
    """A list of what is encoded already."""
    parts = list(items)
    return _compound(0xC0, b"".join(parts), len(parts)) if parts else b"\x45"


def encode_map(pairs: bytes, count: int) -> bytes:
    """A map whose keys and values, `count` together, are encoded already."""
    return _compound(0xC1, pairs, count)


def section(code: int, value: bytes) -> bytes:
    """A described value: a section of a message, a performative, an outcome."""
    return bytes((0x00, 0x53, code)) + value


def binary(value: bytes | bytearray | memoryview) -> bytes:
    return _variable(0xA0, bytes(value))


def uint(value: int) -> bytes:
    if value == 0:
        return b"\x43"
    return bytes((0x52, value)) if value < 256 else _UINT32.pack(0x70, value)


def ulong(value: int) -> bytes:
    if value == 0:
        return b"\x44"
    return bytes((0x53, value)) if value < 256 else _UINT64.pack(0x80, value)


def long(value: int) -> bytes:
    return bytes((0x55, value & 0xFF)) if -128 <= value < 128 else _INT64.pack(0x81, value)


def _int(value: int) -> bytes:
    return bytes((0x54, value & 0xFF)) if -128 <= value < 128 else _INT32.pack(0x71, value)


def _variable(constructor: int, content: bytes) -> bytes:
    """`constructor` is that of the short form; the long one is 0x10 above."""
    if len(content) < 256:
        return bytes((constructor, len(content))) + content
    return _UINT32.pack(constructor + 0x10, len(content)) + content


def _compound(constructor: int, content: bytes, count: int) -> bytes:
    if len(content) < 255 and count < 256:
        return bytes((constructor, len(content) + 1, count)) + content
    return struct.pack(">BII", constructor + 0x10, len(content) + 4, count) + content


def _map(value: dict[Any, Any]) -> bytes:
    return _compound(0xC1, b"".join(encode(part) for pair in value.items() for part in pair), 2 * len(value))


def _array(value: Array) -> bytes:
    """Every element in the widest form of its type, so that one constructor serves all."""
    if not value:
        return bytes((0xE0, 2, 0, 0x40))
    widest = _WIDEST[type(value[0])]
    content = b"".join(widest(item) for item in value)
    return _compound(0xE0, _CONSTRUCTOR[type(value[0])] + content, len(value))


def _long_variable(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _described(value: Described) -> bytes:
    return b"\x00" + encode(value.descriptor) + encode(value.value)


_BY_TYPE: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: NULL,
    bool: lambda value: TRUE if value else FALSE,
    UByte: lambda value: bytes((0x50, value)),
    UShort: lambda value: struct.pack(">BH", 0x60, value),
    UInt: uint,
    ULong: ulong,
    Int: _int,
    int: long,
    float: lambda value: struct.pack(">Bd", 0x82, value),
    Char: lambda value: _UINT32.pack(0x73, ord(value)),
    Timestamp: lambda value: _INT64.pack(0x83, value),
    UUID: lambda value: b"\x98" + value.bytes,
    bytes: binary,
    bytearray: binary,
    memoryview: binary,
    str: lambda value: _variable(0xA1, value.encode()),
    Symbol: lambda value: _variable(0xA3, value.encode("ascii")),
    list: lambda value: encode_list(map(encode, value)),
    tuple: lambda value: encode_list(map(encode, value)),
    dict: _map,
    Array: _array,
    Described: _described,
    Opaque: lambda value: bytes((value.constructor,)) + value.content,
    Encoded: bytes,
}

#: One constructor for all elements of an array, and the bytes of one element after it.
_CONSTRUCTOR: Final[dict[type, bytes]] = {
    bool: b"\x56",
    UInt: b"\x70",
    ULong: b"\x80",
    Int: b"\x71",
    int: b"\x81",
    Timestamp: b"\x83",
    UUID: b"\x98",
    bytes: b"\xb0",
    str: b"\xb1",
    Symbol: b"\xb3",
}
_WIDEST: Final[dict[type, Callable[[Any], bytes]]] = {
    bool: lambda value: b"\x01" if value else b"\x00",
    UInt: struct.Struct(">I").pack,
    ULong: struct.Struct(">Q").pack,
    Int: struct.Struct(">i").pack,
    int: struct.Struct(">q").pack,
    Timestamp: struct.Struct(">q").pack,
    UUID: lambda value: value.bytes,
    bytes: _long_variable,
    str: lambda value: _long_variable(value.encode()),
    Symbol: lambda value: _long_variable(value.encode("ascii")),
}
