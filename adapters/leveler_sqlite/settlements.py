"""Settlements: what becomes of leased messages. Each answers with the places of those that were no longer ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from leveler_sqlite import keys
from leveler_sqlite.claims import Lease
from leveler_sqlite.schema import DEAD_LANE, DELAYED, PARKED, WAITING
from leveler_sqlite.transaction import Transaction

_OURS = "queue = ? AND due = ? AND id IN (SELECT value FROM json_each(?))"


class Receipt(msgspec.Struct, eq=False):
    """One leased message."""

    #: Another one when it has been extended.
    lease: Lease
    number: int
    key: str | None


class Return(NamedTuple):
    """A message that goes back."""

    receipt: Receipt
    delay_seconds: float
    counted: bool


class Burial(NamedTuple):
    """A message that goes to the dead letters, with its new envelope."""

    receipt: Receipt
    envelope: str


class Group:
    """Messages of one lease that are ours, for statements that do all of them at once.

    Args:
        lease: theirs.
        receipts: each of them, once or more.
        numbers: theirs, as a JSON array; made from the receipts where it is not at hand.
    """

    def __init__(self, lease: Lease, receipts: Sequence[Receipt], numbers: str | None = None) -> None:
        self.lease = lease
        self.queue = lease.queue
        self.receipts = receipts
        self.numbers = json.dumps([receipt.number for receipt in receipts]) if numbers is None else numbers
        self.which = (lease.queue, lease.due, self.numbers)
        self.keyed = [(receipt.key, receipt.number) for receipt in receipts if receipt.key is not None]

    def open_up(self, transaction: Transaction) -> None:
        """Let those behind them through."""
        if self.keyed:
            keys.open_up(transaction, self.queue, [key for key, _ in self.keyed])


def complete(transaction: Transaction, receipts: Sequence[Receipt]) -> list[int]:
    """Remove them."""
    groups, lost = _ours(transaction, receipts)
    for group in groups:
        removed = transaction.sql(f"DELETE FROM held WHERE {_OURS}", group.which).rowcount
        transaction.sql("DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))", (group.numbers,))
        transaction.grow(group.queue, -removed)
        keys.leave(transaction, group.queue, group.keyed)
        group.open_up(transaction)
    return lost


def give_back(transaction: Transaction, returns: Sequence[Return]) -> list[int]:
    """They wait again: in their old place, or from the end of their delay."""
    groups, lost = _ours(transaction, [one.receipt for one in returns])
    how = {one.receipt: one for one in returns}
    for group in groups:
        for counted in (True, False):
            part = [one for one in group.receipts if how[one].delay_seconds <= 0 and how[one].counted == counted]
            if part:
                _return_now(transaction, Group(group.lease, part), counted)
        for receipt in group.receipts:
            if how[receipt].delay_seconds > 0:
                _return_later(transaction, how[receipt])
        group.open_up(transaction)
        transaction.touched.add(group.queue)
    return lost


def bury(transaction: Transaction, burials: Sequence[Burial], dead_name: str) -> list[int]:
    """Move them to the queue of the dead letters, where nothing is counted."""
    dead = transaction.queue(dead_name)
    groups, lost = _ours(transaction, [one.receipt for one in burials])
    envelopes = {one.receipt: one.envelope for one in burials}
    for group in groups:
        for receipt in group.receipts:
            transaction.sql("UPDATE message SET envelope = ? WHERE id = ?", (envelopes[receipt], receipt.number))
        moved = transaction.sql(
            f"""INSERT INTO ready (queue, lane, id, count, since, failed, key)
            SELECT ?, ?, id, 0, ?, NULL, NULL FROM held WHERE {_OURS}""",
            (dead.id, DEAD_LANE, transaction.now, *group.which),
        ).rowcount
        transaction.sql(f"DELETE FROM held WHERE {_OURS}", group.which)
        transaction.grow(group.queue, -moved)
        transaction.grow(dead.id, moved)
        keys.leave(transaction, group.queue, group.keyed)
        group.open_up(transaction)
        transaction.touched.add(dead.id)
    return lost


def extend(transaction: Transaction, receipts: Sequence[Receipt], lease_seconds: float) -> tuple[list[int], float]:
    """Renew their leases; when the new ones end."""
    due = transaction.now + lease_seconds
    groups, lost = _ours(transaction, receipts)
    for group in groups:
        transaction.sql(f"UPDATE held SET due = ? WHERE {_OURS}", (due, *group.which))
    return lost, due


def _ours(transaction: Transaction, receipts: Sequence[Receipt]) -> tuple[list[Group], list[int]]:
    """Those whose lease still runs, and the places of the others."""
    transaction.flush()
    places: dict[Lease, list[int]] = {}
    for place, receipt in enumerate(receipts):
        places.setdefault(receipt.lease, []).append(place)
    groups: list[Group] = []
    lost: list[int] = []
    for lease, all_places in places.items():
        numbers = _held(transaction, lease, [receipts[place].number for place in all_places])
        found = set(json.loads(numbers))
        lost += [place for place in all_places if receipts[place].number not in found]
        kept = [receipts[place] for place in all_places if receipts[place].number in found]
        if kept:
            groups.append(Group(lease, kept, numbers))
    return groups, lost


def _held(transaction: Transaction, lease: Lease, numbers: Sequence[int]) -> str:
    """Those of `numbers` that this lease still holds, as a JSON array."""
    if lease.due <= transaction.now:
        return "[]"
    found: tuple[str] = transaction.sql(
        f"SELECT json_group_array(id) FROM held WHERE token = ? AND {_OURS}",
        (lease.token, lease.queue, lease.due, json.dumps(numbers)),
    ).fetchone()
    return found[0]


def _return_now(transaction: Transaction, group: Group, counted: bool) -> None:
    refund, failed = _price(transaction, counted)
    transaction.sql(
        f"""INSERT INTO ready (queue, lane, id, count, since, failed, key)
        SELECT queue, lane + CASE WHEN key IS NULL THEN 0 ELSE {PARKED} END, id, max(count - ?, 0), since,
            coalesce(failed, CASE WHEN count > 0 THEN ? END), key
        FROM held WHERE {_OURS}""",
        (refund, failed, *group.which),
    )
    transaction.sql(f"DELETE FROM held WHERE {_OURS}", group.which)
    keys.mark(transaction, group.queue, group.keyed, WAITING)


def _return_later(transaction: Transaction, one: Return) -> None:
    refund, failed = _price(transaction, one.counted)
    due = transaction.now + one.delay_seconds
    receipt = one.receipt
    transaction.sql(
        """UPDATE held SET due = ?1, since = ?1, token = NULL, count = max(count - ?2, 0),
            failed = coalesce(failed, CASE WHEN count > 0 THEN ?3 END)
        WHERE queue = ?4 AND due = ?5 AND id = ?6""",
        (due, refund, failed, receipt.lease.queue, receipt.lease.due, receipt.number),
    )
    if receipt.key is not None:
        keys.mark(transaction, receipt.lease.queue, [(receipt.key, receipt.number)], DELAYED)


def _price(transaction: Transaction, counted: bool) -> tuple[int, float | None]:
    """How many attempts are given back, and when the failure was."""
    return (0, transaction.timeline.wall()) if counted else (1, None)
