"""HTTP/1.1 as far as it takes to tell requests and responses apart: a head, and as many bytes as it announces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tests.faults.wire.unit import Unit

#: What a request, and what a response is called.
DELIVERY: Final = "delivery"
ANSWER: Final = "answer"

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class HttpConversation:
    """One connection."""

    def __init__(self) -> None:
        self._asked = b""
        self._answered = b""

    def requests(self, data: bytes) -> Iterator[Unit]:
        whole, self._asked = _split(self._asked + data)
        for message in whole:
            yield Unit(message, DELIVERY)

    def replies(self, data: bytes) -> Iterator[Unit]:
        whole, self._answered = _split(self._answered + data)
        for message in whole:
            yield Unit(message, ANSWER)


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole messages, and the beginning of the next one."""
    whole, at = [], 0
    while (head := data.find(b"\r\n\r\n", at)) >= 0:
        length = _LENGTH.search(data, at, head + 2)
        end = head + 4 + (int(length[1]) if length else 0)
        if end > len(data):
            break
        whole.append(data[at:end])
        at = end
    return whole, data[at:]
