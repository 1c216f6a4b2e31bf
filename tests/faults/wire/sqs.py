"""HTTP as SQS speaks it: the operation stands in a header, the content is JSON, and an answer follows its request.

An answer that brings no message has no name: to wait in vain is no operation. What the service itself may do to its
clients is done here, by a `Mood`: a request is changed so that half of it or nothing is done, and the answer says so.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tests.faults.wire.http import END_OF_HEAD, REPLY, end_of, headers_of
from tests.faults.wire.unit import Unit

_EMPTY: Final = (b"{}", b'{"Messages": []}')
_BATCHES: Final = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
_RECEIVE: Final = "ReceiveMessage"


@dataclass
class Mood:
    """What the service does to all of its clients now."""

    #: Every other request is refused, for there are too many.
    throttles: bool = False
    #: Of every batch half is refused.
    does_half: bool = False
    #: Leases are as short as can be, whatever was asked for.
    cuts_leases: bool = False
    #: By how many hours its clock is wrong.
    hours_ahead: int = 0


class _Changed(NamedTuple):
    """A request that went on as another one, and what its answer has to become."""

    name: str
    reply: Callable[[bytes], bytes | None]


class SqsConversation:
    """One connection.

    Args:
        mood: of the service.
    """

    listens = True

    def __init__(self, mood: Mood) -> None:
        self._mood = mood
        self._asked = b""
        self._answered = b""
        self._waiting: deque[_Changed] = deque()
        self._count = 0

    def requests(self, data: bytes) -> Iterator[Unit]:
        self._asked += data
        while (end := end_of(self._asked)) is not None:
            message, self._asked = self._asked[:end], self._asked[end:]
            name = _header(message, "x-amz-target").rpartition(".")[2]
            message, reply = self._changed(name, message)
            self._waiting.append(_Changed(name, reply))
            yield Unit(message, name)

    def replies(self, data: bytes) -> Iterator[Unit]:
        self._answered += data
        while (end := end_of(self._answered)) is not None:
            message, self._answered = self._answered[:end], self._answered[end:]
            name, reply = self._waiting.popleft() if self._waiting else _Changed("", _as_it_is)
            content = _content(message)
            yield Unit(reply(message) or message, "" if content in _EMPTY else name + REPLY)

    def _changed(self, name: str, message: bytes) -> tuple[bytes, Callable[[bytes], bytes | None]]:
        """The request as it goes on, and what is to be done to its answer."""
        mood = self._mood
        self._count += 1
        if mood.throttles and self._count % 2:
            return message.replace(name.encode(), b"T" * len(name), 1), _throttled
        if mood.does_half and name in _BATCHES:
            return _without_half(message)
        if name == _RECEIVE and mood.cuts_leases:
            content = {**json.loads(_content(message)), "VisibilityTimeout": 1}
            return _with_content(message, content), _as_it_is
        if name == _RECEIVE and mood.hours_ahead:
            return message, _at_another_hour(mood.hours_ahead)
        return message, _as_it_is


def _header(message: bytes, name: str) -> str:
    return headers_of(message.partition(END_OF_HEAD)[0]).get(name, "")


def _content(message: bytes) -> bytes:
    content = message.partition(END_OF_HEAD)[2]
    if _header(message, "transfer-encoding") != "chunked":
        return content
    out = bytearray()
    while content:
        size, _, rest = content.partition(b"\r\n")
        length = int(size, 16)
        out += rest[:length]
        content = rest[length + 2 :] if length else b""
    return bytes(out)


def _with_content(message: bytes, content: dict[str, Any], status: bytes = b"") -> bytes:
    """The same message with another content."""
    lines = message.partition(END_OF_HEAD)[0].split(b"\r\n")
    first = b"HTTP/1.1 " + status if status else lines[0]
    drop = (b"content-length", b"transfer-encoding", b"x-amz-crc32", b"x-amzn-query-error")
    kept = [line for line in lines[1:] if line.partition(b":")[0].strip().lower() not in drop]
    body = json.dumps(content).encode()
    return b"\r\n".join([first, *kept, b"content-length: %d" % len(body)]) + END_OF_HEAD + body


def _as_it_is(message: bytes) -> bytes | None:
    return None


def _throttled(message: bytes) -> bytes | None:
    error = {"__type": "com.amazonaws.sqs#RequestThrottled", "message": "Rate exceeded"}
    return _with_content(message, error, b"400 Bad Request")


def _without_half(message: bytes) -> tuple[bytes, Callable[[bytes], bytes | None]]:
    content = json.loads(_content(message))
    entries = content["Entries"]
    kept, refused = entries[::2], entries[1::2]

    def reply(answer: bytes) -> bytes | None:
        said = json.loads(_content(answer))
        failed = [
            {"Id": entry["Id"], "Code": "InternalError", "Message": "not now", "SenderFault": False}
            for entry in refused
        ]
        return _with_content(answer, {**said, "Failed": [*said.get("Failed", ()), *failed]})

    return _with_content(message, {**content, "Entries": kept}), reply


def _at_another_hour(hours: int) -> Callable[[bytes], bytes | None]:
    def reply(answer: bytes) -> bytes | None:
        said = json.loads(_content(answer))
        for message in said.get("Messages", ()):
            attributes = message.get("Attributes", {})
            for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
                if name in attributes:
                    attributes[name] = str(int(attributes[name]) + hours * 3_600_000)
        return _with_content(answer, said)

    return reply
