"""Bytes -> a value, or only where it ends: most of a message is passed on as it came."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from leveler_servicebus.emulator.amqp.values import (
    DEEPEST,
    MOST_ELEMENTS,
    Array,
    Char,
    DecodeError,
    Described,
    Opaque,
    Symbol,
    Timestamp,
)

_U16: Final = struct.Struct(">H").unpack_from
_U32: Final = struct.Struct(">I").unpack_from
_U64: Final = struct.Struct(">Q").unpack_from

Decoder = Callable[[bytes, int, int], tuple[Any, int]]


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The value that starts at `at`, and where the next one starts.

    Raises:
        DecodeError: the bytes are cut short, nested too deep, or no AMQP.
    """
    try:
        return _decode(data, at, 0)
    except (IndexError, struct.error, ValueError, OverflowError, TypeError) as error:
        raise DecodeError(f"no AMQP value at byte {at}: {error}") from error


def skip(data: bytes, at: int = 0) -> int:
    """Where the value that starts at `at` ends.

    Raises:
        DecodeError: the bytes are cut short, or no AMQP.
    """
    try:
        end = _skip(data, at, 0)
    except (IndexError, struct.error) as error:
        raise DecodeError(f"no AMQP value at byte {at}: {error}") from error
    if end > len(data):
        raise DecodeError(f"the value at byte {at} is cut short")
    return end


def compound(data: bytes, at: int) -> tuple[int, int, int]:
    """Of the list or map that starts at `at`: where its first element starts, how many it has, where it ends."""
    try:
        return _compound(data, at)
    except (IndexError, struct.error) as error:
        raise DecodeError(f"no list or map at byte {at}: {error}") from error


def _compound(data: bytes, at: int) -> tuple[int, int, int]:
    constructor = data[at]
    if constructor == 0x45:
        return at + 1, 0, at + 1
    if constructor in (0xC0, 0xC1):
        start, size, count = at + 3, data[at + 1] - 1, data[at + 2]
    elif constructor in (0xD0, 0xD1):
        start, size, count = at + 9, _U32(data, at + 1)[0] - 4, _U32(data, at + 5)[0]
    else:
        raise DecodeError(f"expected a list or a map, not constructor {constructor:#04x}")
    if count > MOST_ELEMENTS or start + size > len(data) or size < 0:
        raise DecodeError(f"{count} elements in {size} bytes")
    return start, count, start + size


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    decoder = _DECODERS[data[at]]
    if decoder is None:
        raise DecodeError(f"there is no constructor {data[at]:#04x}")
    return decoder(data, at + 1, depth)


def _skip(data: bytes, at: int, depth: int) -> int:
    constructor = data[at]
    if constructor == 0:
        if depth >= DEEPEST:
            raise DecodeError(f"nested deeper than {DEEPEST}")
        return _skip(data, _skip(data, at + 1, depth + 1), depth + 1)
    width = constructor >> 4
    if width in (0xA, 0xC, 0xE):
        return at + 2 + data[at + 1]
    if width in (0xB, 0xD, 0xF):
        return at + 5 + int(_U32(data, at + 1)[0])
    if width in _WIDTHS:
        return at + 1 + _WIDTHS[width]
    raise DecodeError(f"there is no constructor {constructor:#04x}")


_WIDTHS: Final = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}


def _constant(value: Any) -> Decoder:
    return lambda data, at, depth: (value, at)


def _number(layout: str, of: Callable[[Any], Any] | None = None) -> Decoder:
    packed = struct.Struct(layout)
    unpack, size = packed.unpack_from, packed.size
    if of is None:
        return lambda data, at, depth: (unpack(data, at)[0], at + size)
    return lambda data, at, depth: (of(unpack(data, at)[0]), at + size)


def _byte(data: bytes, at: int, depth: int) -> tuple[int, int]:
    return data[at], at + 1


def _boolean(data: bytes, at: int, depth: int) -> tuple[bool, int]:
    return data[at] != 0, at + 1


def _uuid(data: bytes, at: int, depth: int) -> tuple[UUID, int]:
    return UUID(bytes=_cut(data, at, at + 16)), at + 16


def _opaque(constructor: int, width: int) -> Decoder:
    return lambda data, at, depth: (Opaque(constructor, _cut(data, at, at + width)), at + width)


