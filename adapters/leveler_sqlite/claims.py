"""Claims: how messages are leased."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from leveler.adapter import INFINITE
from leveler_sqlite import keys
from leveler_sqlite.schema import LEASED, PARKED, WAITING
from leveler_sqlite.timeline import TOLERANCE_SECONDS
from leveler_sqlite.transaction import Queue, Transaction

#: Held messages that one claim makes ready at most: a million of them may fall due at once.
_MOST_DUE: Final = 2000

#: Of one claimed message: number, count, when it failed first, key, envelope, body.
Row = tuple[int, int, float | None, str | None, str, bytes]

_CLAIMED: Final = (
    "r.lane, r.id, r.count + ?, r.failed, r.key, m.envelope, m.body FROM ready r CROSS JOIN message m ON m.id = r.id"
)
_FIRST: Final = f"SELECT {_CLAIMED} WHERE r.queue = ? AND r.lane < {PARKED} ORDER BY r.lane, r.id LIMIT ?"
_ONE: Final = f"SELECT {_CLAIMED} WHERE r.queue = ? AND r.lane = ? AND r.id = ?"
_HOLD: Final = """INSERT INTO held (queue, due, id, token, lane, count, since, failed, key)
    SELECT queue, ?, id, ?, lane % 10, count + ?, since, failed, key FROM ready WHERE queue = ?"""


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """What the messages of one claim have in common. Nobody else can have the token, so nobody else can settle them."""

    queue: int
    due: float
    token: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim found."""

    queue: int
    #: When it looked, on the monotonic clock.
    at: float
    lease: Lease | None
    rows: list[Row]
    #: When it makes sense to look again if nothing comes before, on the timeline.
    next_due: float


def look(transaction: Transaction, name: str) -> Claim | None:
    """The answer to a claim that would find nothing."""
    queue = transaction.queue(name)
    due = _next_due(transaction, queue)
    if due <= transaction.now + TOLERANCE_SECONDS:
        return None
    ready = "SELECT 1 FROM ready WHERE queue = ? AND lane < ? LIMIT 1"
    if transaction.sql(ready, (queue.id, PARKED)).fetchone() is not None:
        return None
    return Claim(queue.id, transaction.at, None, [], due)


def claim(transaction: Transaction, name: str, count: int, *, lease_seconds: float, counted: bool) -> Claim:
    """Lease the next `count` messages, or as many as there are."""
    transaction.flush()
    queue = transaction.queue(name)
    _ripen(transaction, queue)
    by = int(counted)
    found = transaction.sql(_FIRST, (by, queue.id, count)).fetchall()
    if not found:
        return Claim(queue.id, transaction.at, None, [], _next_due(transaction, queue))
    lease = Lease(queue.id, transaction.now + lease_seconds, secrets.randbits(62))
    _hold(transaction, lease, by, "(lane, id) <= (?, ?)", found[-1])
    if queue.ordered:
        found = _with_followers(transaction, lease, by, found, count)
    return Claim(queue.id, transaction.at, lease, [row[1:] for row in found], INFINITE)


def _hold(transaction: Transaction, lease: Lease, by: int, which: str, row: Any) -> None:
    transaction.sql(f"{_HOLD} AND {which}", (lease.due, lease.token, by, lease.queue, row[0], row[1]))
    transaction.sql(f"DELETE FROM ready WHERE queue = ? AND {which}", (lease.queue, row[0], row[1]))


def _with_followers(transaction: Transaction, lease: Lease, by: int, heads: list[Any], count: int) -> list[Any]:
    """The claimed heads, and behind each what there is credit for of its key: in order, in one pair of hands."""
    keyed = sum(1 for head in heads if head[4] is not None)
    share = (count - len(heads)) // keyed if keyed else 0
    found: list[Any] = []
    for head in heads:
        found.append(head)
        if head[4] is None:
            continue
        for place in keys.followers(transaction, lease.queue, head[4], head[1], share) if share else []:
            found.append(transaction.sql(_ONE, (by, lease.queue, *place)).fetchone())
            _hold(transaction, lease, by, "lane = ? AND id = ?", place)
    keys.mark(transaction, lease.queue, [(row[4], row[1]) for row in found if row[4] is not None], LEASED)
    return found


def _ripen(transaction: Transaction, queue: Queue) -> None:
    """What is due is ready: its delay is over, or its lease, which counts as a failure."""
    until = transaction.now + TOLERANCE_SECONDS
    if _next_due(transaction, queue) > until:
        return
    last = transaction.sql(
        "SELECT due, id FROM held WHERE queue = ? AND due <= ? ORDER BY due, id LIMIT 1 OFFSET ?",
        (queue.id, until, _MOST_DUE - 1),
    ).fetchone() or (until, 1 << 62)
    which = (queue.id, *last)
    transaction.sql(
        f"""INSERT INTO ready (queue, lane, id, count, since, failed, key)
        SELECT queue, lane + CASE WHEN key IS NULL THEN 0 ELSE {PARKED} END, id, count, since,
            coalesce(failed, CASE WHEN token IS NOT NULL AND count > 0 THEN ? + due END), key
        FROM held WHERE queue = ? AND (due, id) <= (?, ?)""",
        (transaction.timeline.wall() - transaction.now, *which),
    )
    keyed: list[tuple[str, int]] = []
    if queue.ordered:
        keyed = transaction.sql(
            "SELECT key, id FROM held WHERE queue = ? AND (due, id) <= (?, ?) AND key IS NOT NULL", which
        ).fetchall()
    transaction.sql("DELETE FROM held WHERE queue = ? AND (due, id) <= (?, ?)", which)
    keys.mark(transaction, queue.id, keyed, WAITING)
    keys.open_up(transaction, queue.id, [key for key, _ in keyed])


def _next_due(transaction: Transaction, queue: Queue) -> float:
    [due] = transaction.sql("SELECT min(due) FROM held WHERE queue = ?", (queue.id,)).fetchone()
    return INFINITE if due is None else due
