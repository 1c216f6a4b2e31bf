"""The emulator's state, in a file or nowhere. Written before an RPC is answered, so that a crash of the emulator takes
nothing with it; a crash of the machine may.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from leveler.errors import ConfigError
from leveler_cloudtasks.emulator.entry import Entry, Facts
from leveler_cloudtasks.emulator.protos import Queue, Task

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS anchor (moment TEXT);
CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY, proto BLOB);
CREATE TABLE IF NOT EXISTS tasks (name TEXT PRIMARY KEY, queue TEXT, proto BLOB, facts BLOB);
CREATE TABLE IF NOT EXISTS gone (name TEXT PRIMARY KEY, queue TEXT, until REAL);
CREATE INDEX IF NOT EXISTS tasks_of ON tasks (queue);
"""


class Store:
    """One file, by one emulator.

    Args:
        path: of the file; ``:memory:`` keeps nothing.

    Raises:
        ConfigError: it cannot be used, or another emulator has it.
    """

    def __init__(self, path: str) -> None:
        #: Without a file there is nobody to write for.
        self._silent = path == ":memory:"
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=0.5)
            if not self._silent:
                os.chmod(path, 0o600)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.executescript(_TABLES)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"the state file {path!r} cannot be used ({error}): choose another") from error

    def close(self) -> None:
        self._db.close()

    def anchor(self, now: datetime) -> datetime:
        """When this state began: `now` for a new one."""
        row = self._db.execute("SELECT moment FROM anchor").fetchone()
        if row is None:
            self._db.execute("INSERT INTO anchor VALUES (?)", [now.isoformat()])
            return now
        return datetime.fromisoformat(row[0])

    # -- read, at the start

    def queues(self) -> Iterator[object]:
        for (proto,) in self._db.execute("SELECT proto FROM queues"):
            yield Queue.FromString(proto)

    def tasks(self) -> Iterator[tuple[str, Entry]]:
        """Each with its queue's name."""
        for queue, proto, facts in self._db.execute("SELECT queue, proto, facts FROM tasks"):
            yield queue, Entry(Task.FromString(proto), msgspec.json.decode(facts, type=Facts))

    def gone(self) -> Iterator[tuple[str, str, float]]:
        """Names that are remembered, of tasks and of queues (then the second is empty), and until when."""
        yield from self._db.execute("SELECT name, queue, until FROM gone ORDER BY until")

    # -- written, as things happen

    def put_queue(self, proto: object) -> None:
        if not self._silent:
            data = proto.SerializeToString()  # type: ignore[attr-defined]
            self._db.execute("REPLACE INTO queues VALUES (?, ?)", [proto.name, data])  # type: ignore[attr-defined]

    def drop_queue(self, name: str, until: float) -> None:
        if self._silent:
            return
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM queues WHERE name = ?", [name])
            self._db.execute("DELETE FROM tasks WHERE queue = ?", [name])
            self._db.execute("DELETE FROM gone WHERE queue = ?", [name])
            self._db.execute("REPLACE INTO gone VALUES (?, '', ?)", [name, until])

    def put_task(self, queue: str, entry: Entry) -> None:
        if not self._silent:
            row = [entry.name, queue, entry.proto.SerializeToString(), msgspec.json.encode(entry.facts)]
            self._db.execute("REPLACE INTO tasks VALUES (?, ?, ?, ?)", row)

    def drop_task(self, queue: str, name: str, until: float | None) -> None:
        if self._silent:
            return
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM tasks WHERE name = ?", [name])
            if until is not None:
                self._db.execute("REPLACE INTO gone VALUES (?, ?, ?)", [name, queue, until])

    def forget(self, now: float) -> None:
        """Drop the names whose time is over."""
        self._db.execute("DELETE FROM gone WHERE until <= ?", [now])
