"""SQLite: a file, shared by all processes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.subjects.subject import Fault, Notes, Place, Subject


@contextmanager
def sqlite(place: Place) -> Iterator[Subject]:
    path = place.folder / "queue.db"
    faults = [Fault("locked file", lambda notes: _locked(path, notes))]
    if place.folder.is_mount():  # a small file system of its own; nobody else's disk is filled
        faults.append(Fault("full disk", lambda notes: _full(place.folder, notes)))
    url = f"sqlite:///{path}"
    yield Subject("sqlite", f"sqlite {sqlite3.sqlite_version}", url, url, faults)


def _locked(path: Path, notes: Notes) -> None:
    """Somebody else holds the write lock for longer than a lease lasts."""
    notes.strike()
    other = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(1.0)
        other.execute("ROLLBACK")
    finally:
        other.close()
        notes.back()


def _full(folder: Path, notes: Notes) -> None:
    """The disk is full for a while."""
    notes.strike()
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
    except OSError:
        time.sleep(1.0)
    finally:
        filler.unlink(missing_ok=True)
        notes.back()
