"""Rates: the schedules that all processes on the file share. Their tables are made when the first one is asked for."""

from __future__ import annotations

from typing import Final

from leveler.schedule import Ask, Mark, Stretch
from leveler.schedule import reserve as decide
from leveler_sqlite.transaction import Transaction

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS rate (name TEXT PRIMARY KEY, due REAL NOT NULL, length REAL NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS asker (
        rate TEXT NOT NULL,
        holder TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (rate, holder)
    ) WITHOUT ROWID""",
)


def reserve(transaction: Transaction, rate: str, ask: Ask) -> Stretch:
    """See `leveler.adapter.Adapter.reserve`."""
    sql, now = transaction.sql, transaction.now
    for statement in _TABLES:
        sql(statement)
    sql("INSERT OR REPLACE INTO asker (rate, holder, at) VALUES (?, ?, ?)", (rate, ask.holder, now))
    # Later than now: it asked before a boot that has set the clock back.
    sql("DELETE FROM asker WHERE rate = ? AND (at <= ? OR at > ?)", (rate, now - ask.present_seconds, now))
    [workers] = sql("SELECT count(*) FROM asker WHERE rate = ?", (rate,)).fetchone()
    row = sql("SELECT due, length FROM rate WHERE name = ?", (rate,)).fetchone()
    mark, wait_seconds = decide(None if row is None else Mark(*row), ask, now)
    if mark is not None:
        sql("INSERT OR REPLACE INTO rate (name, due, length) VALUES (?, ?, ?)", (rate, *mark))
    return Stretch(wait_seconds, 0 if mark is None else ask.starts, workers)
