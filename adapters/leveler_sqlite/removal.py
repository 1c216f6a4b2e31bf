"""Removal: purging and dropping, a portion at a time, so that nobody else has to wait for a million rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from leveler_sqlite import keys, payload
from leveler_sqlite.runs import Run
from leveler_sqlite.transaction import Queue, Transaction

#: Messages that are removed in one transaction, as far as bundles allow.
_PORTION: Final = 2000

#: Of `ready` or `held`: what its place is told by besides the number, number, size, bundle, key.
Row = tuple[float, int, int, int | None, str | None]


def purge(transaction: Transaction, name: str) -> int:
    """Remove up to a portion of what waits; how many that were. 0 = nothing waits any more."""
    transaction.flush()
    queue = transaction.queue(name)
    return _remove_ready(transaction, queue) or _remove_held(transaction, queue, transaction.now)


def empty(transaction: Transaction, name: str) -> int:
    """Remove up to a portion of whatever there is, leased or not. 0 = it is empty, or not there."""
    transaction.flush()
    queue = transaction.find(name)
    if queue is None:
        return 0
    return _remove_ready(transaction, queue) or _remove_held(transaction, queue, None)


def drop(transaction: Transaction, name: str) -> None:
    """Remove the queue and whatever has come into it since it was emptied."""
    while empty(transaction, name):
        pass
    if (queue := transaction.find(name)) is not None:
        transaction.sql("DELETE FROM seen WHERE queue = ?", (queue.id,))
        transaction.sql("DELETE FROM queue WHERE id = ?", (queue.id,))
        transaction.forget(name)
        transaction.touched.add(queue.id)


def _remove_ready(transaction: Transaction, queue: Queue) -> int:
    found = "SELECT lane, id, size, bundle, key FROM ready WHERE queue = ? ORDER BY lane, id LIMIT ?"
    rows = _portion(transaction.sql(found, (queue.id, _PORTION)).fetchall())
    if rows:
        transaction.sql("DELETE FROM ready WHERE queue = ? AND (lane, id) <= (?, ?)", (queue.id, *rows[-1][:2]))
    return _remove(transaction, queue, rows)


def _remove_held(transaction: Transaction, queue: Queue, now: float | None) -> int:
    """Delayed messages, and those whose lease is over; without `now` all of them."""
    found = """SELECT due, id, size, bundle, key FROM held
        WHERE queue = ?1 AND (?2 IS NULL OR token IS NULL OR due <= ?2) LIMIT ?3"""
    rows = _portion(transaction.sql(found, (queue.id, now, _PORTION)).fetchall())
    for due, number, *_ in rows:
        transaction.sql("DELETE FROM held WHERE queue = ? AND due = ? AND id = ?", (queue.id, due, number))
    return _remove(transaction, queue, rows)


def _portion(rows: Sequence[Row]) -> Sequence[Row]:
    """As many of them as stand for a portion of messages."""
    before = accumulate((row[2] for row in rows), initial=0)
    return [row for row, total in zip(rows, before, strict=False) if total < _PORTION]


def _remove(transaction: Transaction, queue: Queue, rows: Sequence[Row]) -> int:
    """What the rows stood for; how many messages that were."""
    runs = [Run(*row[1:4]) for row in rows]
    total = sum(run.size for run in runs)
    payload.discard(transaction, runs)
    transaction.grow(queue.id, -total)
    keys.leave(transaction, queue.id, [(key, number) for _, number, _, _, key in rows if key is not None])
    return total
