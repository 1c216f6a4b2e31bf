"""Bundles: messages that were sent one right after the other share a row, which saves most of what a row costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

#: Rows of this size cost next to nothing a message; with more, whoever claims a single one would read too much.
MOST_MESSAGES: Final = 64
_MOST_BYTES: Final = 64 * 1024

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


class Bundle:
    """Messages of one lane of a queue that are to be stored together."""

    def __init__(self, queue: int, lane: int) -> None:
        self.queue = queue
        self.lane = lane
        self.envelopes: list[bytes] = []
        self.bodies: list[bytes] = []
        self._bytes = 0

    def take(self, queue: int, lane: int, envelope: bytes, body: bytes) -> bool:
        """Add a message; False if it does not belong here, or there is no room. The first one always has it."""
        total = self._bytes + len(envelope) + len(body)
        if queue != self.queue or lane != self.lane:
            return False
        if self.bodies and (total > _MOST_BYTES or len(self.bodies) >= MOST_MESSAGES):
            return False
        self.envelopes.append(envelope)
        self.bodies.append(body)
        self._bytes = total
        return True

    def pack(self) -> tuple[int, str, str, bytes]:
        """Its size, the lengths of the bodies, the envelopes, the bodies."""
        lengths = msgspec.json.encode([len(body) for body in self.bodies])
        envelopes = b"[%b]" % b",".join(self.envelopes)
        return len(self.bodies), lengths.decode(), envelopes.decode(), b"".join(self.bodies)


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
