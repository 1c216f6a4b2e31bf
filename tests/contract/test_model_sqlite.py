"""The SQLite adapter does what the reference model does, through two connections to one file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions

from leveler.adapter import Adapter
from leveler.clock import Clock
from leveler.testing import VirtualClock
from leveler.testing.contract import Target
from leveler.testing.model import model_test


class SQLite(Target):
    """A file for each run. Nothing is late: time is virtual."""

    lease_seconds = 20.0
    grace_seconds = 0.0
    folder: ClassVar[Path]

    def __init__(self, **spec: Any) -> None:
        self.name = " ".join(["sqlite", *spec])
        self.spec = spec
        self._runs = itertools.count()

    def clock(self) -> Clock:
        for left in self.folder.glob("*.db*"):  # by the run before
            left.unlink()
        self._file = self.folder / f"{next(self._runs)}.db"
        return VirtualClock()

    def adapter(self, clock: Clock) -> Adapter:
        # Runs do not cut the power, and waiting for the disk would be most of what they do.
        options = SQLiteOptions(synchronous="normal", poll_seconds=0.001)
        return SQLiteAdapter(f"sqlite:///{self._file}", options, clock=clock, deadline_seconds=10.0)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    SQLite.folder = tmp_path


TestPlain = model_test(SQLite(), examples=60)
TestOrdered = model_test(SQLite(ordered=True), examples=60)
TestDedup = model_test(SQLite(dedup_seconds=5.0), examples=60)
