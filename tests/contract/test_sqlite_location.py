"""Where a file of queues may be, and who may read and write it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions, location, schema

from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.errors import AccessDenied, ConfigError, NotStarted, QueueNotFound
from leveler.message import Message
from tests.contract.sqlite_scene import QUEUE, adapter, opening

MESSAGE = Message(id="1", body=b"", time=SystemClock().now())


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///orders.db", "orders.db"),
        ("sqlite:////var/lib/orders.db", "/var/lib/orders.db"),
        ("sqlite:///with%20space/q%3F.db", "with space/q?.db"),
    ],
)
def test_three_slashes_are_relative_and_four_are_absolute(url: str, path: str) -> None:
    assert location.path_of(url) == path


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://orders.db", "sqlite://host/orders.db", "sqlite:///folder/", "sqlite:x"]
)
def test_a_url_that_is_no_file_is_answered_with_the_right_form(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"sqlite:///orders\.db .*relative.* sqlite:////var/lib/orders\.db .*absolute"
    ):
        SQLiteAdapter(url, SQLiteOptions(), clock=SystemClock(), deadline_seconds=1.0)


@pytest.mark.parametrize("url", ["sqlite://me:hunter2@db/x", "sqlite://me:hun/ter2@db/"])
def test_the_url_of_another_broker_does_not_show_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SQLiteAdapter(url, SQLiteOptions(), clock=SystemClock(), deadline_seconds=1.0)
    assert "ter2" not in str(refused.value)


def test_a_database_in_memory_is_told_of_the_memory_adapter() -> None:
    with pytest.raises(ConfigError, match="memory://"):
        location.path_of("sqlite:///:memory:")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    error = asyncio.run(opening(tmp_path / "missing" / "q.db"))
    assert isinstance(error, ConfigError)
    assert str(tmp_path / "missing") in str(error)
    assert "mkdir" in str(error)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert isinstance(asyncio.run(opening(tmp_path)), ConfigError)


_MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:50 / {folder} rw,relatime shared:20 - {kind} server:/export rw,vers=4.2
41 22 0:51 / {folder}-beside rw,relatime - ext4 /dev/vdb rw
"""


@pytest.mark.parametrize("kind", ["nfs4", "nfs", "cifs", "smb3", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    _mount(tmp_path, monkeypatch, folder, kind)
    error = asyncio.run(opening(folder / "q.db"))
    assert isinstance(error, ConfigError)
    assert f"network file system ({kind})" in str(error)
    assert "local disk" in str(error)
    assert not (folder / "q.db").exists()


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "overlay", "fuse.fuse-overlayfs"])
def test_a_file_system_of_this_host_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    _mount(tmp_path, monkeypatch, tmp_path, kind)
    assert location.locate(str(tmp_path / "q.db")) == str(tmp_path / "q.db")


def _mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, kind: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(_MOUNTS.format(folder=str(folder).replace(" ", "\\040"), kind=kind))
    monkeypatch.setattr(location, "MOUNTS", table)


# -- who may read and write it


