"""Claims: how messages are leased."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, NamedTuple

from leveler.adapter import INFINITE
from leveler_sqlite import keys
from leveler_sqlite.bundles import STORE, STORED, Payload, lengths_of
from leveler_sqlite.runs import Run
from leveler_sqlite.schema import LEASED, PARKED, WAITING
from leveler_sqlite.timeline import TOLERANCE_SECONDS
from leveler_sqlite.transaction import Queue, Transaction

#: Held messages that one claim makes ready at most: a million of them may fall due at once.
_MOST_DUE: Final = 2000

#: Payload that one claim takes at most, but for a single message that is larger.
_MOST_BYTES: Final = 64 * 1024 * 1024


class Claimed(NamedTuple):
    """A run of claimed messages."""

    run: Run
    #: Deliveries, this one included.
    attempts: int
    #: When it failed first.
    failed: float | None
    #: Of a run of one message.
    key: str | None
    payload: Payload


_CLAIMED: Final = f"""r.lane, r.id, r.size, r.bundle, r.count + ?, r.failed, r.key, {STORED}
    FROM ready r {STORE.format("r")}"""
_FIRST: Final = f"SELECT {_CLAIMED} WHERE r.queue = ? AND r.lane < {PARKED} ORDER BY r.lane, r.id LIMIT ?"
_ONE: Final = f"SELECT {_CLAIMED} WHERE r.queue = ? AND r.lane = ? AND r.id = ?"
_HOLD: Final = """INSERT INTO held (queue, due, id, size, bundle, token, lane, count, since, failed, key)
    SELECT queue, ?, id, size, bundle, ?, lane % 10, count + ?, since, failed, key FROM ready WHERE queue = ?"""
_PART: Final = """INSERT INTO ready (queue, lane, id, size, bundle, count, since, failed)
    SELECT queue, lane, id + ?1, size - ?1, bundle, count, since, failed
    FROM ready WHERE queue = ?2 AND lane = ?3 AND id = ?4"""


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
    found: list[Claimed]
    #: When it makes sense to look again if nothing comes before, on the timeline.
    next_due: float


@dataclass(frozen=True, slots=True)
class Room:
    """What whoever claims can take."""

    #: Messages.
    count: int
    #: Bytes of their bodies.
    most_bytes: float = INFINITE
    #: A first one may be larger: nothing else is held.
    alone: bool = True


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


def claim(transaction: Transaction, name: str, room: Room, *, lease_seconds: float, counted: bool) -> Claim:
    """Lease the next messages, as many as there is room for, or as there are."""
    transaction.flush()
    queue = transaction.queue(name)
    _ripen(transaction, queue)
    by = int(counted)
    lane, heads, credit = _first(transaction, queue, by, room)
    if not heads:
        return Claim(queue.id, transaction.at, None, [], _next_due(transaction, queue))
    lease = Lease(queue.id, transaction.now + lease_seconds, secrets.randbits(62))
    _hold(transaction, lease, by, "(lane, id) <= (?, ?)", (lane, heads[-1].run.first))
    if queue.ordered:
        heads = _with_followers(transaction, lease, by, heads, credit)
    return Claim(queue.id, transaction.at, lease, heads, INFINITE)


def _first(transaction: Transaction, queue: Queue, by: int, room: Room) -> tuple[int, list[Claimed], int]:
    """The lane of the last of the next messages, all of them, and how many more there is credit and room for."""
    heads: list[Claimed] = []
    lane = total = 0
    count = room.count
    cursor = transaction.sql(_FIRST, (by, queue.id, count))
    for place, *columns in cursor:
        head = _claimed(*columns)
        if room.most_bytes < INFINITE:
            fitting = _fitting(head, room.most_bytes - total) or int(room.alone and not heads)
            if not fitting:
                break
            count = min(count, fitting) if fitting < head.run.size else count
        lane = place
        heads.append(head)
        count -= head.run.size
        total += len(head.payload.body)
        if count <= 0 or total >= _MOST_BYTES:
            break
    cursor.close()
    if count < 0:
        heads[-1] = _part(transaction, queue, lane, heads[-1], heads[-1].run.size + count)
    return lane, heads, count if total < _MOST_BYTES and room.most_bytes == INFINITE else 0


def _fitting(claimed: Claimed, most_bytes: float) -> int:
    """How many of the first messages of a run are no larger together."""
    run = claimed.run
    place = 0 if run.bundle is None else run.first - run.bundle
    lengths = [len(claimed.payload.body)] if run.bundle is None else lengths_of(claimed.payload)
    return sum(1 for total in accumulate(lengths[place : place + run.size]) if total <= most_bytes)


def _claimed(
    first: int, size: int, bundle: int | None, attempts: int, failed: float | None, key: str | None, *stored: Any
) -> Claimed:
    return Claimed(Run(first, size, bundle), attempts, failed, key, Payload(*stored))


def _part(transaction: Transaction, queue: Queue, lane: int, head: Claimed, size: int) -> Claimed:
    """So many of the run; what is behind them stays."""
    place = (queue.id, lane, head.run.first)
    transaction.sql(_PART, (size, *place))
    transaction.sql("UPDATE ready SET size = ? WHERE queue = ? AND lane = ? AND id = ?", (size, *place))
    return head._replace(run=head.run._replace(size=size))


def _hold(transaction: Transaction, lease: Lease, by: int, which: str, place: tuple[int, int]) -> None:
    transaction.sql(f"{_HOLD} AND {which}", (lease.due, lease.token, by, lease.queue, *place))
    transaction.sql(f"DELETE FROM ready WHERE queue = ? AND {which}", (lease.queue, *place))


def _with_followers(
    transaction: Transaction, lease: Lease, by: int, heads: Sequence[Claimed], credit: int
) -> list[Claimed]:
    """The claimed heads, and behind each what there is credit for of its key: in order, in one pair of hands."""
    keyed = sum(1 for head in heads if head.key is not None)
    share = credit // keyed if keyed else 0
    found: list[Claimed] = []
    for head in heads:
        found.append(head)
        if head.key is None or not share:
            continue
        for place in keys.followers(transaction, lease.queue, head.key, head.run.first, share):
            found.append(_claimed(*transaction.sql(_ONE, (by, lease.queue, *place)).fetchone()[1:]))
            _hold(transaction, lease, by, "lane = ? AND id = ?", place)
    claimed = [(one.key, one.run.first) for one in found if one.key is not None]
    keys.mark(transaction, lease.queue, claimed, LEASED)
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
        f"""INSERT INTO ready (queue, lane, id, size, bundle, count, since, failed, key)
        SELECT queue, lane + CASE WHEN key IS NULL THEN 0 ELSE {PARKED} END, id, size, bundle, count, since,
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
