"""Settlements: what becomes of leased messages. Each answers with the places of those that were no longer ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leveler_sqlite import keys, payload
from leveler_sqlite.groups import Group, Receipt, ours
from leveler_sqlite.schema import DEAD_LANE, DELAYED, PARKED, WAITING
from leveler_sqlite.transaction import Transaction


class Return(NamedTuple):
    """A message that goes back."""

    receipt: Receipt
    delay_seconds: float
    counted: bool


class Burial(NamedTuple):
    """A message that goes to the dead letters, with its new envelope."""

    receipt: Receipt
    envelope: bytes


def complete(transaction: Transaction, receipts: Sequence[Receipt]) -> list[int]:
    """Remove them."""
    groups, lost = ours(transaction, receipts)
    for group in groups:
        transaction.sql(f"DELETE FROM held WHERE {group.WHICH}", group.which)
        payload.discard(transaction, group.runs)
        _gone(transaction, group)
    return lost


def give_back(transaction: Transaction, returns: Sequence[Return]) -> list[int]:
    """They wait again: in their old place, or from the end of their delay."""
    lost: list[int] = []
    for counted in (True, False):
        for delayed in (False, True):
            lost += _give_back(transaction, returns, counted, delayed)
    return lost


def bury(transaction: Transaction, burials: Sequence[Burial], dead_name: str) -> list[int]:
    """Move them to the queue of the dead letters, where nothing is counted."""
    dead = transaction.queue(dead_name)
    groups, lost = ours(transaction, [one.receipt for one in burials])
    envelopes = {one.receipt: one.envelope.decode() for one in burials}
    for group in groups:
        group.extract(transaction)
        for receipt in group.receipts:
            transaction.sql("UPDATE message SET envelope = ? WHERE id = ?", (envelopes[receipt], receipt.number))
        transaction.sql(
            f"""INSERT INTO ready (queue, lane, id, count, since, failed, key)
            SELECT ?, ?, id, 0, ?, NULL, NULL FROM held WHERE {group.WHICH}""",
            (dead.id, DEAD_LANE, transaction.now, *group.which),
        )
        transaction.sql(f"DELETE FROM held WHERE {group.WHICH}", group.which)
        transaction.grow(dead.id, group.size)
        _gone(transaction, group)
        transaction.touched.add(dead.id)
    return lost


def extend(transaction: Transaction, receipts: Sequence[Receipt], lease_seconds: float) -> tuple[list[int], float]:
    """Renew their leases; when the new ones end."""
    due = transaction.now + lease_seconds
    groups, lost = ours(transaction, receipts)
    for group in groups:
        transaction.sql(f"UPDATE held SET due = ? WHERE {group.WHICH}", (due, *group.which))
    return lost, due


def _gone(transaction: Transaction, group: Group) -> None:
    """They have left the queue."""
    transaction.grow(group.queue, -group.size)
    keys.leave(transaction, group.queue, group.keyed)
    group.open_up(transaction)


def _give_back(transaction: Transaction, returns: Sequence[Return], counted: bool, delayed: bool) -> list[int]:
    places = [
        place for place, one in enumerate(returns) if one.counted == counted and (one.delay_seconds > 0) == delayed
    ]
    groups, lost = ours(transaction, [returns[place].receipt for place in places])
    for group in groups:
        if delayed:
            _return_later(transaction, group, {one.receipt: one.delay_seconds for one in returns}, counted)
        else:
            _return_now(transaction, group, counted)
        group.open_up(transaction)
        transaction.touched.add(group.queue)
    return [places[index] for index in lost]


def _return_now(transaction: Transaction, group: Group, counted: bool) -> None:
    refund, failed = _price(transaction, counted)
    transaction.sql(
        f"""INSERT INTO ready (queue, lane, id, size, bundle, count, since, failed, key)
        SELECT queue, lane + CASE WHEN key IS NULL THEN 0 ELSE {PARKED} END, id, size, bundle, max(count - ?, 0), since,
            coalesce(failed, CASE WHEN count > 0 THEN ? END), key
        FROM held WHERE {group.WHICH}""",
        (refund, failed, *group.which),
    )
    transaction.sql(f"DELETE FROM held WHERE {group.WHICH}", group.which)
    keys.mark(transaction, group.queue, group.keyed, WAITING)


def _return_later(transaction: Transaction, group: Group, delays: dict[Receipt, float], counted: bool) -> None:
    """They leave their bundles: a delay may be long, and whole bundles would be kept for a few messages."""
    group.extract(transaction)
    refund, failed = _price(transaction, counted)
    for receipt in group.receipts:
        due = transaction.now + delays[receipt]
        transaction.sql(
            """UPDATE held SET due = ?1, since = ?1, token = NULL, count = max(count - ?2, 0),
                failed = coalesce(failed, CASE WHEN count > 0 THEN ?3 END)
            WHERE queue = ?4 AND due = ?5 AND id = ?6""",
            (due, refund, failed, receipt.lease.queue, receipt.lease.due, receipt.number),
        )
    keys.mark(transaction, group.queue, group.keyed, DELAYED)


def _price(transaction: Transaction, counted: bool) -> tuple[int, float | None]:
    """How many attempts are given back, and when the failure was."""
    return (0, transaction.timeline.wall()) if counted else (1, None)