async def _modes(path: Path) -> dict[str, int]:
    async with adapter(path) as opened:
        await opened.declare(QUEUE)
        return {name.name: stat.S_IMODE(name.stat().st_mode) for name in path.parent.iterdir()}


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_nobody_else_may_read_the_file_or_its_log(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        modes = asyncio.run(_modes(tmp_path / "q.db"))
    finally:
        os.umask(before)
    assert modes == {"q.db": 0o600, "q.db-wal": 0o600, "q.db-shm": 0o600}


def test_a_file_that_its_owner_has_opened_to_a_group_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    path.touch()
    path.chmod(0o660)
    assert asyncio.run(_modes(path)) == {"q.db": 0o660, "q.db-wal": 0o660, "q.db-shm": 0o660}


@contextmanager
def nobody() -> Iterator[None]:
    """Without the rights of root, whom no permission stops."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that others may enter: pytest's own are the owner's alone."""
    folder = Path(f"/tmp/leveler-{os.getpid()}-{time.monotonic_ns()}")
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_file_that_may_not_be_written_is_named(open_folder: Path) -> None:
    path = open_folder / "q.db"
    asyncio.run(_modes(path))
    path.chmod(0o444)
    with nobody():
        error = asyncio.run(opening(path))
    assert isinstance(error, AccessDenied)


def test_a_folder_that_may_not_be_written_is_named(open_folder: Path) -> None:
    with nobody():
        error = asyncio.run(opening(open_folder / "new.db"))
    assert isinstance(error, AccessDenied)


def test_a_folder_in_which_no_log_can_be_made_is_said(open_folder: Path) -> None:
    path = open_folder / "q.db"
    asyncio.run(_modes(path))
    path.chmod(0o666)
    open_folder.chmod(0o555)
    with nobody():
        error = asyncio.run(opening(path))
    assert isinstance(error, AccessDenied)
    assert "folder" in str(error)


# -- who makes it


async def _error_of(verb: Awaitable[object]) -> str:
    with pytest.raises(QueueNotFound) as missing:
        await verb
    return str(missing.value)


def test_whoever_only_looks_leaves_no_file_behind(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "mistyped.db"
        skipped = replace(QUEUE, declare="skip")
        async with adapter(path) as opened:
            await opened.declare(skipped)
            receiver = opened.receiver(skipped, capacity=1, dead=True)
            for verb in (
                opened.depth(skipped),
                opened.peek(skipped, 1),
                opened.purge(skipped),
                opened.sender(skipped).send([MESSAGE]),
                receiver.receive(1, 0.0),
                opened.declare(replace(QUEUE, declare="verify")),
            ):
                assert f"{path}: there is no such file" in await _error_of(verb)
            await opened.drop(skipped)
            await receiver.close()
        assert os.listdir(tmp_path) == []

    asyncio.run(story())


def test_a_file_that_is_made_by_another_is_found_later(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "q.db"
        skipped = replace(QUEUE, declare="skip")
        async with adapter(path) as early, adapter(path) as maker:
            await early.declare(skipped)
            sender = early.sender(skipped)
            await _error_of(sender.send([MESSAGE]))
            await maker.declare(QUEUE)
            await sender.send([MESSAGE])
            assert (await early.depth(skipped)).ready == 1

    asyncio.run(story())


def test_a_file_that_is_made_twice_at_once_is_opened_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await asyncio.gather(*(opened.declare(QUEUE) for _ in range(8)))
            assert [thread.name for thread in threading.enumerate()].count(f"sqlite {tmp_path / 'q.db'}") == 1
        with pytest.raises(NotStarted):
            await opened.declare(QUEUE)

    asyncio.run(story())


def test_a_file_whose_tables_another_makes_between_two_looks_is_not_a_foreign_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that start together: between its looks at a new file one met the tables of the other, and ended."""
    path = str(tmp_path / "new.db")
    Path(path).touch()
    others: list[threading.Thread] = []

    class Slow(sqlite3.Connection):
        def execute(self, sql: str, *words: Any) -> sqlite3.Cursor:
            if sql == "PRAGMA user_version" and not others:
                others.append(threading.Thread(target=lambda: schema.connect(path, wait_seconds=10).close()))
                others[0].start()
                others[0].join(0.5)  # or it waits for us
            return super().execute(sql, *words)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Slow))
    schema.connect(path, wait_seconds=10).close()
    others[0].join(10)
    assert not others[0].is_alive()
    schema.connect(path, wait_seconds=10).close()


def test_a_queue_that_is_not_in_the_file_is_told_with_those_that_are(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "q.db"
        async with adapter(path) as opened:
            await opened.declare(QUEUE)
            error = await _error_of(opened.depth(QueueSpec(name="ordres")))
        assert f"queue 'ordres' is not in {path}, which has 'orders'" in error

    asyncio.run(story())
