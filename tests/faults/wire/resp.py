"""Redis's protocol, RESP 2 and 3, as far as it takes to tell commands apart and to know which reply is whose.

Everything is a line that begins with a mark and ends with CRLF. Behind "$ = !" it says how many bytes follow; behind
"* ~ > %" how many values follow, twice as many for "%". Replies come in the order of the commands; pushes (">") come
when they like. A reply that is nothing has no name: to wait in vain is no operation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tests.faults.wire.unit import Unit

#: What the reply to a command called X is called.
REPLY: Final = " reply"

_BLOBS: Final = (b"$", b"=", b"!")
_LISTS: Final = (b"*", b"~", b">")
#: An attribute ("|") stands before the value that it belongs to, which is still to come.
_MAPS: Final = (b"%", b"|")


class RespConversation:
    """One connection.

    Args:
        name_of: what to call a command, from its words. By default the command itself, in capitals.
    """

    listens = True

    def __init__(self, name_of: Callable[[Sequence[bytes]], str] | None = None) -> None:
        self._name_of = name_of or (lambda words: words[0].decode(errors="replace").upper())
        self._asked = b""
        self._answered = b""
        self._waiting: deque[str] = deque()

    def requests(self, data: bytes) -> Iterator[Unit]:
        data = self._asked + data
        at = 0
        while (end := end_of(data, at)) is not None:
            name = self._name_of(words_of(data[at:end]))
            self._waiting.append(name)
            yield Unit(data[at:end], name)
            at = end
        self._asked = data[at:]

    def replies(self, data: bytes) -> Iterator[Unit]:
        data = self._answered + data
        at = 0
        while (end := end_of(data, at)) is not None:
            push = data[at : at + 1] == b">"
            name = "" if push or not self._waiting else self._waiting.popleft() + REPLY
            yield Unit(data[at:end], "" if data[at:end] in _NOTHING else name)
            at = end
        self._answered = data[at:]


#: What a reader is told when there is nothing to read.
_NOTHING: Final = (b"*-1\r\n", b"$-1\r\n", b"_\r\n")


def end_of(data: bytes, at: int) -> int | None:
    """Where the value that begins at `at` ends; None if it is not all there yet."""
    left = 1
    while left:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        mark, rest = data[at : at + 1], data[at + 1 : line]
        at = line + 2
        left -= mark != b"|"
        if mark in _BLOBS:
            at += int(rest) + 2 if rest != b"-1" else 0
            if at > len(data):
                return None
        elif mark in _LISTS:
            left += max(int(rest), 0)
        elif mark in _MAPS:
            left += 2 * int(rest)
    return at


def words_of(command: bytes) -> list[bytes]:
    """The words of one whole command."""
    if not command.startswith(b"*"):  # typed by hand
        return command.split() or [b""]
    at = command.index(b"\r\n") + 2
    words = []
    while at < len(command):
        line = command.index(b"\r\n", at)
        size = int(command[at + 1 : line])
        words.append(command[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
    return words or [b""]
