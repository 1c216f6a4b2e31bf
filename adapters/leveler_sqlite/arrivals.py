"""Arrivals: how messages come into a queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from leveler.message import MAX_PRIORITY, Message
from leveler_sqlite import keys
from leveler_sqlite.bundles import Arrival
from leveler_sqlite.schema import DELAYED, PARKED, WAITING
from leveler_sqlite.transaction import HELD, MESSAGE, READY, Queue, Transaction

#: Forgotten dedup keys that one send removes at most, so that it is not the one who pays for all.
_MOST_FORGOTTEN: Final = 1000

#: Where a message of each priority goes.
_LANES: Final = {priority: MAX_PRIORITY - priority for priority in range(MAX_PRIORITY + 1)}


def arrive(
    transaction: Transaction,
    name: str,
    arrivals: Sequence[Arrival],
    *,
    sent_at: datetime,
    dedup_seconds: float,
    max_depth: int | None,
) -> Sequence[int]:
    """Take `arrivals` in. The indexes of those that there is no room for."""
    queue = transaction.queue(name)
    fresh: Sequence[int] = range(len(arrivals))
    if dedup_seconds > 0:
        fresh = _unseen(transaction, queue, arrivals)
    room = len(fresh) if max_depth is None else _room(transaction, queue, len(fresh), max_depth)
    taken, refused = fresh[:room], fresh[room:]
    if dedup_seconds > 0:
        _remember(transaction, queue, [arrivals[index][0].dedup_key for index in taken], dedup_seconds)
    _put(transaction, queue, arrivals if len(taken) == len(arrivals) else [arrivals[index] for index in taken], sent_at)
    if taken:
        transaction.grow(queue.id, len(taken))
        transaction.touched.add(queue.id)
    return refused


def _put(transaction: Transaction, queue: Queue, arrivals: Sequence[Arrival], sent_at: datetime) -> None:
    """Those that may be delivered at once go in together, as long as they go into the same lane."""
    ordered = queue.ordered

    def lane(arrival: Arrival) -> int | None:
        message = arrival[0]
        if message.not_before is not None or (ordered and message.key is not None):
            return None
        return _LANES.get(message.priority)

    for place, stretch in groupby(arrivals, lane):
        if place is not None:
            transaction.add(queue.id, place, list(stretch))
        else:
            for message, envelope in stretch:
                _put_alone(transaction, queue, message, envelope, message.delay_seconds(sent_at))


def _put_alone(transaction: Transaction, queue: Queue, message: Message, envelope: bytes, delay: float) -> None:
    """One that may have to wait: for its time, or for others of its key."""
    lane = MAX_PRIORITY - min(max(message.priority, 0), MAX_PRIORITY)
    key = message.key if queue.ordered else None
    number = transaction.next_id()
    transaction.put(MESSAGE, number, envelope.decode(), message.body)
    due = transaction.now + delay
    if delay > 0:
        transaction.put(HELD, queue.id, due, number, lane, 0, due, key)
    if key is not None:
        free = keys.join(transaction, queue.id, key, number, lane, DELAYED if delay > 0 else WAITING)
        lane += 0 if free else PARKED
    if delay <= 0:
        transaction.put(READY, queue.id, lane, number, 1, None, 0, transaction.now, key)


def _unseen(transaction: Transaction, queue: Queue, arrivals: Sequence[Arrival]) -> list[int]:
    """The indexes of those that the queue does not remember; of equal ones the first."""
    first: dict[str, int] = {}
    for index, (message, _) in enumerate(arrivals):
        first.setdefault(message.dedup_key, index)
    look = "SELECT 1 FROM seen WHERE queue = ? AND key = ? AND until > ?"
    return [
        index
        for key, index in first.items()
        if transaction.sql(look, (queue.id, key, transaction.now)).fetchone() is None
    ]


def _remember(transaction: Transaction, queue: Queue, keys: Sequence[str], seconds: float) -> None:
    transaction.sql(
        """DELETE FROM seen WHERE queue = ?1 AND until <= ?2 AND until <= coalesce(
            (SELECT until FROM seen WHERE queue = ?1 AND until <= ?2 ORDER BY until LIMIT 1 OFFSET ?3), ?2)""",
        (queue.id, transaction.now, _MOST_FORGOTTEN),
    )
    for key in keys:
        transaction.sql(
            "INSERT OR REPLACE INTO seen (queue, key, until) VALUES (?, ?, ?)",
            (queue.id, key, transaction.now + seconds),
        )


def _room(transaction: Transaction, queue: Queue, wanted: int, max_depth: int) -> int:
    live = transaction.live(queue)
    if live + wanted <= max_depth:
        return wanted
    transaction.flush()
    [leased] = transaction.sql(
        "SELECT total(size) FROM held WHERE queue = ? AND token IS NOT NULL AND due > ?", (queue.id, transaction.now)
    ).fetchone()
    return max(0, max_depth - live + int(leased))
