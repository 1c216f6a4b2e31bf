"""Bundles: messages that were sent one right after the other share a row, which saves most of what a row costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from leveler.message import Message

#: Rows of this size cost next to nothing a message; with more, whoever claims a single one would read too much. What is
#: in a file may rely on it: nobody may make larger ones without a new `schema.VERSION`.
MOST_MESSAGES: Final = 64
_MOST_BYTES: Final = 128 * 1024

_to_json: Final = msgspec.json.Encoder().encode
_split: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_to_numbers: Final = msgspec.json.Decoder(list[int]).decode

#: What msgspec raises on whatever somebody else has written.
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)

#: The columns of a `Payload`, and where they come from: to be filled in with the name of rows of `ready` or `held`.
STORED: Final = (
    "coalesce(b.envelopes, m.envelope), coalesce(b.bodies, m.body), coalesce(b.lengths, ''), coalesce(b.size, 1)"
)
STORE: Final = "LEFT JOIN bundle b ON b.id = {0}.bundle LEFT JOIN message m ON m.id = {0}.id AND {0}.bundle IS NULL"


class Payload(NamedTuple):
    """What a message carries, or all that is in its bundle."""

    envelope: str
    body: bytes
    #: Of the bodies in a bundle; empty where the message has a row of its own.
    lengths: str
    #: Messages in the bundle.
    size: int


#: A message that comes in, and its envelope as it is to be stored.
Arrival = tuple[Message, bytes]


class Bundle:
    """Messages of one lane of a queue that are to be stored together."""

    def __init__(self, queue: int, lane: int) -> None:
        self.place = (queue, lane)
        self.arrivals: list[Arrival] = []
        self._bytes = 0

    def take(self, arrivals: Sequence[Arrival]) -> int:
        """Add messages as long as there is room, which there always is for a first one; how many that were."""
        some = arrivals[: MOST_MESSAGES - len(self.arrivals)]
        total = self._bytes + _bytes_of(some)
        while total > _MOST_BYTES and len(self.arrivals) + len(some) > 1:
            total -= _bytes_of(some[-1:])
            some = some[:-1]
        self.arrivals += some
        self._bytes = total
        return len(some)

    def pack(self) -> tuple[int, str, str, bytes]:
        """Its size, the lengths of the bodies, the envelopes, the bodies."""
        bodies = [message.body for message, _ in self.arrivals]
        envelopes = b"[%b]" % b",".join([envelope for _, envelope in self.arrivals])
        return len(bodies), _to_json([*map(len, bodies)]).decode(), envelopes.decode(), b"".join(bodies)


def lengths_of(lengths: str, size: int, bodies: bytes) -> Sequence[int]:
    """Of the bodies. Where somebody has spoilt them nobody can tell, and the first message has all there is."""
    try:
        numbers = _to_numbers(lengths)
    except _MALFORMED:
        numbers = []
    if len(numbers) != size or min(numbers) < 0 or sum(numbers) != len(bodies):
        return [len(bodies)] + [0] * (size - 1)
    return numbers


def envelopes_of(envelopes: str, size: int) -> Sequence[str]:
    """Each of them; empty ones where somebody has spoilt them."""
    try:
        parts = [bytes(raw).decode() for raw in _split(envelopes)]
    except _MALFORMED:
        parts = []
    return parts if len(parts) == size else [""] * size


def _bytes_of(arrivals: Sequence[Arrival]) -> int:
    return sum([len(message.body) + len(envelope) for message, envelope in arrivals])
