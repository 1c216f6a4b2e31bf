"""Arrivals: how messages come into a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from leveler_sqlite import keys
from leveler_sqlite.schema import DELAYED, PARKED, WAITING
from leveler_sqlite.transaction import HELD, MESSAGE, READY, Queue, Transaction

#: Forgotten dedup keys that one send removes at most, so that it is not the one who pays for all.
_MOST_FORGOTTEN: Final = 1000


class Arrival(msgspec.Struct, frozen=True):
    """A message, as it is to be stored."""

    envelope: bytes
    body: bytes
    #: 0 to 9, the lowest first.
    lane: int
    key: str | None
    #: Empty where the queue does not drop duplicates.
    dedup_key: str
    delay_seconds: float


def arrive(
    transaction: Transaction, name: str, arrivals: Sequence[Arrival], *, dedup_seconds: float, max_depth: int | None
) -> list[int]:
    """Take `arrivals` in. The indexes of those that there is no room for."""
    queue = transaction.queue(name)
    fresh = list(range(len(arrivals)))
    if dedup_seconds > 0:
        fresh = _unseen(transaction, queue, arrivals)
    room = len(fresh) if max_depth is None else _room(transaction, queue, len(fresh), max_depth)
    taken, refused = fresh[:room], fresh[room:]
    if dedup_seconds > 0:
        _remember(transaction, queue, [arrivals[index].dedup_key for index in taken], dedup_seconds)
    for index in taken:
        _put(transaction, queue, arrivals[index])
    if taken:
        transaction.grow(queue.id, len(taken))
        transaction.touched.add(queue.id)
    return refused


def _put(transaction: Transaction, queue: Queue, arrival: Arrival) -> None:
    lane, delay = arrival.lane, arrival.delay_seconds
    key = arrival.key if queue.ordered else None
    if key is None and delay <= 0:
        transaction.add(queue.id, lane, arrival.envelope, arrival.body)
        return
    number = transaction.next_id()
    transaction.put(MESSAGE, number, arrival.envelope.decode(), arrival.body)
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
    for index, arrival in enumerate(arrivals):
        first.setdefault(arrival.dedup_key, index)
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