def _cut(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise DecodeError(f"cut short: {end - len(data)} bytes are missing")
    return data[start:end]


def _short(of: Callable[[bytes], Any]) -> Decoder:
    def decoder(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        end = at + 1 + data[at]
        return of(_cut(data, at + 1, end)), end

    return decoder


def _long(of: Callable[[bytes], Any]) -> Decoder:
    def decoder(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        end = at + 4 + _U32(data, at)[0]
        return of(_cut(data, at + 4, end)), end

    return decoder


def _symbol(content: bytes) -> Symbol:
    return Symbol(content, "ascii")


def _items(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    if depth >= DEEPEST:
        raise DecodeError(f"nested deeper than {DEEPEST}")
    at, count, end = _compound(data, at - 1)
    values = []
    for _ in range(count):
        value, at = _decode(data, at, depth + 1)
        values.append(value)
    if at != end:
        raise DecodeError("a list or map is longer or shorter than it says")
    return values, at


def _map(data: bytes, at: int, depth: int) -> tuple[dict[Any, Any], int]:
    values, at = _items(data, at, depth)
    if len(values) % 2:
        raise DecodeError("a map has a key without a value")
    return dict(zip(values[::2], values[1::2], strict=True)), at


def _array_short(data: bytes, at: int, depth: int) -> tuple[Array, int]:
    return _array(data, at + 2, data[at + 1], at + 1 + data[at], depth)


def _array_long(data: bytes, at: int, depth: int) -> tuple[Array, int]:
    return _array(data, at + 8, _U32(data, at + 4)[0], at + 4 + _U32(data, at)[0], depth)


def _array(data: bytes, at: int, count: int, end: int, depth: int) -> tuple[Array, int]:
    """All elements share one constructor; its descriptor, if it has one, stands once before it."""
    if depth >= DEEPEST or count > MOST_ELEMENTS or end > len(data):
        raise DecodeError(f"an array of {count} elements that ends at {end}, {depth} deep")
    if not count:
        return Array(), end
    described, descriptor = data[at] == 0, None
    if described:
        descriptor, at = _decode(data, at + 1, depth + 1)
    decoder = _DECODERS[data[at]]
    if decoder is None:
        raise DecodeError(f"there is no constructor {data[at]:#04x}")
    at += 1
    values = Array()
    for _ in range(count):
        value, at = _element(decoder, data, at, depth + 1)
        values.append(Described(descriptor, value) if described else value)
    if at != end:
        raise DecodeError("an array is longer or shorter than it says")
    return values, at


def _element(decoder: Decoder, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if decoder in (_items, _map):
        raise DecodeError("lists and maps in arrays are not understood")
    return decoder(data, at, depth)


def _described(data: bytes, at: int, depth: int) -> tuple[Described, int]:
    if depth >= DEEPEST:
        raise DecodeError(f"nested deeper than {DEEPEST}")
    descriptor, at = _decode(data, at, depth + 1)
    value, at = _decode(data, at, depth + 1)
    return Described(descriptor, value), at


_BY_CONSTRUCTOR: Final[dict[int, Decoder]] = {
    0x00: _described,
    0x40: _constant(None),
    0x41: _constant(True),
    0x42: _constant(False),
    0x43: _constant(0),
    0x44: _constant(0),
    0x45: _items,
    0x50: _byte,
    0x51: _number(">b"),
    0x52: _byte,
    0x53: _byte,
    0x54: _number(">b"),
    0x55: _number(">b"),
    0x56: _boolean,
    0x60: _number(">H"),
    0x61: _number(">h"),
    0x70: _number(">I"),
    0x71: _number(">i"),
    0x72: _number(">f"),
    0x73: _number(">I", lambda point: Char(chr(point))),
    0x74: _opaque(0x74, 4),
    0x80: _number(">Q"),
    0x81: _number(">q"),
    0x82: _number(">d"),
    0x83: _number(">q", Timestamp),
    0x84: _opaque(0x84, 8),
    0x94: _opaque(0x94, 16),
    0x98: _uuid,
    0xA0: _short(bytes),
    0xA1: _short(lambda content: content.decode()),
    0xA3: _short(_symbol),
    0xB0: _long(bytes),
    0xB1: _long(lambda content: content.decode()),
    0xB3: _long(_symbol),
    0xC0: _items,
    0xC1: _map,
    0xD0: _items,
    0xD1: _map,
    0xE0: _array_short,
    0xF0: _array_long,
}
_DECODERS: Final[list[Decoder | None]] = [_BY_CONSTRUCTOR.get(constructor) for constructor in range(256)]
