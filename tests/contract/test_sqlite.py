"""The SQLite adapter keeps the contract: in virtual time in one process, and in real time through two connections."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions

from leveler.adapter import Adapter
from leveler.clock import Clock, SystemClock
from leveler.testing import VirtualClock
from leveler.testing.contract import Target, cases, run
from leveler.testing.contract.pytest_suite import ContractSuite


class SQLite(Target):
    """A file for each case, with all connections of the case to it."""

    grace_seconds = 0.5

    def __init__(self, folder: Path, clock: type[VirtualClock | SystemClock]) -> None:
        self.name = f"sqlite/{clock.__name__}"
        self.lease_seconds = 20.0 if clock is VirtualClock else 2.0
        self._folder = folder
        self._clock = clock

    def clock(self) -> Clock:
        return self._clock()

    def adapter(self, clock: Clock) -> Adapter:
        url = f"sqlite:///{self._folder}/{id(clock)}.db"
        options = SQLiteOptions(max_message_bytes=256 * 1024)  # a size that the suite can reach
        return SQLiteAdapter(url, options, clock=clock, deadline_seconds=10.0)


class TestVirtualTime(ContractSuite):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        type(self).target = SQLite(tmp_path, VirtualClock)


@pytest.mark.parametrize("topic", sorted({case.topic for case in cases()}))
def test_the_contract_holds_in_real_time(tmp_path: Path, topic: str) -> None:
    """Most of a case is waiting, so the cases of a topic run side by side."""
    report = asyncio.run(run(SQLite(tmp_path, SystemClock), only=f"{topic}-", jobs=8))
    assert [f"{result.case}: {result.why}" for result in report.results if result.verdict == "failed"] == []
    assert {result.verdict for result in report.results} <= {"passed", "gated"}
