"""Inspection: what a queue holds, without touching it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leveler.adapter import Depth
from leveler_sqlite.bundles import STORE, STORED, Payload
from leveler_sqlite.runs import Run
from leveler_sqlite.schema import PARKED
from leveler_sqlite.transaction import Transaction

#: Waiting messages: which, when they failed first, what they carry.
Waiting = tuple[Run, float | None, Payload]


def depth(transaction: Transaction, name: str, dead_name: str) -> Depth:
    """Exact, as of one moment."""
    transaction.flush()
    queue, now = transaction.queue(name), transaction.now
    leased, delayed, oldest_held = transaction.sql(
        """SELECT coalesce(sum(size) FILTER (WHERE token IS NOT NULL AND due > ?1), 0),
            coalesce(sum(size) FILTER (WHERE token IS NULL AND due > ?1), 0), min(since) FILTER (WHERE due <= ?1)
        FROM held WHERE queue = ?2""",
        (now, queue.id),
    ).fetchone()
    [oldest_ready] = transaction.sql("SELECT min(since) FROM ready WHERE queue = ?", (queue.id,)).fetchone()
    since = min((moment for moment in (oldest_held, oldest_ready) if moment is not None), default=now)
    dead = transaction.find(dead_name)
    return Depth(
        ready=transaction.live(queue) - leased - delayed,
        leased=leased,
        delayed=delayed,
        dead=transaction.live(dead) if dead is not None else 0,
        oldest_age_seconds=max(0.0, now - since),
    )


def peek(transaction: Transaction, name: str, limit: int) -> Sequence[Waiting]:
    """The next waiting messages: those that are ready in their order, then those that have to wait for something. A
    bundle may bring some more than `limit`.

    In an ordered queue these stand as they were sent, so that no key is shown out of order; else as they fall due.
    """
    transaction.flush()
    queue = transaction.queue(name)
    free = _load(transaction, _FREE, (queue.id, limit))
    bound = _BOUND_IN_ORDER if queue.ordered else _BOUND
    left = limit - sum(run.size for run, _, _ in free)
    return [*free, *_load(transaction, bound, (queue.id, transaction.now, left))] if left > 0 else free


def _load(transaction: Transaction, which: str, values: tuple[float, ...]) -> list[Waiting]:
    # Numbers first, so that whatever has to be sorted is small.
    statement = f"SELECT w.id, w.size, w.bundle, w.failed, {STORED} FROM ({which}) w {STORE.format('w')}"
    found: list[Waiting] = []
    left = values[-1]
    cursor = transaction.sql(statement, values)
    for first, size, bundle, failed, *stored in cursor:
        found.append((Run(first, size, bundle), failed, Payload(*stored)))
        left -= size
        if left <= 0:
            break
    cursor.close()
    return found


_COLUMNS: Final = "id, size, bundle, failed"
_FREE: Final = f"SELECT {_COLUMNS} FROM ready WHERE queue = ? AND lane < {PARKED} ORDER BY lane, id LIMIT ?"
_HELD: Final = f"SELECT {_COLUMNS} FROM held WHERE queue = ?1 AND (token IS NULL OR due <= ?2)"
_BOUND: Final = f"{_HELD} ORDER BY due, id LIMIT ?3"
_BOUND_IN_ORDER: Final = f"""SELECT * FROM (
    SELECT {_COLUMNS} FROM ready WHERE queue = ?1 AND lane >= {PARKED} UNION ALL {_HELD}) ORDER BY id LIMIT ?3"""
