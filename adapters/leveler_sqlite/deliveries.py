"""Deliveries: claimed messages as the core wants them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate, pairwise

from msgspec.structs import force_setattr

from leveler.adapter import Delivery
from leveler.message import Message
from leveler_sqlite.bundles import Payload, envelopes_of, lengths_of
from leveler_sqlite.claims import Claimed, Lease
from leveler_sqlite.envelope import decode, decode_all
from leveler_sqlite.groups import Receipt
from leveler_sqlite.runs import Run


def deliver(claimed: Claimed, lease: Lease, leased_until: float, *, dead: bool) -> list[Delivery]:
    """The messages of a run. The attempt of a dead letter is always the first."""
    attempts = claimed.attempts
    return [
        Delivery(message, 1 if dead else message.attempts + attempts, leased_until, receipt)
        for message, receipt in zip(
            unpack(claimed.run, claimed.failed, claimed.payload), receipts_of(claimed, lease), strict=True
        )
    ]


def receipts_of(claimed: Claimed, lease: Lease) -> list[Receipt]:
    """Of its messages."""
    return [Receipt(lease, number, claimed.key) for number in claimed.run.numbers]


def unpack(run: Run, failed: float | None, payload: Payload) -> list[Message]:
    """Stored messages. One whose envelope somebody has spoilt comes as a foreign message: it is never in the way."""
    messages = _alone(run, payload) if run.bundle is None else _bundled(run, run.bundle, payload)
    if failed is not None:
        failed_at = datetime.fromtimestamp(failed, UTC)
        for message in messages:
            if message.failed_at is None:
                force_setattr(message, "failed_at", failed_at)
    return messages


def _alone(run: Run, payload: Payload) -> list[Message]:
    return [_message(run.first, payload.envelope, payload.body)]


def _bundled(run: Run, bundle: int, payload: Payload) -> list[Message]:
    place = run.first - bundle
    lengths = lengths_of(payload.lengths, payload.size, payload.body)
    envelopes = payload.envelope
    if run.size < payload.size:
        some = envelopes_of(envelopes, payload.size)[place : place + run.size]
        envelopes = f"[{','.join(some)}]"
    messages, at, body = decode_all(envelopes, run.size), sum(lengths[:place]), payload.body
    if messages is None:
        return _one_by_one(run, place, payload, lengths)
    for message, length in zip(messages, lengths[place:], strict=False):
        force_setattr(message, "body", body[at : at + length])  # nobody else has seen it yet
        at += length
    return messages


def _one_by_one(run: Run, place: int, payload: Payload, lengths: Sequence[int]) -> list[Message]:
    """What can be read of a bundle that somebody has spoilt."""
    envelopes = envelopes_of(payload.envelope, payload.size)
    ends = list(accumulate(lengths, initial=0))
    bodies = [payload.body[start:end] for start, end in pairwise(ends)]
    return [
        _message(number, envelopes[place + index], bodies[place + index]) for index, number in enumerate(run.numbers)
    ]


def _message(number: int, envelope: str, body: bytes) -> Message:
    message = decode(envelope, body)
    if message is None:
        now = datetime.now(UTC)
        message = Message.from_attributes({}, body, {}, received_at=now, native_id=f"sqlite-{number}")
    return message
