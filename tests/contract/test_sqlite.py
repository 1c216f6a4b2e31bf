"""The SQLite adapter keeps the contract: in virtual time in one process, and in real time through two connections."""

from __future__ import annotations

from pathlib import Path

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions

from leveler.adapter import Adapter
from leveler.clock import Clock, SystemClock
from leveler.testing import VirtualClock
from leveler.testing.contract import Target
from leveler.testing.contract.pytest_suite import ContractSuite


class SQLite(Target):
    """All connections of one case are to the same file."""

    def __init__(self, path: Path, clock: type[VirtualClock | SystemClock]) -> None:
        self.name = f"sqlite/{clock.__name__}"
        self.lease_seconds = 20.0 if clock is VirtualClock else 1.0
        self.grace_seconds = 0.5
        self.url = f"sqlite:///{path}"
        self._clock = clock

    def clock(self) -> Clock:
        return self._clock()

    def adapter(self, clock: Clock) -> Adapter:
        options = SQLiteOptions(max_message_bytes=256 * 1024)  # sizes that the suite can reach
        return SQLiteAdapter(self.url, options, clock=clock, deadline_seconds=10.0)


class TestVirtualTime(ContractSuite):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        type(self).target = SQLite(tmp_path / "queues.db", VirtualClock)


class TestRealTime(ContractSuite):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        type(self).target = SQLite(tmp_path / "queues.db", SystemClock)
