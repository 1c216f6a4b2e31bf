"""Arrivals: how messages come into a queue."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

from leveler.message import MAX_PRIORITY, Message
from leveler_sqlite import keys
from leveler_sqlite.bundles import Stretch
from leveler_sqlite.schema import DELAYED, PARKED, WAITING
from leveler_sqlite.transaction import HELD, MESSAGE, READY, Queue, Transaction

#: Forgotten dedup keys that one send removes at most, so that it is not the one who pays for all.
_MOST_FORGOTTEN: Final = 1000


def arrive(
    transaction: Transaction,
    name: str,
    stretches: Sequence[Stretch],
    *,
    sent_at: datetime,
    dedup_seconds: float,
    max_depth: int | None,
) -> Sequence[int]:
    """Take messages in. The indexes of those that there is no room for."""
    queue = transaction.queue(name)
    count = sum(len(stretch.messages) for stretch in stretches)
    fresh: Sequence[int] = range(count)
    messages: list[Message] = []
    if dedup_seconds > 0:
        messages = [message for stretch in stretches for message in stretch.messages]
        fresh = _unseen(transaction, queue, messages)
    room = len(fresh) if max_depth is None else _room(transaction, queue, len(fresh), max_depth)
    taken, refused = fresh[:room], fresh[room:]
    if dedup_seconds > 0:
        _remember(transaction, queue, [messages[index].dedup_key for index in taken], dedup_seconds)
    for stretch in stretches if len(taken) == count else _only(stretches, frozenset(taken)):
        _put(transaction, queue, stretch, sent_at)
    if taken:
        transaction.grow(queue.id, len(taken))
        transaction.touched.add(queue.id)
    return refused


def _only(stretches: Sequence[Stretch], taken: Collection[int]) -> Iterator[Stretch]:
    """What is left of them: the messages with these indexes."""
    begin = 0
    for stretch in stretches:
        kept = [message for index, message in enumerate(stretch.messages, begin) if index in taken]
        begin += len(stretch.messages)
        if kept:
            yield stretch._replace(messages=kept)


def _put(transaction: Transaction, queue: Queue, stretch: Stretch, sent_at: datetime) -> None:
    """Those that may be delivered at once go in together."""
    sample = stretch.sample
    lane = MAX_PRIORITY - min(max(sample.priority, 0), MAX_PRIORITY)
    key = sample.key if queue.ordered else None
    delay = sample.delay_seconds(sent_at)
    if key is None and delay <= 0:
        transaction.add(queue.id, lane, stretch)
        return
    for message, envelope in zip(stretch.messages, stretch.envelopes(), strict=True):
        _put_alone(transaction, queue, message, envelope, lane, key, delay)


def _put_alone(
    transaction: Transaction, queue: Queue, message: Message, envelope: bytes, lane: int, key: str | None, delay: float
) -> None:
    """One that may have to wait: for its time, or for others of its key."""
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


def _unseen(transaction: Transaction, queue: Queue, messages: Sequence[Message]) -> list[int]:
    """The indexes of those that the queue does not remember; of equal ones the first."""
    first: dict[str, int] = {}
    for index, message in enumerate(messages):
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
