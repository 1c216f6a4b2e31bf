"""The types of AMQP that Python has no own for. A decoded integer is a plain int, whatever its width on the wire."""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Symbol(str):
    """A name from some registry; ASCII."""

    __slots__ = ()


class Char(str):
    """One code point."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970, UTC."""

    __slots__ = ()


class UByte(int):
    """An unsigned integer of one byte."""

    __slots__ = ()


class UShort(int):
    """An unsigned integer of two bytes."""

    __slots__ = ()


class UInt(int):
    """An unsigned integer of four bytes."""

    __slots__ = ()


class ULong(int):
    """An unsigned integer of eight bytes."""

    __slots__ = ()


class Int(int):
    """A signed integer of four bytes. A plain ``int`` is one of eight: a long."""

    __slots__ = ()


class Array(list[Any]):
    """A list whose elements are all of one type: that of the first."""

    __slots__ = ()


class Described(NamedTuple):
    """A value and what it stands for."""

    descriptor: Any
    value: Any


class Opaque(NamedTuple):
    """A decimal number, as its bytes: passed on, never calculated with."""

    constructor: int
    content: bytes


class Encoded(bytes):
    """A value that is encoded already."""

    __slots__ = ()


#: The deepest nesting that is followed, and the most elements of one compound value.
DEEPEST: Final = 64
MOST_ELEMENTS: Final = 65536


class DecodeError(ValueError):
    """These bytes are no AMQP."""
