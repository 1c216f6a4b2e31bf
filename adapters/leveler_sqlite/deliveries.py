"""Deliveries: claimed rows as the core wants them."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import force_setattr

from leveler.adapter import Delivery
from leveler.message import Message
from leveler_sqlite.claims import Lease, Row
from leveler_sqlite.envelope import decode
from leveler_sqlite.settlements import Receipt


def deliver(row: Row, lease: Lease, leased_until: float, *, dead: bool) -> Delivery:
    """One claimed row. The attempt of a dead letter is always the first."""
    number, count, failed, key, envelope, body = row
    message = unpack(number, failed, envelope, body)
    return Delivery(message, 1 if dead else message.attempts + count, leased_until, Receipt(lease, number, key))


def unpack(number: int, failed: float | None, envelope: str, body: bytes) -> Message:
    """A stored message. One whose envelope somebody has spoilt comes as a foreign message: it is never in the way."""
    message = decode(envelope, body)
    if message is None:
        now = datetime.now(UTC)
        message = Message.from_attributes({}, body, {}, received_at=now, native_id=f"sqlite-{number}")
    if failed is not None and message.failed_at is None:
        force_setattr(message, "failed_at", datetime.fromtimestamp(failed, UTC))
    return message
