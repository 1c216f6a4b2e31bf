"""Bundles: messages that were sent one right after the other share a row, which saves most of what a row costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from leveler.message import Message
from leveler_sqlite.envelope import decode, encode, to_json, with_id

#: Rows of this size cost next to nothing a message; with more, whoever claims a single one would read too much. What is
#: in a file may rely on it: nobody may make larger ones without a new `schema.VERSION`.
MOST_MESSAGES: Final = 64
_MOST_BYTES: Final = 128 * 1024

_split: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_to_numbers: Final = msgspec.json.Decoder(list[int]).decode
_to_texts: Final = msgspec.json.Decoder(list[str]).decode

#: What msgspec raises on whatever somebody else has written.
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)

#: The columns of a `Payload`, and where they come from: to be filled in with the name of rows of `ready` or `held`.
STORED: Final = """coalesce(b.envelopes, m.envelope), coalesce(b.bodies, m.body), coalesce(b.lengths, ''),
    coalesce(b.ids, ''), coalesce(b.size, 1)"""
STORE: Final = "LEFT JOIN bundle b ON b.id = {0}.bundle LEFT JOIN message m ON m.id = {0}.id AND {0}.bundle IS NULL"


class Payload(NamedTuple):
    """What a message carries, or all that is in its bundle."""

    #: In a bundle: that of one message if there are `ids`, which is all that differs; else those of all.
    envelope: str
    body: bytes
    #: Of the bodies in a bundle; empty where the message has a row of its own.
    lengths: str
    ids: str
    #: Messages in the bundle.
    size: int


class Stretch(NamedTuple):
    """Messages that came one right after the other and differ in nothing but their ids and bodies."""

    messages: Sequence[Message]
    #: One like them, and its envelope.
    sample: Message
    envelope: bytes

    def after(self, count: int) -> Stretch:
        """What is behind so many of them."""
        return Stretch(self.messages[count:], self.sample, self.envelope)

    def envelopes(self) -> list[bytes]:
        """Of each."""
        return [self.envelope if message is self.sample else encode(message) for message in self.messages]


class Bundle:
    """Messages of one lane of a queue that are to be stored together."""

    def __init__(self, queue: int, lane: int) -> None:
        self.place = (queue, lane)
        self._stretches: list[Stretch] = []
        self._size = 0
        self._bytes = 0

    def take(self, stretch: Stretch) -> int:
        """Add messages as long as there is room, which there always is for a first one; how many that were."""
        some = stretch.messages[: MOST_MESSAGES - self._size]
        total = self._bytes + sum([len(message.body) for message in some])
        while total > _MOST_BYTES and self._size + len(some) > 1:
            total -= len(some[-1].body)
            some = some[:-1]
        if some:
            self._stretches.append(stretch._replace(messages=some))
            self._size += len(some)
            self._bytes = total
        return len(some)

    def pack(self) -> tuple[int, str, str, str, bytes]:
        """Its size, the lengths of the bodies, the ids, the envelopes, the bodies; of one message its envelope."""
        messages = [message for stretch in self._stretches for message in stretch.messages]
        bodies = [message.body for message in messages]
        if len(self._stretches) == 1 and self._size > 1:
            ids, envelopes = to_json([message.id for message in messages]), self._stretches[0].envelope
        else:
            each = [envelope for stretch in self._stretches for envelope in stretch.envelopes()]
            ids, envelopes = b"", each[0] if len(each) == 1 else b"[%b]" % b",".join(each)
        lengths = to_json([*map(len, bodies)])
        return self._size, lengths.decode(), ids.decode(), envelopes.decode(), b"".join(bodies)


def lengths_of(payload: Payload) -> Sequence[int]:
    """Of the bodies. Where somebody has spoilt them nobody can tell, and the first message has all there is."""
    try:
        numbers = _to_numbers(payload.lengths)
    except _MALFORMED:
        numbers = []
    if len(numbers) != payload.size or min(numbers) < 0 or sum(numbers) != len(payload.body):
        return [len(payload.body)] + [0] * (payload.size - 1)
    return numbers


def ids_of(payload: Payload) -> Sequence[str] | None:
    """Of messages that differ in nothing else but their bodies; None where somebody has spoilt them."""
    try:
        ids = _to_texts(payload.ids)
    except _MALFORMED:
        return None
    return ids if len(ids) == payload.size else None


def envelopes_of(payload: Payload) -> Sequence[str]:
    """Each of them; empty ones where somebody has spoilt them."""
    parts: Sequence[str] = []
    if payload.ids:
        sample, ids = decode(payload.envelope, b""), ids_of(payload)
        if sample is not None and ids is not None:
            parts = [encode(with_id(sample, id_, b"")).decode() for id_ in ids]
    else:
        parts = _parts(payload.envelope)
    return parts if len(parts) == payload.size else [""] * payload.size


def _parts(envelopes: str) -> Sequence[str]:
    try:
        return [bytes(raw).decode() for raw in _split(envelopes)]
    except _MALFORMED:
        return []
