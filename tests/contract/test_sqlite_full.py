"""A full disk: refused with the reason, nothing lost, and workers can drain the queues."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest
from leveler_sqlite import schema
from leveler_sqlite.errors import free_bytes

from leveler.adapter import Sender
from leveler.errors import BrokerUnavailable
from tests.contract.sqlite_scene import QUEUE, adapter, messages


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def test_a_full_disk_refuses_loses_nothing_and_can_be_drained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = schema.connect

    def small(path: str, *, wait_seconds: float) -> sqlite3.Connection:
        connection = connect(path, wait_seconds=wait_seconds)
        connection.execute("PRAGMA max_page_count = 100")
        return connection

    monkeypatch.setattr(schema, "connect", small)
    asyncio.run(_until_full(tmp_path / "q.db"))


def test_a_disk_that_is_really_full_refuses_loses_nothing_and_can_be_drained(tmp_path: Path) -> None:
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path], capture_output=True)
    if made.returncode:
        pytest.skip(f"needs the right to mount: {made.stderr.decode().strip()}")
    try:
        asyncio.run(_until_full(tmp_path / "q.db"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_others_have_filled_can_be_drained(tmp_path: Path) -> None:
    """What stands in the log is copied into the file, so that the log can be written from its start again."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path], capture_output=True)
    if made.returncode:
        pytest.skip(f"needs the right to mount: {made.stderr.decode().strip()}")

    async def fill() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(QUEUE)
            await opened.sender(QUEUE).send(messages(1000, b"x" * 5000))

    async def drain() -> int:
        async with adapter(tmp_path / "q.db") as opened:
            receiver, done = opened.receiver(QUEUE, capacity=1000), 0
            while deliveries := await receiver.receive(5, 0.0):
                await receiver.complete(deliveries)
                done += len(deliveries)
            return done

    try:
        asyncio.run(fill())
        (tmp_path / "theirs").write_bytes(b"x" * (free_bytes(str(tmp_path / "q.db")) - 400 * 1024))
        assert asyncio.run(drain()) == 1000
        assert integrity(tmp_path / "q.db") == "ok"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


async def _has_room(sender: Sender, path: Path) -> bool:
    try:
        await sender.send(messages(10, b"x" * 5000))
    except BrokerUnavailable as full:
        assert re.match(rf"{path}: no room for more messages .* free some space", str(full))  # noqa: PT017
        return False
    return True


async def _until_full(path: Path) -> None:
    async with adapter(path) as opened:
        await opened.declare(QUEUE)
        sender, accepted = opened.sender(QUEUE), 0
        while await _has_room(sender, path):
            accepted += 10
        assert accepted >= 10
        assert (await opened.depth(QUEUE)).ready == accepted
        receiver = opened.receiver(QUEUE, capacity=1000)
        while deliveries := await receiver.receive(10, 0.0):
            await receiver.complete(deliveries)
            accepted -= len(deliveries)
        assert accepted == 0
        await sender.send(messages(10, b"x" * 5000))
    assert integrity(path) == "ok"
