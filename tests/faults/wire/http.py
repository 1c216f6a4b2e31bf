"""HTTP/1.1, as far as it takes to tell requests apart and to know which reply is whose.

A message is a head, which ends with an empty line, and a body whose length the head says, in bytes or in chunks.
Replies come in the order of the requests. A reply that brings nothing may be left without a name: to ask in vain is no
operation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from tests.faults.wire.unit import Unit

#: What the reply to a request called X is called.
REPLY: Final = " reply"

END_OF_HEAD: Final = b"\r\n\r\n"


class Request(NamedTuple):
    """One, whole."""

    method: str
    target: str
    #: By their names in lower case.
    headers: Mapping[str, str]
    body: bytes


class HttpConversation:
    """One connection.

    Args:
        name_of: what to call a request; empty if nobody asks.
        is_empty: whether the body of a reply brings nothing.
    """

    listens = True

    def __init__(
        self, name_of: Callable[[Request], str], is_empty: Callable[[bytes], bool] = lambda body: False
    ) -> None:
        self._name_of = name_of
        self._is_empty = is_empty
        self._asked = b""
        self._answered = b""
        self._waiting: deque[tuple[str, bool]] = deque()

    def requests(self, data: bytes) -> Iterator[Unit]:
        data = self._asked + data
        while (end := end_of(data)) is not None:
            request = _request(data[:end])
            name = self._name_of(request)
            self._waiting.append((name, request.method == "HEAD"))
            yield Unit(data[:end], name)
            data = data[end:]
        self._asked = data

    def replies(self, data: bytes) -> Iterator[Unit]:
        data = self._answered + data
        while (end := end_of(data, of_head=bool(self._waiting and self._waiting[0][1]))) is not None:
            yield Unit(data[:end], self._name_of_reply(data[:end]))
            data = data[end:]
        self._answered = data

    def _name_of_reply(self, reply: bytes) -> str:
        status = reply[9:12]
        if status.startswith(b"1") or not self._waiting:  # "100 Continue" is not the reply yet
            return ""
        name, _ = self._waiting.popleft()
        return name + REPLY if name and not self._is_empty(reply.partition(END_OF_HEAD)[2]) else ""


def end_of(data: bytes, *, of_head: bool = False) -> int | None:
    """Where the message at the beginning of `data` ends; None if it is not all there yet.

    Args:
        data: one or more messages, the last perhaps in part.
        of_head: whether it answers a HEAD, and so has no body, whatever its head says.
    """
    at = data.find(END_OF_HEAD)
    if at < 0:
        return None
    start, headers = at + len(END_OF_HEAD), headers_of(data[:at])
    if of_head or data[9:12] in (b"204", b"304") or (data.startswith(b"HTTP/") and data[9:10] == b"1"):
        return start
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _end_of_chunks(data, start)
    end = start + int(headers.get("content-length", "0"))
    return end if end <= len(data) else None


def _end_of_chunks(data: bytes, at: int) -> int | None:
    while (line := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line].partition(b";")[0], 16)
        at = line + 2 + size + 2
        if size == 0:  # nobody here sends trailers
            return at if at <= len(data) else None
    return None


def _request(data: bytes) -> Request:
    head, _, body = data.partition(END_OF_HEAD)
    method, target, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
    return Request(method, target, headers_of(head), body)


def headers_of(head: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
