"""Deliveries: claimed messages as the core wants them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate, pairwise

from msgspec.structs import force_setattr

from leveler.adapter import Delivery
from leveler.message import Message
from leveler_sqlite.bundles import Payload, envelopes_of, ids_of, lengths_of
from leveler_sqlite.claims import Claimed, Lease
from leveler_sqlite.envelope import decode, decode_all, with_id
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
    lengths, body = lengths_of(payload), payload.body
    at, messages = sum(lengths[:place]), (_alike if payload.ids else _unlike)(payload, place, run.size)
    if messages is None:
        return _one_by_one(run, place, payload, lengths)
    for message, length in zip(messages, lengths[place:], strict=False):
        force_setattr(message, "body", body[at : at + length])  # nobody else has seen it yet
        at += length
    return messages


def _alike(payload: Payload, place: int, size: int) -> list[Message] | None:
    """The messages from there, without their bodies, in a bundle where they differ in their ids only."""
    sample, ids = decode(payload.envelope, b""), ids_of(payload)
    if sample is None or ids is None:
        return None
    return [with_id(sample, id_, b"") for id_ in ids[place : place + size]]


def _unlike(payload: Payload, place: int, size: int) -> list[Message] | None:
    """The same in a bundle of others."""
    if size == payload.size:
        return decode_all(payload.envelope, size)
    return decode_all(f"[{','.join(envelopes_of(payload)[place : place + size])}]", size)


def _one_by_one(run: Run, place: int, payload: Payload, lengths: Sequence[int]) -> list[Message]:
    """What can be read of a bundle that somebody has spoilt."""
    envelopes = envelopes_of(payload)
    bodies = [payload.body[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]
    return [
        _message(number, envelopes[place + index], bodies[place + index]) for index, number in enumerate(run.numbers)
    ]


def _message(number: int, envelope: str, body: bytes) -> Message:
    message = decode(envelope, body)
    if message is None:
        now = datetime.now(UTC)
        message = Message.from_attributes({}, body, {}, received_at=now, native_id=f"sqlite-{number}")
    return message
