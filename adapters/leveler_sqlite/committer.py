"""Committer: runs jobs on the file, as many as there are in one commit. It belongs to one thread."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from leveler.clock import Clock
from leveler.errors import BrokerUnavailable
from leveler_sqlite import schema
from leveler_sqlite.errors import free_bytes, is_busy, is_doubtful, is_full, no_room, translate
from leveler_sqlite.job import TAKEN, WAITING, WITHDRAWN, Job
from leveler_sqlite.timeline import join
from leveler_sqlite.transaction import Transaction

Jobs = Sequence[Job[Any]]

#: One try to get the write lock. SQLite by itself tries ever more seldom, so that a busy process, which takes the lock
#: again at once, would starve the others; and between two tries jobs may have been withdrawn.
_TRY_MILLISECONDS: Final = 8

#: New messages are refused while less is free: completing takes room too, before it gives any back. A full log, and
#: the same once more in the file that it is copied into.
_RESERVE_BYTES: Final = 2 * schema.LOG_BYTES

#: Payload in the log that is worth the trouble of copying it.
_MUCH_BYTES: Final = schema.LOG_BYTES * 3 // 4


class Doubt(Exception):
    """A commit failed in a way that does not tell whether it will be found on the disk."""


class Committer:
    """
    Args:
        path: of the file.
        synchronous: what a commit waits for.
        clock: for the timeline.
        wait_seconds: how long to wait for the lock while opening.

    Raises:
        ConfigError, AccessDenied, BrokerUnavailable: the file cannot be used.
    """

    def __init__(self, path: str, synchronous: Literal["full", "normal"], clock: Clock, *, wait_seconds: float) -> None:
        self._path = path
        self._always_lazy = synchronous == "normal"
        self._synced: bool | None = None
        #: Payload in the log, as far as this process has written it.
        self._logged_bytes = 0
        #: Whether somebody else has the write lock that we want.
        self.blocked = False
        #: Guards `Job.state`, which two threads may want to change at once.
        self.taking = threading.Lock()
        try:
            self._identity = _identity(path)
            self._connection = schema.connect(path, wait_seconds=wait_seconds)
        except (sqlite3.Error, OSError, MemoryError) as error:
            raise translate(error, path) from error
        try:
            schema.begin(self._connection)
            self.timeline = join(self._connection, clock)
            self._connection.execute("COMMIT")
            self._connection.execute(f"PRAGMA busy_timeout = {_TRY_MILLISECONDS}")
            self._version = self._data_version()
        except (sqlite3.Error, MemoryError) as error:
            self._connection.close()
            raise translate(error, path) from error

    def run(self, jobs: Jobs, *, first: bool = True) -> set[int]:
        """Answer each of `jobs`; the queues in which something may be ready since."""
        left = self._answer_by_looking(jobs)
        try:
            return self._commit(left) if left else set()
        except Doubt as error:
            for job in left:
                job.fail(_caused(job.doubt(f"{self._path}: {error}: it may or may not be done"), error))
        except Exception as error:
            self._roll_back(left)
            if first and is_full(error):
                self._make_room()
            if first and (len(left) > 1 or is_full(error)):  # what is wrong with one of them must not fail the others
                return set[int]().union(*(self.run([job], first=False) for job in left))
            for job in left:
                job.fail(_caused(translate(error, self._path), error))
        return set()

    def changed(self) -> bool:
        """Whether anybody else has committed something since the last call."""
        before = self._version
        try:
            self._version = self._data_version()
        except sqlite3.Error:
            return False  # the next job will say what is wrong
        return before != self._version

    def tidy(self) -> None:
        """Copy the log into the file, if there is much in it: nobody waits just now, and a commit need not do it."""
        if self._logged_bytes >= _MUCH_BYTES:
            self._logged_bytes = 0
            with suppress(sqlite3.Error):  # then it stays in the log
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """The last one to close the file also tidies its log away."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _answer_by_looking(self, jobs: Jobs) -> Jobs:
        """Those that have to write, if any. Looking does not take the lock that all writers stand in line for."""
        if any(job.look is None for job in jobs):
            return jobs
        try:
            self._connection.execute("BEGIN")
            transaction = Transaction(self._connection, self.timeline)
            left = [job for job in jobs if not job.answers_by_looking(transaction)]
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back(jobs)
            return jobs
        return left

    def _commit(self, jobs: Jobs) -> set[int]:
        self._check_file()
        self._sync(any(job.synced for job in jobs) and not self._always_lazy)
        if not self._begin(jobs):
            return set()
        jobs = self._take(jobs)
        full = any(job.grows for job in jobs) and self._is_nearly_full()
        transaction = Transaction(self._connection, self.timeline)
        for job in jobs:
            if full and job.grows:
                job.fail(no_room(self._path))
            else:
                job.run(transaction)
        transaction.finish()
        try:
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if is_doubtful(error):
                self._roll_back(jobs)
                raise Doubt(str(error)) from error
            raise
        self._logged_bytes += transaction.payload_bytes
        return transaction.touched

    def _begin(self, jobs: Jobs) -> bool:
        """Take the write lock, trying as long as one of the jobs is wanted; whether we have it."""
        try:
            while any(job.state == WAITING for job in jobs):
                try:
                    schema.begin(self._connection)
                    return True
                except sqlite3.OperationalError as error:
                    if not is_busy(error):
                        raise
                    self.blocked = True
            return False
        finally:
            self.blocked = False

    def _take(self, jobs: Jobs) -> Jobs:
        with self.taking:
            wanted = [job for job in jobs if job.state == WAITING]
            for job in wanted:
                job.state = TAKEN
        return wanted

    def _roll_back(self, jobs: Jobs) -> None:
        with suppress(sqlite3.Error):  # then there is nothing to roll back
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        with self.taking:
            for job in jobs:
                if job.state == TAKEN:
                    job.state = WITHDRAWN if job.future.done() else WAITING

    def _sync(self, wanted: bool) -> None:
        if wanted != self._synced:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}")
            self._synced = wanted

    def _is_nearly_full(self) -> bool:
        """The file system, and the file itself where messages have left it, have hardly any room."""
        free = free_bytes(self._path)
        if free >= _RESERVE_BYTES:
            return False
        [pages] = self._connection.execute("PRAGMA freelist_count").fetchone()
        [page_bytes] = self._connection.execute("PRAGMA page_size").fetchone()
        return bool(free + pages * page_bytes < _RESERVE_BYTES)

    def _make_room(self) -> None:
        """What stands in the log may fit into free pages of the file, and then the log is written from its start again:
        so a full disk can still be drained."""
        with suppress(sqlite3.Error):  # then there is no room
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _check_file(self) -> None:
        try:
            found = _identity(self._path)
        except OSError:
            found = None
        if found != self._identity:
            raise BrokerUnavailable(
                f"{self._path}: was moved, deleted or replaced while it was open: put it back, or start again to use "
                "what is there now"
            )

    def _data_version(self) -> int:
        [version] = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error
