"""Inspection: what a queue holds, without touching it."""

from __future__ import annotations

from collections.abc import Sequence

from leveler.adapter import Depth
from leveler_sqlite.transaction import Transaction

#: Of one waiting message: number, when it failed first, envelope, body.
Waiting = tuple[int, float | None, str, bytes]


def depth(transaction: Transaction, name: str, dead_name: str) -> Depth:
    """Exact, as of one moment."""
    transaction.flush()
    queue, now = transaction.queue(name), transaction.now
    leased, delayed, oldest_held = transaction.sql(
        """SELECT count(*) FILTER (WHERE token IS NOT NULL AND due > ?1),
            count(*) FILTER (WHERE token IS NULL AND due > ?1), min(since) FILTER (WHERE due <= ?1)
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
    """The next waiting messages: those that are ready in their order, then those that are not yet due in theirs."""
    transaction.flush()
    queue = transaction.queue(name)
    ready = transaction.sql(
        """SELECT r.id, r.failed, m.envelope, m.body FROM ready r CROSS JOIN message m ON m.id = r.id
        WHERE r.queue = ? ORDER BY r.lane, r.id LIMIT ?""",
        (queue.id, limit),
    ).fetchall()
    held = transaction.sql(
        """SELECT h.id, h.failed, m.envelope, m.body FROM held h CROSS JOIN message m ON m.id = h.id
        WHERE h.queue = ? AND (h.token IS NULL OR h.due <= ?) ORDER BY h.due, h.id LIMIT ?""",
        (queue.id, transaction.now, limit - len(ready)),
    ).fetchall()
    return [*ready, *held]
