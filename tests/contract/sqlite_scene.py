"""A file of queues: opened, filled, looked into and locked from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions

from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.errors import LevelerError
from leveler.message import Message

QUEUE = QueueSpec(name="orders")


def adapter(path: Path, *, deadline_seconds: float = 10.0, **options: Any) -> SQLiteAdapter:
    url = f"sqlite:///{path}"
    return SQLiteAdapter(url, SQLiteOptions(**options), clock=SystemClock(), deadline_seconds=deadline_seconds)


def messages(count: int, body: bytes = b"x" * 1000) -> list[Message]:
    return [Message(id=str(number), body=body, time=SystemClock().now()) for number in range(count)]


async def fill(path: Path, count: int) -> None:
    """One commit for each message."""
    async with adapter(path) as opened:
        await opened.declare(QUEUE)
        for message in messages(count):
            await opened.sender(QUEUE).send([message])


async def opening(path: Path, **options: Any) -> LevelerError:
    """The error with which the file is refused."""
    with pytest.raises(LevelerError) as refused:
        async with adapter(path, **options) as opened:
            await opened.declare(QUEUE)
    assert str(path) in str(refused.value)
    return refused.value


def execute(path: Path, statement: str) -> Any:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchone()
    finally:
        connection.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else in a transaction."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()
