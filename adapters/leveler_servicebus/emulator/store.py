"""FileStore: queues in one SQLite file, so that they survive the emulator; what is answered has been written."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from leveler_servicebus.emulator.amqp.message import Content
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.settings import QueueSettings
from leveler_servicebus.emulator.entity.stored import State, Stored
from leveler_servicebus.emulator.namespace import Namespace

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE queue (name TEXT PRIMARY KEY, settings TEXT NOT NULL, last_sequence INTEGER NOT NULL DEFAULT 0);
CREATE TABLE message (
    queue TEXT NOT NULL, dead INTEGER NOT NULL, sequence INTEGER NOT NULL,
    enqueued_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, state INTEGER NOT NULL,
    delivery_count INTEGER NOT NULL, token BLOB NOT NULL, locked_until_ms INTEGER NOT NULL,
    dead_letter_source TEXT NOT NULL,
    durable INTEGER, priority INTEGER, ttl_ms INTEGER, annotations BLOB, annotation_values INTEGER,
    scheduled_ms INTEGER, properties BLOB, message_id BLOB, session_id TEXT, application BLOB, body BLOB,
    PRIMARY KEY (queue, dead, sequence)
) WITHOUT ROWID;
CREATE TABLE remembered (queue TEXT NOT NULL, id BLOB NOT NULL, until_ms INTEGER NOT NULL, PRIMARY KEY (queue, id));
CREATE TABLE session (queue TEXT NOT NULL, id TEXT NOT NULL, state BLOB NOT NULL, PRIMARY KEY (queue, id));
"""
_MESSAGE: Final = ("sequence", "enqueued_ms", "expires_ms", "state", "delivery_count", "token", "locked_until_ms")
_CONTENT: Final = tuple(field.name for field in fields(Content))
_COLUMNS: Final = ("queue", "dead", *_MESSAGE, "dead_letter_source", *_CONTENT)
_PUT: Final = f"REPLACE INTO message ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


class NoStore(Exception):
    """The file cannot be used; the text says why."""


class FileStore:
    """A file that one emulator has at a time.

    Args:
        path: made if it is not there.

    Raises:
        NoStore: another emulator has it, or it is something else.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.touch(mode=0o600)  # messages are nobody else's business
            self._file = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            self._file.executescript(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
            )
            self._make(path)
        except (sqlite3.Error, OSError) as error:
            raise NoStore(f"{path} cannot be used: {error} (does another emulator have it?)") from error
        self._writing = False
        self._given: dict[str, int] = {}

    def load(self, namespace: Namespace) -> None:
        """Bring back what is in the file."""
        self._file.execute("DELETE FROM remembered WHERE until_ms <= ?", (namespace.clock.now_ms(),))
        for name, settings, last in self._file.execute("SELECT name, settings, last_sequence FROM queue").fetchall():
            queue = namespace.restore(name, QueueSettings(**json.loads(settings)))
            queue.skip_to(last)
            self._load_queue(queue)

    def journals(self, name: str) -> tuple[_FileJournal, _FileJournal]:
        return _FileJournal(self, name, dead=False), _FileJournal(self, name, dead=True)

    def save_queue(self, name: str, settings: QueueSettings) -> None:
        self.write(
            "INSERT INTO queue (name, settings) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET settings = excluded.settings",
            (name, json.dumps(asdict(settings))),
        )

    def drop_queue(self, name: str) -> None:
        self.write("DELETE FROM queue WHERE name = ?", (name,))
        for table in ("message", "remembered", "session"):
            self.write(f"DELETE FROM {table} WHERE queue = ?", (name,))

    def write(self, statement: str, values: tuple[object, ...]) -> None:
        """With everything else until the next `commit`."""
        if not self._writing:
            self._file.execute("BEGIN")
            self._writing = True
        self._file.execute(statement, values)

    def given(self, name: str, sequence: int) -> None:
        """A number that must not be given again."""
        self._given[name] = max(sequence, self._given.get(name, 0))

    def commit(self) -> None:
        for name, sequence in self._given.items():
            self.write("UPDATE queue SET last_sequence = max(last_sequence, ?) WHERE name = ?", (sequence, name))
        self._given.clear()
        if self._writing:
            self._file.execute("COMMIT")
            self._writing = False

    def close(self) -> None:
        self.commit()
        self._file.close()

    def _make(self, path: Path) -> None:
        [version] = self._file.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._file.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT")
        elif version != _VERSION:
            raise NoStore(f"{path} is of another version of the emulator, or another program's: name another file")

    def _load_queue(self, queue: Queue) -> None:
        names = ", ".join(_COLUMNS[1:])
        for row in self._file.execute(f"SELECT {names} FROM message WHERE queue = ? ORDER BY sequence", (queue.name,)):
            said = dict(zip(_COLUMNS[1:], row, strict=True))
            content = Content(**{name: said.pop(name) for name in _CONTENT})
            content.durable = bool(content.durable)
            where = queue.dead if said.pop("dead") and queue.dead is not None else queue
            where.restore(Stored(content=content, **{**said, "state": State(said["state"])}))
        for message_id, until_ms in self._file.execute(
            "SELECT id, until_ms FROM remembered WHERE queue = ? ORDER BY until_ms", (queue.name,)
        ):
            queue.remembered(message_id, until_ms)
        for session_id, state in self._file.execute("SELECT id, state FROM session WHERE queue = ?", (queue.name,)):
            queue.sessions.get(session_id).state = state


class _FileJournal:
    """Writes what changes in one queue, or in its dead letters."""

    def __init__(self, store: FileStore, queue: str, *, dead: bool) -> None:
        self._store = store
        self._queue = queue
        self._dead = dead

    def put(self, message: Stored) -> None:
        content = message.content
        row = (
            self._queue,
            self._dead,
            *(getattr(message, name) for name in _MESSAGE),
            message.dead_letter_source,
            *(getattr(content, name) for name in _CONTENT),
        )
        self._store.write(_PUT, row)
        self._store.given(self._queue, message.sequence)

    def drop(self, sequence: int) -> None:
        self._store.write(
            "DELETE FROM message WHERE queue = ? AND dead = ? AND sequence = ?", (self._queue, self._dead, sequence)
        )

    def remember(self, message_id: bytes, until_ms: int) -> None:
        self._store.write("REPLACE INTO remembered VALUES (?, ?, ?)", (self._queue, message_id, until_ms))

    def session(self, session_id: str, state: bytes | None) -> None:
        if state is None:
            self._store.write("DELETE FROM session WHERE queue = ? AND id = ?", (self._queue, session_id))
        else:
            self._store.write("REPLACE INTO session VALUES (?, ?, ?)", (self._queue, session_id, state))
