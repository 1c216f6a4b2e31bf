"""Transaction: what one commit is about, and what its jobs share."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from leveler.errors import QueueNotFound
from leveler_sqlite.bundles import Bundle, Stretch
from leveler_sqlite.timeline import Timeline

#: Rows per statement. Each statement gives up the interpreter lock, and from a busy event loop it is slow to come
#: back: few statements matter more than short ones.
_PORTIONS: Final = (64, 16, 4, 1)


class Queue(NamedTuple):
    """A queue as the file has it."""

    id: int
    name: str
    ordered: bool
    #: Messages in it before this transaction, in whatever state.
    live: int


class Table(NamedTuple):
    """Where rows are put in, many at once."""

    name: str
    columns: tuple[str, ...]
    #: Whether payload is in the last column.
    heavy: bool = False

    def insert(self, rows: int) -> str:
        row = f"({', '.join('?' * len(self.columns))})"
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES {', '.join([row] * rows)}"


MESSAGE: Final = Table("message", ("id", "envelope", "body"), heavy=True)
BUNDLE: Final = Table("bundle", ("id", "size", "lengths", "ids", "envelopes", "bodies"), heavy=True)
READY: Final = Table("ready", ("queue", "lane", "id", "size", "bundle", "count", "since", "key"))
HELD: Final = Table("held", ("queue", "due", "id", "lane", "count", "since", "key"))

_STATEMENTS: Final = {
    table.name: tuple((rows, rows * len(table.columns), table.insert(rows)) for rows in _PORTIONS)
    for table in (MESSAGE, BUNDLE, READY, HELD)
}

_LAST_ID: Final = """SELECT max(coalesce((SELECT max(id) FROM message), 0),
    coalesce((SELECT id + size - 1 FROM bundle WHERE id = (SELECT max(id) FROM bundle)), 0))"""


class Transaction:
    """One transaction. Jobs decide before they write: one that raises has written nothing.

    Args:
        connection: in a transaction already.
        timeline: time stands still in a transaction.
    """

    def __init__(self, connection: sqlite3.Connection, timeline: Timeline) -> None:
        self.sql = connection.execute
        self.timeline = timeline
        #: When it began: on this process's monotonic clock, and on the file's timeline.
        self.at, self.now = timeline.look()
        #: Queues in which something may have become ready, or will sooner than was known.
        self.touched: set[int] = set()
        #: Payload that was written.
        self.payload_bytes = 0
        self._queues: dict[str, Queue] = {}
        self._growth: dict[int, int] = {}
        #: 0 = not known yet; a file that has had no message yet is asked again.
        self._last_id = 0
        self._bundle: Bundle | None = None
        self._new: dict[str, list[Any]] = {}

    def queue(self, name: str) -> Queue:
        """
        Raises:
            QueueNotFound: nobody has declared it.
        """
        queue = self._queues.get(name) or self.find(name)
        if queue is None:
            raise self.missing(name)
        return queue

    def missing(self, name: str) -> QueueNotFound:
        """The error that says what there is instead."""
        [_, _, path] = self.sql("PRAGMA database_list").fetchone()
        names = [found for [found] in self.sql("SELECT name FROM queue ORDER BY name LIMIT 100")]
        there = ", ".join(repr(found) for found in names if f"{found}-dead" in names)
        return QueueNotFound(
            f"queue {name!r} is not in {path}, which has {there or 'none'}: correct the name or the path, or let the "
            "first worker or producer make it (declare: create)"
        )

    def find(self, name: str) -> Queue | None:
        row = self.sql("SELECT id, name, ordered, live FROM queue WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        queue = self._queues[name] = Queue(row[0], row[1], bool(row[2]), row[3])
        return queue

    def forget(self, name: str) -> None:
        """The queue has been changed."""
        self._queues.pop(name, None)

    def live(self, queue: Queue) -> int:
        """Messages in it now."""
        return queue.live + self._growth.get(queue.id, 0)

    def grow(self, queue: int, by: int) -> None:
        """So many messages more, or fewer."""
        self._growth[queue] = self._growth.get(queue, 0) + by

    def next_id(self) -> int:
        """For a new message: higher than that of every message in the file, so that order is by id."""
        self._close_bundle()
        return self._take_ids(1)

    def add(self, queue: int, lane: int, stretch: Stretch) -> None:
        """New messages that are ready and have no key, to be stored with each other and those added just before."""
        while stretch.messages:
            bundle = self._bundle
            if bundle is None or bundle.place != (queue, lane):
                self._close_bundle()
                bundle = self._bundle = Bundle(queue, lane)
            stretch = stretch.after(bundle.take(stretch))
            if stretch.messages:
                self._close_bundle()

    def put(self, table: Table, *row: Any) -> None:
        """Insert `row`, at the latest when somebody looks."""
        self._new.setdefault(table.name, []).extend(row)
        if table.heavy:
            self.payload_bytes += len(row[-1])

    def flush(self) -> None:
        """Insert what was put and added. To be called by whoever looks at messages."""
        self._close_bundle()
        if self._new:
            new, self._new = self._new, {}
            for name, values in new.items():
                self._insert(name, values)

    def finish(self) -> None:
        """Write what was gathered: the commit comes next."""
        self.flush()
        for queue, by in self._growth.items():
            if by:
                self.sql("UPDATE queue SET live = live + ? WHERE id = ?", (by, queue))

    def _close_bundle(self) -> None:
        """Those that were added have their ids now: nobody else gets one between theirs."""
        if self._bundle is None:
            return
        bundle, self._bundle = self._bundle, None
        size, *row = bundle.pack()
        first = self._take_ids(size)
        if size == 1:
            self.put(MESSAGE, first, *row[-2:])
        else:
            self.put(BUNDLE, first, size, *row)
        self.put(READY, *bundle.place, first, size, first if size > 1 else None, 0, self.now, None)

    def _take_ids(self, count: int) -> int:
        """The first of them."""
        if not self._last_id:
            [self._last_id] = self.sql(_LAST_ID).fetchone()
        first = self._last_id + 1
        self._last_id += count
        return first

    def _insert(self, name: str, values: Sequence[Any]) -> None:
        start = 0
        for _, width, statement in _STATEMENTS[name]:
            while len(values) - start >= width:
                self.sql(statement, values[start : start + width])
                start += width
