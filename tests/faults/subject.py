"""Subjects: the brokers that can be put to the test, with the faults that only they can have. All data."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Makes the fault happen, and returns when it is over.
BrokerFault = Callable[[], None]


@dataclass(frozen=True)
class Subject:
    """One broker, running."""

    name: str
    url: str
    #: By name; each is one fault among those that the harness chooses from.
    faults: Mapping[str, BrokerFault] = field(default_factory=dict[str, BrokerFault])


def sqlite(folder: Path, ordered: bool) -> Subject:
    """A file, shared by all processes."""
    path = folder / "queue.db"

    def locked() -> None:
        """Somebody else holds the write lock for longer than a lease lasts."""
        other = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(1.0)
            other.execute("ROLLBACK")
        finally:
            other.close()

    def full() -> None:
        """The disk is full for a while."""
        filler = folder / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
        except OSError:
            time.sleep(1.0)
        finally:
            filler.unlink(missing_ok=True)

    faults: dict[str, BrokerFault] = {"locked file": locked}
    if folder.is_mount():  # a small file system of its own; nobody else's disk is filled
        faults["full disk"] = full
    return Subject("sqlite", f"sqlite:///{path}", faults)


SUBJECTS: Mapping[str, Callable[[Path, bool], Subject]] = {"sqlite": sqlite}
