"""The schema: what is in the file, and how it is opened.

    queue     one row per queue and one for its dead letters, with the number of messages in it
    message   envelope and body of a message that was sent alone, has a place in a line, waits for its time, or is dead
    bundle    the same of several that were sent one right after the other, as most messages are; where they differ in
              nothing but ids and bodies, as those of one send do, the rest is there once
    rest      how many messages of a bundle are left, where some are gone
    ready     what may be delivered, in the order of delivery
    held      what may not be delivered before `due`: delayed (no token) or leased (whose token it is)
    line      ordered queues only: the messages of each key, in order
    seen      queues that drop duplicates: which were seen, and until when that counts
    timeline  where the time of `due`, `since` and `until` starts

A row of `ready` or `held` stands for a run: `size` messages with consecutive ids in one state. Only messages in a
bundle make runs of more than one; the id of a bundle is that of its first message.

Claims and settlements touch small rows only: the payload, by far the largest part, is not rewritten by either, unless
a message leaves its bundle to die or to wait. No bundle is kept for long for the sake of a few.
"""

from __future__ import annotations

import sqlite3
from typing import Final
from urllib.parse import quote

from leveler.errors import ConfigError
from leveler_sqlite.errors import is_busy, locked

#: "LVLR": tells our files from anybody else's.
APPLICATION_ID: Final = 0x4C564C52
#: Raised when a version that does not know it could do harm.
VERSION: Final = 2

#: Lanes 0 to 9 are the priorities from 9 to 0. A message that waits for another of its key is parked so much higher.
PARKED: Final = 10

#: All dead letters are in one lane, whatever their priority: the oldest message is shown first.
DEAD_LANE: Final = 5

#: States of a row in `line`.
WAITING, LEASED, DELAYED = 0, 1, 2

_TABLES: Final = (
    """CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        ordered INTEGER NOT NULL,
        live INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY,
        envelope TEXT NOT NULL,
        body BLOB NOT NULL
    )""",
    """CREATE TABLE bundle (
        id INTEGER PRIMARY KEY,
        size INTEGER NOT NULL,
        lengths TEXT NOT NULL,
        ids TEXT NOT NULL,
        envelopes TEXT NOT NULL,
        bodies BLOB NOT NULL
    )""",
    "CREATE TABLE rest (bundle INTEGER PRIMARY KEY, size INTEGER NOT NULL)",
    """CREATE TABLE ready (
        queue INTEGER NOT NULL,
        lane INTEGER NOT NULL,
        id INTEGER NOT NULL,
        size INTEGER NOT NULL DEFAULT 1,
        bundle INTEGER,
        count INTEGER NOT NULL,
        since REAL NOT NULL,
        failed REAL,
        key TEXT,
        PRIMARY KEY (queue, lane, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE held (
        queue INTEGER NOT NULL,
        due REAL NOT NULL,
        id INTEGER NOT NULL,
        size INTEGER NOT NULL DEFAULT 1,
        bundle INTEGER,
        token INTEGER,
        lane INTEGER NOT NULL,
        count INTEGER NOT NULL,
        since REAL NOT NULL,
        failed REAL,
        key TEXT,
        PRIMARY KEY (queue, due, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE line (
        queue INTEGER NOT NULL,
        key TEXT NOT NULL,
        id INTEGER NOT NULL,
        lane INTEGER NOT NULL,
        state INTEGER NOT NULL,
        PRIMARY KEY (queue, key, id)
    ) WITHOUT ROWID""",
    "CREATE INDEX line_leased ON line (queue, key) WHERE state = 1",
    """CREATE TABLE seen (
        queue INTEGER NOT NULL,
        key TEXT NOT NULL,
        until REAL NOT NULL,
        PRIMARY KEY (queue, key)
    ) WITHOUT ROWID""",
    "CREATE INDEX seen_until ON seen (queue, until)",
    "CREATE TABLE timeline (boot TEXT NOT NULL, start REAL NOT NULL)",
)

#: For a new file. A message of 1 KB fits seven times, and three times into the usual 4096: a fifth less to write.
_PAGE_BYTES: Final = 8192
#: So much in the write-ahead log is copied into the file by whoever commits next.
LOG_BYTES: Final = 4 * 1024 * 1024
#: The log is cut back to this after a burst.
_LONGEST_LOG_BYTES: Final = 4 * LOG_BYTES


def connect(path: str, *, wait_seconds: float) -> sqlite3.Connection:
    """The file, opened and with our tables in it.

    Raises:
        ConfigError: it is not ours, or of a newer version, or where it lies there can be no write-ahead log.
        sqlite3.Error: see `leveler_sqlite.errors`.
    """
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode=rw", uri=True, timeout=wait_seconds, isolation_level=None, cached_statements=256
    )
    try:
        _check_at_once(connection, path)
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ConfigError(f"{path}: its file system allows no write-ahead log: put the file on a local disk")
        connection.execute("PRAGMA secure_delete = FAST")  # wipes what it writes anyway
        connection.execute(f"PRAGMA journal_size_limit = {_LONGEST_LOG_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // _PAGE_BYTES}")
        _create(connection, path)
    except BaseException as error:
        connection.close()
        if is_busy(error):
            raise locked(path) from error
        raise
    return connection


def begin(connection: sqlite3.Connection) -> None:
    """Take the write lock, for as long as the connection's busy timeout."""
    connection.execute("BEGIN IMMEDIATE")


def _check_at_once(connection: sqlite3.Connection, path: str) -> None:
    """The same by what was there at one moment: another process may be making the tables between two looks."""
    connection.execute("BEGIN")
    try:
        _check(connection, path)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _check(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the tables are there.

    Raises:
        ConfigError: what is there is not ours.
    """
    [ours] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if ours != APPLICATION_ID and (ours or version or tables):
        raise ConfigError(f"{path}: is the database of another program: choose another path")
    if version > VERSION:
        raise ConfigError(
            f"{path}: has schema {version}, and this version of leveler knows up to {VERSION}: upgrade leveler, or "
            "choose another path"
        )
    if tables and version < VERSION:
        raise ConfigError(
            f"{path}: has schema {version} of an earlier leveler, and this one reads {VERSION}: let that version drain "
            "the queues, then move the file away, or choose another path"
        )
    return bool(tables)


def _create(connection: sqlite3.Connection, path: str) -> None:
    begin(connection)
    try:
        if not _check(connection, path):  # again: another process may have been faster
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
