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

#: Payload that one claim takes at most, but for a single message that is larger.
_MOST_BYTES: Final = 64 * 1024 * 1024

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
    heads, has_room = _first(transaction, queue, by, count)
    if not heads:
        return Claim(queue.id, transaction.at, None, [], _next_due(transaction, queue))
    lease = Lease(queue.id, transaction.now + lease_seconds, secrets.randbits(62))
    lane, number, *_ = heads[-1]
    _hold(transaction, lease, by, "(lane, id) <= (?, ?)", (lane, number))
    rows = [head[1:] for head in heads]
    if queue.ordered:
        rows = _with_followers(transaction, lease, by, rows, count - len(rows) if has_room else 0)
    return Claim(queue.id, transaction.at, lease, rows, INFINITE)


def _first(transaction: Transaction, queue: Queue, by: int, count: int) -> tuple[list[tuple[Any, ...]], bool]:
    """The next messages, each with its lane before it, and whether there is room for more payload."""
    heads: list[tuple[Any, ...]] = []
    total = 0
    cursor = transaction.sql(_FIRST, (by, queue.id, count))
    for head in cursor:
        heads.append(head)
        total += len(head[-1])
        if total >= _MOST_BYTES:
            break
    cursor.close()
    return heads, total < _MOST_BYTES


def _hold(transaction: Transaction, lease: Lease, by: int, which: str, place: tuple[int, int]) -> None:
    transaction.sql(f"{_HOLD} AND {which}", (lease.due, lease.token, by, lease.queue, *place))
    transaction.sql(f"DELETE FROM ready WHERE queue = ? AND {which}", (lease.queue, *place))


def _with_followers(transaction: Transaction, lease: Lease, by: int, heads: list[Row], credit: int) -> list[Row]:
    """The claimed heads, and behind each what there is credit for of its key: in order, in one pair of hands."""
    keyed = sum(1 for _, _, _, key, *_ in heads if key is not None)
    share = credit // keyed if keyed else 0
    rows: list[Row] = []
    for head in heads:
        rows.append(head)
        number, _, _, key, *_ = head
        if key is None or not share:
            continue
        for place in keys.followers(transaction, lease.queue, key, number, share):
            rows.append(transaction.sql(_ONE, (by, lease.queue, *place)).fetchone()[1:])
            _hold(transaction, lease, by, "lane = ? AND id = ?", place)
    keys.mark(transaction, lease.queue, [(key, number) for number, _, _, key, *_ in rows if key is not None], LEASED)
    return rows


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
