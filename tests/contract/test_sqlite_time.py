"""Time in the file: leases follow no wall clock, and end with the host; delays go on across a reboot."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions, timeline

from leveler.adapter import Delivery, QueueSpec
from leveler.message import Message
from leveler.testing import VirtualClock

QUEUE = QueueSpec(name="orders", lease_seconds=30.0)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Host:
    """A machine that can be booted: its monotonic clock starts again then, its wall clock does not."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._url = f"sqlite:///{path}"
        self._boot_id = path.with_name("boot_id")
        self._boots = 0
        monkeypatch.setattr(timeline, "BOOT_ID", self._boot_id)
        self.boot(NOON)

    def boot(self, wall: datetime) -> None:
        self._boots += 1
        self._boot_id.write_text(f"boot-{self._boots}\n")
        self.clock = VirtualClock(wall)

    def open(self) -> SQLiteAdapter:
        return SQLiteAdapter(self._url, SQLiteOptions(), clock=self.clock, deadline_seconds=10.0)

    def message(self, delay_seconds: float = 0.0) -> Message:
        now = self.clock.now()
        return Message(id="1", body=b"{}", time=now, not_before=now + timedelta(seconds=delay_seconds))

    async def send(self, delay_seconds: float = 0.0) -> None:
        async with self.open() as adapter:
            await adapter.declare(QUEUE)
            await adapter.sender(QUEUE).send([self.message(delay_seconds)])

    async def take(self) -> list[Delivery]:
        """By a process that is gone when it has taken."""
        async with self.open() as adapter:
            return list(await adapter.receiver(QUEUE, capacity=10).receive(10, 0.0))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path / "queues.db", monkeypatch)


def run(story: Coroutine[object, object, None]) -> None:
    asyncio.run(story)


@pytest.mark.parametrize("seconds", [86400.0, -86400.0])
def test_a_jump_of_the_wall_clock_neither_ends_nor_prolongs_a_lease(host: Host, seconds: float) -> None:
    async def story() -> None:
        await host.send()
        assert len(await host.take()) == 1
        host.clock.jump(seconds)
        await host.clock.advance(29.0)
        assert await host.take() == []
        await host.clock.advance(1.1)
        [again] = await host.take()
        assert again.attempt == 2

    run(story())


def test_a_lease_ends_with_the_host_that_held_it(host: Host) -> None:
    async def story() -> None:
        await host.send()
        assert len(await host.take()) == 1
        host.boot(NOON + timedelta(seconds=5))
        [again] = await host.take()
        assert again.attempt == 2
        assert again.message.failed_at is not None
        assert abs(again.message.failed_at - host.clock.now()) < timedelta(seconds=1)

    run(story())


def test_a_lease_does_not_end_when_another_process_opens_the_file(host: Host) -> None:
    async def story() -> None:
        await host.send()
        assert len(await host.take()) == 1
        await host.clock.advance(10.0)
        assert await host.take() == []

    run(story())


def test_a_delay_goes_on_where_a_reboot_cut_it_off(host: Host) -> None:
    async def story() -> None:
        await host.clock.advance(5000.0)
        await host.send(delay_seconds=3600.0)
        host.boot(NOON + timedelta(seconds=5000.0 + 1800.0))
        assert await host.take() == []
        await host.clock.advance(1799.0)
        assert await host.take() == []
        await host.clock.advance(1.1)
        assert len(await host.take()) == 1

    run(story())


def test_where_the_system_names_no_boot_the_wall_clock_has_to_do(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(timeline, "BOOT_ID", Path("/nonexistent"))
        await host.send()
        [first] = await host.take()
        host.clock = VirtualClock(NOON + timedelta(seconds=20))  # a boot, or another process: it cannot be told
        assert await host.take() == []
        host.clock = VirtualClock(NOON + timedelta(seconds=31))
        [again] = await host.take()
        assert (first.attempt, again.attempt) == (1, 2)

    run(story())
