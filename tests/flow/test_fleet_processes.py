"""A rate of the whole fleet, real processes over real stores: they are killed, and their store is stopped and started.

What is asserted was written down by the workers, on the one monotonic clock of this host: how many started and when.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from leveler.consumer.limits.fleet import LATE_SECONDS
from tests.containers.find import server
from tests.containers.keeper import Kept
from tests.containers.server import NoServer

PER_SECOND: Final = 40.0

#: In which a story that hangs has failed.
_PATIENCE_SECONDS: Final = 120.0


def tell(story: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(story, _PATIENCE_SECONDS))


def most_in(starts: list[float], seconds: float) -> int:
    starts = sorted(starts)
    return max((bisect_right(starts, start + seconds) - index for index, start in enumerate(starts)), default=0)


class Crew:
    """Workers, and what they have written down."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._path = folder / "diary"
        self.workers: list[asyncio.subprocess.Process] = []

    async def begin(self, count: int) -> None:
        """Return when all of them work."""
        for _ in range(count):
            words = ("-m", "tests.flow.fleet_worker", self._url, str(self._path), str(PER_SECOND))
            self.workers.append(await asyncio.create_subprocess_exec(sys.executable, *words))
        await self.until(lambda: len({pid for pid, _ in self.noted("start")}) == count)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert all(worker.returncode is None or worker.returncode < 0 for worker in self.workers), "one has ended"
            await asyncio.sleep(0.05)

    def noted(self, what: str) -> list[tuple[int, float]]:
        """The process and what it wrote."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        words = [line.split() for line in lines]
        return [(int(pid), float(value)) for kind, pid, value in words if kind == what]

    def starts(self, since: float = 0.0, until: float = float("inf")) -> list[float]:
        return sorted(at for _, at in self.noted("start") if since <= at < until)

    def most_in_three_seconds(self, since: float, until: float) -> float:
        """In the best ones, with those that the machine had no time for: nobody makes up for what has passed."""
        missed = PER_SECOND * sum(seconds for _, seconds in self.noted("stall")) / len(self.workers)
        return most_in(self.starts(since, until), 3.0) + missed

    @property
    def late_seconds(self) -> float:
        """How late a start may have been: its own lateness, and that of the slowest answer."""
        return LATE_SECONDS + max(seconds for _, seconds in self.noted("answer"))


@asynccontextmanager
async def crew(url: str, folder: Path) -> AsyncIterator[Crew]:
    found = Crew(url, folder)
    try:
        yield found
    finally:
        for worker in found.workers:
            if worker.returncode is None:
                worker.kill()
        await asyncio.gather(*(worker.wait() for worker in found.workers))


async def one_of_three_is_killed(url: str, folder: Path) -> None:
    async with crew(url, folder) as c:
        await c.begin(3)
        began = time.monotonic()
        await c.until(lambda: len(c.starts(began)) >= 160)
        killed = time.monotonic()
        c.workers[0].kill()
        await c.until(lambda: len(c.starts(killed)) >= 160)
        ended = time.monotonic()
        starts = c.starts()
        # One start more where a process was stopped between the decision and the diary.
        assert most_in(starts, 1.0) <= PER_SECOND * (1.0 + c.late_seconds) + 2
        assert c.most_in_three_seconds(began, killed) >= 0.95 * PER_SECOND * 3.0
        assert c.most_in_three_seconds(killed, ended) >= 0.95 * PER_SECOND * 3.0
        assert {pid for pid, at in c.noted("start") if at > killed + 0.1} == {one.pid for one in c.workers[1:]}


def test_three_processes_share_a_rate_in_a_file_and_one_is_killed(tmp_path: Path) -> None:
    tell(one_of_three_is_killed(f"sqlite:///{tmp_path}/rates.db", tmp_path))


def test_three_processes_share_a_rate_on_a_server_and_one_is_killed(tmp_path: Path, redis: Kept) -> None:
    tell(one_of_three_is_killed(f"{redis.url}?prefix={tmp_path.name}:", tmp_path))


async def goes_and_comes(url: str, folder: Path, go: Callable[[], object], come: Callable[[], object]) -> None:
    """The store goes away and comes back: nobody stands still, and nobody starts more than the rate for long."""
    async with crew(url, folder) as c:
        await _goes_and_comes(c, go, come)


async def _goes_and_comes(c: Crew, go: Callable[[], object], come: Callable[[], object]) -> None:
    await c.begin(2)
    await c.until(lambda: len(c.starts()) >= 80)
    await asyncio.to_thread(go)
    await c.until(lambda: len(c.noted("away")) == 2)
    away = time.monotonic()
    await c.until(lambda: len(c.starts(away)) >= 160)
    came = time.monotonic()
    await asyncio.to_thread(come)
    await c.until(lambda: len(c.noted("back")) == 2)
    back = time.monotonic()
    await c.until(lambda: len(c.starts(back)) >= 80)
    assert (len(c.noted("away")), len(c.noted("back"))) == (2, 2), "said once each"
    seconds = came - away
    assert c.most_in_three_seconds(away, came) >= 0.95 * PER_SECOND * 3.0, "a share is a share"
    # Each keeps to its half, and both may start at the same moment.
    assert len(c.starts(away, came)) <= PER_SECOND * (seconds + LATE_SECONDS) + 2 + 2
    # While one has noticed and the other has not, for as long as an answer may take.
    assert most_in(c.starts(), 1.0) <= 2 * PER_SECOND + PER_SECOND * LATE_SECONDS + 2
    assert most_in(c.starts(back + 1.0), 1.0) <= PER_SECOND * (1.0 + c.late_seconds) + 2


def test_a_file_that_somebody_locks_is_a_store_that_is_away(tmp_path: Path) -> None:
    locks: list[sqlite3.Connection] = []

    def lock() -> None:
        connection = sqlite3.connect(tmp_path / "rates.db", timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        locks.append(connection)

    tell(goes_and_comes(f"sqlite:///{tmp_path}/rates.db", tmp_path, lock, lambda: locks[0].close()))


def test_a_server_that_is_stopped_is_a_store_that_is_away(tmp_path: Path) -> None:
    try:
        store = server("redis", "process", {})
    except NoServer as error:
        pytest.skip(str(error))
    with store:
        tell(goes_and_comes(store.url, tmp_path, store.stop, store.start))
