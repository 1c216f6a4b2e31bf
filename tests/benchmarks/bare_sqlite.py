"""The raw limit on SQLite: one table, one connection, one thread; as few statements as at-least-once allows.

A claim leases 100 messages, in the transaction that removes the 100 before them. The same pragmas as the adapter, pages
and log of the same size, the same look for other processes' messages, and as often.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from leveler_sqlite import SQLiteOptions

from tests.benchmarks.orders import Order
from tests.benchmarks.row import Handle

_PRAGMAS: Final = (
    "PRAGMA page_size = 8192",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = FAST",
    "PRAGMA journal_size_limit = 16777216",
    "PRAGMA wal_autocheckpoint = 512",
)
_TABLE: Final = """CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY,
    leased_until REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL
)"""
_INSERT: Final = "INSERT INTO message (body) VALUES (?)"
_CLAIM: Final = """UPDATE message SET leased_until = ?, attempts = attempts + 1
    WHERE id IN (SELECT id FROM message WHERE leased_until <= ? ORDER BY id LIMIT 100) RETURNING id, body"""
_REMOVE: Final = "DELETE FROM message WHERE id = ?"

_LEASE_SECONDS: Final = 30.0
#: The adapter's default for both.
_POLL_SECONDS: Final = SQLiteOptions().poll_seconds
_LOCK_SECONDS: Final = 10.0


class BareSQLite:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "orders.db"
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Order).decode

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[BareSQLite]:
        self._connection = sqlite3.connect(self._path, timeout=_LOCK_SECONDS, isolation_level=None)
        for statement in (*_PRAGMAS, _TABLE):
            self._connection.execute(statement)
        self._group: list[tuple[bytes]] = []
        self._arrived = asyncio.Event()
        self._stopping = False
        consumer = None if handle is None else asyncio.create_task(self._consume(handle))
        try:
            yield self
        finally:
            self._stopping = True
            self._arrived.set()
            if consumer is not None:
                await consumer
            self._connection.close()

    async def send(self, order: Order) -> None:
        """One commit for all that are sent in one turn of the loop."""
        if not self._group:
            self._committed = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(self._commit_group)
        self._group.append((self._encode(order),))
        await self._committed

    async def send_many(self, orders: Sequence[Order]) -> None:
        encode = self._encode
        self._insert([(encode(order),) for order in orders])

    def _commit_group(self) -> None:
        group, self._group = self._group, []
        self._insert(group)
        self._committed.set_result(None)

    def _insert(self, rows: Sequence[tuple[bytes]]) -> None:
        with self._transaction() as connection:
            connection.executemany(_INSERT, rows)
        self._arrived.set()

    async def _consume(self, handle: Handle) -> None:
        done: list[tuple[int]] = []
        decode = self._decode
        while True:
            self._arrived.clear()
            version = self._version()
            claimed = self._claim(done)
            done = []
            for number, body in claimed:
                await handle(decode(body))
                done.append((number,))
            if done:
                await asyncio.sleep(0)  # whoever sends in this process has a turn
            elif self._stopping:
                return
            else:
                await self._wait(version)

    def _claim(self, done: Sequence[tuple[int]]) -> list[tuple[int, bytes]]:
        now = time.monotonic()
        with self._transaction() as connection:
            if done:
                connection.executemany(_REMOVE, done)
            if self._stopping:
                return []
            return connection.execute(_CLAIM, (now + _LEASE_SECONDS, now)).fetchall()

    async def _wait(self, version: int) -> None:
        """Until somebody has sent since `version`: here, or in another process."""
        while not self._arrived.is_set() and version == self._version():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), _POLL_SECONDS)

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        yield self._connection
        self._connection.execute("COMMIT")
