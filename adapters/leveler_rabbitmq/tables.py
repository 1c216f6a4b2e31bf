"""Tables: AMQP's headers. Written and read by hand: there is one in every message.

The kinds are those of RabbitMQ's errata to AMQP 0-9-1. What is neither text, number nor truth is passed over: nested
tables and arrays are the broker's bookkeeping (x-death).
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import Final

Value = str | int | float | bool

#: What reading raises on bytes that are no table.
MALFORMED: Final = (struct.error, IndexError, ValueError)

_LONG: Final = Struct(">I")
_TEXT: Final = ord("S")
_SCALARS: Final = {
    ord(kind): Struct(form)
    for kind, form in {
        "t": ">?", "b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "L": ">q",
        "f": ">f", "d": ">d",
    }.items()
}  # fmt: skip
#: How many bytes there are to be passed over; None = as many as it says itself.
_PASSED_OVER: Final[dict[int, int | None]] = {
    ord("A"): None, ord("F"): None, ord("x"): None, ord("T"): 8, ord("D"): 5, ord("V"): 0, 0: 0
}  # fmt: skip


def entry(name: str, value: str) -> bytes:
    """One name of up to 255 bytes and its text, as it stands in a table."""
    key, data = name.encode(), value.encode()
    return b"%c%bS%b%b" % (len(key), key, _LONG.pack(len(data)), data)


def table(entries: bytes) -> bytes:
    return _LONG.pack(len(entries)) + entries


def read(data: bytes, start: int) -> tuple[dict[str, Value], int]:
    """The table that starts there, and where it ends.

    Raises:
        MALFORMED: it is none.
    """
    position = start + 4
    end = position + _LONG.unpack_from(data, start)[0]
    found: dict[str, Value] = {}
    while position < end:
        after_name = position + 1 + data[position]
        # With a "?" for what is no text: a name must not grow, or no copy of the message could be sent.
        name = str(data[position + 1 : after_name], "utf-8", "replace").replace("\ufffd", "?")
        kind = data[after_name]
        position = after_name + 1
        if kind == _TEXT:
            after = position + 4 + _LONG.unpack_from(data, position)[0]
            found[name] = str(data[position + 4 : after], "utf-8", "replace")
            position = after
        elif (scalar := _SCALARS.get(kind)) is not None:
            found[name] = scalar.unpack_from(data, position)[0]
            position += scalar.size
        elif kind in _PASSED_OVER:
            size = _PASSED_OVER[kind]
            position += 4 + _LONG.unpack_from(data, position)[0] if size is None else size
        else:
            raise ValueError(f"a value of the unknown kind {kind:#x}")
    return found, end
