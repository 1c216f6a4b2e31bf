"""Queues: declaring and dropping them."""

from __future__ import annotations

from leveler.adapter import QueueSpec
from leveler.errors import ConfigError
from leveler_sqlite import removal
from leveler_sqlite.transaction import Queue, Transaction


def declare(transaction: Transaction, spec: QueueSpec) -> bool:
    """Make or check the queue and its dead letters, as `spec` says. Whether it keeps the order of each key."""
    queue = transaction.find(spec.name)
    if spec.declare == "skip":
        return spec.ordered if queue is None else queue.ordered
    if queue is None and spec.declare == "verify":
        raise transaction.missing(spec.name)
    if queue is not None and queue.ordered != spec.ordered:
        _reorder(transaction, queue, spec)
    if spec.declare == "create":
        _create(transaction, spec)
    return spec.ordered


def drop(transaction: Transaction, spec: QueueSpec) -> None:
    """Remove the queue and its dead letters, if they are there."""
    for name in (spec.name, spec.dead_name):
        removal.drop(transaction, name)


def _create(transaction: Transaction, spec: QueueSpec) -> None:
    for name, ordered in ((spec.name, spec.ordered), (spec.dead_name, False)):
        transaction.sql("INSERT OR IGNORE INTO queue (name, ordered) VALUES (?, ?)", (name, ordered))
        transaction.forget(name)


def _reorder(transaction: Transaction, queue: Queue, spec: QueueSpec) -> None:
    """What waits was not kept in order, or is: only an empty queue can change."""
    if transaction.live(queue) or spec.declare == "verify":
        raise ConfigError(
            f"queue {spec.name!r}: ordered is {spec.ordered}, but the queue in the file was made with "
            f"{queue.ordered} and has {transaction.live(queue)} messages: let it run empty first, or say ordered: "
            f"{str(queue.ordered).lower()}"
        )
    transaction.sql("UPDATE queue SET ordered = ? WHERE id = ?", (spec.ordered, queue.id))
    transaction.forget(spec.name)
