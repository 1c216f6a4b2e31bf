"""Groups: leased messages that are still ours to settle, by their lease."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from leveler_sqlite import keys, payload
from leveler_sqlite.bundles import MOST_MESSAGES
from leveler_sqlite.claims import Lease
from leveler_sqlite.runs import Run
from leveler_sqlite.transaction import Transaction

_to_runs: Final = msgspec.json.Decoder(list[Run]).decode

# One row, in one step: between two steps a busy event loop would have the interpreter, and keep it.
_FIND: Final = f"""SELECT json_group_array(json_array(id, size, bundle)) FROM held
    WHERE queue = ? AND due = ? AND id > ? - {MOST_MESSAGES} AND id <= ? AND token = ?"""
_CUT: Final = """INSERT OR REPLACE INTO held (queue, due, id, size, bundle, token, lane, count, since, failed, key)
    SELECT h.queue, h.due, json_extract(p.value, '$[1]'), json_extract(p.value, '$[2]'), json_extract(p.value, '$[3]'),
        h.token, h.lane, h.count, h.since, h.failed, h.key
    FROM json_each(?) p CROSS JOIN held h ON h.queue = ? AND h.due = ? AND h.id = json_extract(p.value, '$[0]')"""


class Receipt(msgspec.Struct, eq=False, gc=False):
    """One leased message."""

    #: Another one when it has been extended.
    lease: Lease
    number: int
    key: str | None

    @property
    def leased_until(self) -> float:
        """By the clock of the file."""
        return self.lease.due


class Group:
    """Messages of one lease, each run of them a row of its own, for statements that do all of them at once."""

    def __init__(self, lease: Lease, receipts: Sequence[Receipt], runs: Sequence[Run]) -> None:
        self.lease = lease
        self.queue = lease.queue
        self.receipts = receipts
        self.runs = runs
        self.size = sum(run.size for run in runs)
        self.keyed = [(receipt.key, receipt.number) for receipt in receipts if receipt.key is not None]

    #: What `which` stands for in a statement on `held`.
    WHICH: Final = "queue = ? AND due = ? AND id IN (SELECT value FROM json_each(?))"

    @property
    def which(self) -> tuple[int, float, str]:
        return self.lease.queue, self.lease.due, json.dumps([run.first for run in self.runs])

    def open_up(self, transaction: Transaction) -> None:
        """Let those behind them through."""
        if self.keyed:
            keys.open_up(transaction, self.queue, [key for key, _ in self.keyed])

    def extract(self, transaction: Transaction) -> None:
        """Let them leave their bundles: each has its own row everywhere then."""
        members: dict[int, list[int]] = {}
        for run in self.runs:
            if run.bundle is not None:
                members.setdefault(run.bundle, []).extend(run.numbers)
        for bundle, numbers in members.items():
            payload.extract(transaction, bundle, frozenset(numbers))
        alone = [(run.first, Run(number, 1, None)) for run in self.runs for number in run.numbers]
        if members:
            _cut(transaction, self.lease, alone)
            self.runs = [one for _, one in alone]


def ours(transaction: Transaction, receipts: Sequence[Receipt]) -> tuple[list[Group], list[int]]:
    """Of `receipts`: those whose lease still runs, and the places of the others."""
    transaction.flush()
    groups: list[Group] = []
    lost: list[int] = []
    for lease, places in _by_lease(receipts).items():
        numbers = {receipts[place].number for place in places}
        runs = _single_out(transaction, lease, numbers)
        if sum(run.size for run in runs) < len(numbers):
            found = {number for run in runs for number in run.numbers}
            lost += [place for place in places if receipts[place].number not in found]
            places = [place for place in places if receipts[place].number in found]
        if runs:
            groups.append(Group(lease, [receipts[place] for place in places], runs))
    return groups, lost


def _by_lease(receipts: Sequence[Receipt]) -> dict[Lease, Sequence[int]]:
    """The places of the receipts of each lease: nearly always it is the same one."""
    leases = {receipt.lease for receipt in receipts}
    if len(leases) == 1:
        return {leases.pop(): range(len(receipts))}
    return {lease: [place for place, one in enumerate(receipts) if one.lease is lease] for lease in leases}


def _single_out(transaction: Transaction, lease: Lease, numbers: Collection[int]) -> list[Run]:
    """Those of `numbers` that the lease still holds, in rows of `held` in which there is nothing else."""
    if lease.due <= transaction.now:
        return []
    bounds = (min(numbers), max(numbers))
    [found] = transaction.sql(_FIND, (lease.queue, lease.due, *bounds, lease.token)).fetchone()
    kept: list[Run] = []
    pieces: list[tuple[int, Run]] = []
    for run in _to_runs(found):
        parts = list(run.parts(numbers))
        kept += [part for part, wanted in parts if wanted]
        if len(parts) > 1:
            pieces += [(run.first, part) for part, _ in parts]
    if pieces:
        _cut(transaction, lease, pieces)
    return kept


def _cut(transaction: Transaction, lease: Lease, pieces: Sequence[tuple[int, Run]]) -> None:
    """Put each piece in the place of the row that it was a part of, whose id stands before it."""
    transaction.sql(_CUT, (json.dumps([(row, *piece) for row, piece in pieces]), lease.queue, lease.due))
