"""Settlements: what becomes of leased messages. Each answers with the places of those that were no longer ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from leveler_sqlite import keys
from leveler_sqlite.claims import Lease
from leveler_sqlite.schema import DELAYED, PARKED, WAITING
from leveler_sqlite.transaction import Transaction

_OURS = "queue = ? AND due = ? AND id IN (SELECT value FROM json_each(?))"


class Receipt:
    """One leased message. `lease` changes when it is extended."""

    __slots__ = ("key", "lease", "number")

    def __init__(self, lease: Lease, number: int, key: str | None) -> None:
        self.lease = lease
        self.number = number
        self.key = key


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
    """Messages of one lease that are ours, for statements that do all of them at once."""

    def __init__(self, lease: Lease, receipts: Sequence[Receipt]) -> None:
        self.queue = lease.queue
        self.size = len({receipt.number for receipt in receipts})
        numbers = json.dumps([receipt.number for receipt in receipts])
        self.numbers = (numbers,)
        self.which = (lease.queue, lease.due, numbers)
        self.keyed = [(receipt.key, receipt.number) for receipt in receipts if receipt.key is not None]

    def open_up(self, transaction: Transaction) -> None:
        keys.open_up(transaction, self.queue, [key for key, _ in self.keyed])


def complete(transaction: Transaction, receipts: Sequence[Receipt]) -> list[int]:
    """Remove them."""
    ours, lost = _ours(transaction, receipts)
    for group in _groups([receipts[place] for place in ours]):
        transaction.sql(f"DELETE FROM held WHERE {_OURS}", group.which)
        transaction.sql("DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))", group.numbers)
        transaction.grow(group.queue, -group.size)
        keys.leave(transaction, group.queue, group.keyed)
        group.open_up(transaction)
    return lost


def give_back(transaction: Transaction, returns: Sequence[Return]) -> list[int]:
    """They wait again: in their old place, or from the end of their delay."""
    ours, lost = _ours(transaction, [one.receipt for one in returns])
    back = [returns[place] for place in ours]
    for counted in (True, False):
        at_once = [one.receipt for one in back if one.delay_seconds <= 0 and one.counted == counted]
        for group in _groups(at_once):
            _return_now(transaction, group, counted)
    for one in back:
        if one.delay_seconds > 0:
            _return_later(transaction, one)
    for group in _groups([one.receipt for one in back]):
        group.open_up(transaction)
        transaction.touched.add(group.queue)
    return lost


def bury(transaction: Transaction, burials: Sequence[Burial], dead_name: str) -> list[int]:
    """Move them to the queue of the dead letters, where nothing is counted."""
    dead = transaction.queue(dead_name)
    ours, lost = _ours(transaction, [one.receipt for one in burials])
    for place in ours:
        receipt, envelope = burials[place]
        transaction.sql("UPDATE message SET envelope = ? WHERE id = ?", (envelope, receipt.number))
    for group in _groups([burials[place].receipt for place in ours]):
        transaction.sql(
            f"""INSERT INTO ready (queue, lane, id, count, since, failed, key)
            SELECT ?, lane, id, 0, ?, NULL, NULL FROM held WHERE {_OURS}""",
            (dead.id, transaction.now, *group.which),
        )
        transaction.sql(f"DELETE FROM held WHERE {_OURS}", group.which)
        transaction.grow(group.queue, -group.size)
        transaction.grow(dead.id, group.size)
        keys.leave(transaction, group.queue, group.keyed)
        group.open_up(transaction)
        transaction.touched.add(dead.id)
    return lost


def extend(transaction: Transaction, receipts: Sequence[Receipt], lease_seconds: float) -> tuple[list[int], float]:
    """Renew their leases; when the new ones end."""
    due = transaction.now + lease_seconds
    ours, lost = _ours(transaction, receipts)
    for group in _groups([receipts[place] for place in ours]):
        transaction.sql(f"UPDATE held SET due = ? WHERE {_OURS}", (due, *group.which))
    return lost, due


def _ours(transaction: Transaction, receipts: Sequence[Receipt]) -> tuple[list[int], list[int]]:
    """The places of those whose lease still runs, and of the others."""
    transaction.flush()
    running: dict[Lease, set[int]] = {}
    for lease in {receipt.lease for receipt in receipts}:
        running[lease] = _held(transaction, lease, receipts) if lease.due > transaction.now else set()
    ours = [place for place, receipt in enumerate(receipts) if receipt.number in running[receipt.lease]]
    lost = [place for place, receipt in enumerate(receipts) if receipt.number not in running[receipt.lease]]
    return ours, lost


def _held(transaction: Transaction, lease: Lease, receipts: Sequence[Receipt]) -> set[int]:
    numbers = json.dumps([receipt.number for receipt in receipts if receipt.lease is lease])
    [found] = transaction.sql(
        f"SELECT json_group_array(id) FROM held WHERE token = ? AND {_OURS}",
        (lease.token, lease.queue, lease.due, numbers),
    ).fetchone()
    return set(json.loads(found))


def _groups(receipts: Sequence[Receipt]) -> Iterator[Group]:
    by_lease: dict[Lease, list[Receipt]] = {}
    for receipt in receipts:
        by_lease.setdefault(receipt.lease, []).append(receipt)
    return (Group(lease, group) for lease, group in by_lease.items())


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
