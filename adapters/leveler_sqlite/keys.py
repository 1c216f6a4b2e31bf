"""Keys: the order of each key in an ordered queue.

The messages of a key stand in `line`, in the order in which they were sent. Only the first of them may stand in one of
the ten lanes of `ready`, and only while none of its key is leased; the others are parked behind all lanes. So a claim
need not know about keys: what it finds in a lane is free.

    waiting   in `ready`: in its lane if it is the first and none is leased, else parked
    leased    in `held`, with a token
    delayed   in `held`, without one: whatever comes after it has to wait
"""

from __future__ import annotations

from collections.abc import Iterable

from leveler_sqlite.schema import PARKED, WAITING
from leveler_sqlite.transaction import Transaction


def join(transaction: Transaction, queue: int, key: str, number: int, lane: int, state: int) -> bool:
    """A new message stands in line. Whether it is the first."""
    first = transaction.sql("SELECT 1 FROM line WHERE queue = ? AND key = ? LIMIT 1", (queue, key)).fetchone() is None
    transaction.sql(
        "INSERT INTO line (queue, key, id, lane, state) VALUES (?, ?, ?, ?, ?)", (queue, key, number, lane, state)
    )
    return first


def mark(transaction: Transaction, queue: int, messages: Iterable[tuple[str, int]], state: int) -> None:
    """These, by key and number, are in that state now."""
    for key, number in messages:
        transaction.sql("UPDATE line SET state = ? WHERE queue = ? AND key = ? AND id = ?", (state, queue, key, number))


def leave(transaction: Transaction, queue: int, messages: Iterable[tuple[str, int]]) -> None:
    """These, by key and number, are gone from the queue."""
    for key, number in messages:
        transaction.sql("DELETE FROM line WHERE queue = ? AND key = ? AND id = ?", (queue, key, number))


def open_up(transaction: Transaction, queue: int, keys: Iterable[str]) -> None:
    """Let the first of each key into its lane, if it waits and none of its key is leased."""
    for key in dict.fromkeys(keys):
        head = transaction.sql(
            """SELECT id, lane, state FROM line WHERE queue = ?1 AND key = ?2 AND NOT EXISTS
                (SELECT 1 FROM line INDEXED BY line_leased WHERE queue = ?1 AND key = ?2 AND state = 1)
            ORDER BY id LIMIT 1""",
            (queue, key),
        ).fetchone()
        if head is not None and head[2] == WAITING:
            transaction.sql(
                "UPDATE ready SET lane = ? WHERE queue = ? AND lane = ? AND id = ?",
                (head[1], queue, head[1] + PARKED, head[0]),
            )
            transaction.touched.add(queue)


def followers(transaction: Transaction, queue: int, key: str, number: int, most: int) -> list[tuple[int, int]]:
    """Lane in `ready` and number of those that stand right behind, up to the first that does not wait."""
    rows = transaction.sql(
        "SELECT id, lane, state FROM line WHERE queue = ? AND key = ? AND id > ? ORDER BY id LIMIT ?",
        (queue, key, number, most),
    ).fetchall()
    waiting: list[tuple[int, int]] = []
    for follower, lane, state in rows:
        if state != WAITING:
            break
        waiting.append((lane + PARKED, follower))
    return waiting
