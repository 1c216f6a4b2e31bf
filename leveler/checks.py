"""Checks: what a sender may write into a message, so that every broker can carry it. Pure; each says what to use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from leveler.errors import InvalidMessage

#: All header names and values together. Amply below what brokers bear (AMQP: one frame, by default of 128 KiB).
MAX_HEADER_BYTES: Final = 16 * 1024

_MAX_TYPE_CHARACTERS: Final = 256

_QUEUE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TOKEN = re.compile(r"[!-~]{1,128}")
_HEADER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = re.compile(
    r"leveler|ce-|cloudevents|x-(death|first-death|last-death|delivery-|acquired-|cloudtasks-|opt-)|"
    r"(content-type|content-length|authorization|host|traceparent)$"
)


def check_queue_name(name: str) -> str:
    """`name`, if it is legal on every broker.

    Raises:
        InvalidMessage: it is not; says what is.
    """
    if not 3 <= len(name) <= 58 or not _QUEUE.fullmatch(name):
        raise InvalidMessage(
            f"queue name {name!r}: use 3 to 58 characters, lower-case words of letters and digits joined by "
            "single hyphens, the first a letter (for example 'new-orders')"
        )
    if name.endswith("-dead"):
        raise InvalidMessage(f"queue name {name!r}: names ending in '-dead' are taken by the dead letters of a queue")
    return name


def is_token(text: str) -> bool:
    """Whether every broker can carry `text` as an id or a key: 1 to 128 printable ASCII characters, no spaces."""
    return _TOKEN.fullmatch(text) is not None


def check_token(what: str, value: str) -> str:
    """`value`, if it is a token.

    Args:
        what: the name of it, for the error.
        value: an id or a key.

    Raises:
        InvalidMessage: it is not; says what is.
    """
    if not isinstance(value, str):
        raise _no_text(what, value)
    if not is_token(value):
        raise InvalidMessage(f"{what} {value!r}: use 1 to 128 printable ASCII characters without spaces")
    return value


def check_type(name: str) -> str:
    """`name`, if every broker can carry it as a message type, in a header of its own.

    Raises:
        InvalidMessage: it is not; says what is.
    """
    if not isinstance(name, str):
        raise _no_text("type", name)
    if not name.isprintable() or len(name) > _MAX_TYPE_CHARACTERS:
        shown = name[:_MAX_TYPE_CHARACTERS]
        raise InvalidMessage(f"type {shown!r}: use up to {_MAX_TYPE_CHARACTERS} printable characters")
    return name


def check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """`headers`, if every broker can carry them.

    Raises:
        InvalidMessage: names the header and says what is wrong with it.
    """
    total = 0
    for name, value in headers.items():
        if not isinstance(name, str):
            raise _no_text("a header's name", name)
        if not _HEADER.fullmatch(name):
            raise InvalidMessage(f"header {name!r}: use up to 64 of a-z, 0-9, '-', '_' and '.' (lower case only)")
        if _RESERVED.match(name):
            raise InvalidMessage(f"header {name!r} is reserved: choose a name of your own, such as 'x-{name[:20]}'")
        if not isinstance(value, str):
            raise InvalidMessage(f"header {name!r}: the value must be text, not {type(value).__name__}")
        if _CONTROL.search(value):
            raise InvalidMessage(f"header {name!r}: the value has a control character; put such data into the body")
        try:
            total += len(name) + len(value.encode())
        except UnicodeEncodeError:
            raise InvalidMessage(f"header {name!r}: the value is not valid Unicode text") from None
    if total > MAX_HEADER_BYTES:
        raise InvalidMessage(f"headers take {total} bytes of {MAX_HEADER_BYTES}: put large data into the body")
    return headers


def _no_text(what: str, value: object) -> InvalidMessage:
    """For a number, most often."""
    return InvalidMessage(f"{what} is {value!r}: expected text, such as {str(value)!r}")
