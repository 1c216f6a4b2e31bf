"""What may go wrong with a file: each time one clear error, nothing half done, and the file intact."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions, location, schema, writer
from leveler_sqlite.envelope import encode
from leveler_sqlite.errors import free_bytes

from leveler.adapter import Depth, QueueSpec
from leveler.clock import Clock, SystemClock
from leveler.errors import (
    AccessDenied,
    BatchError,
    BrokerUnavailable,
    ConfigError,
    LevelerError,
    NotStarted,
)
from leveler.message import Message

QUEUE = QueueSpec(name="orders")


def adapter(path: Path, *, deadline_seconds: float = 10.0, clock: Clock | None = None, **options: Any) -> SQLiteAdapter:
    return SQLiteAdapter(
        f"sqlite:///{path}", SQLiteOptions(**options), clock=clock or SystemClock(), deadline_seconds=deadline_seconds
    )


def messages(count: int, body: bytes = b"x" * 1000) -> list[Message]:
    return [Message(id=str(number), body=body, time=SystemClock().now()) for number in range(count)]


async def depth_of(path: Path) -> Depth:
    async with adapter(path) as other:
        return await other.depth(QUEUE)


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


async def opening(path: Path, **options: Any) -> LevelerError:
    """The error with which the file is refused."""
    with pytest.raises(LevelerError) as refused:
        async with adapter(path, **options) as opened:
            await opened.declare(QUEUE)
    assert str(path) in str(refused.value)
    return refused.value


# -- where the file is


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
    assert location.prepare(str(tmp_path / "q.db")) == str(tmp_path / "q.db")


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


# -- what is in it


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(_modes(path))
    _execute(path, "PRAGMA user_version = 99")
    error = asyncio.run(opening(path))
    assert isinstance(error, ConfigError)
    assert "99" in str(error)
    assert "upgrade leveler" in str(error)
    assert _execute(path, "PRAGMA user_version") == (99,)


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    _execute(path, "CREATE TABLE theirs (id)")
    before = path.read_bytes()
    assert isinstance(asyncio.run(opening(path)), ConfigError)
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    path.write_bytes(b"id,total\n42,9.5\n" * 1000)
    before = path.read_bytes()
    error = asyncio.run(opening(path))
    assert isinstance(error, ConfigError)
    assert "not an SQLite database" in str(error)
    assert path.read_bytes() == before


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(_fill(path, 50))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    error = asyncio.run(opening(path))
    assert isinstance(error, ConfigError)
    assert "damaged" in str(error)


async def _fill(path: Path, count: int) -> None:
    async with adapter(path) as opened:
        await opened.declare(QUEUE)
        for message in messages(count):
            await opened.sender(QUEUE).send([message])


def test_a_log_that_was_cut_off_in_the_middle_costs_its_last_commits_and_nothing_else(tmp_path: Path) -> None:
    async def torn() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(QUEUE)
            for message in messages(30):
                await opened.sender(QUEUE).send([message])
            shutil.copy(tmp_path / "q.db", tmp_path / "copy.db")
            log = (tmp_path / "q.db-wal").read_bytes()
            (tmp_path / "copy.db-wal").write_bytes(log[: len(log) * 2 // 3])

    asyncio.run(torn())
    depth = asyncio.run(depth_of(tmp_path / "copy.db"))
    assert depth.ready is not None
    assert 5 < depth.ready < 30
    assert integrity(tmp_path / "copy.db") == "ok"


def test_a_spoilt_envelope_does_not_keep_the_others_from_coming(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(_fill(path, 3))
    _execute(path, "UPDATE message SET envelope = 'spoilt' WHERE id = 2")

    async def receive() -> list[Message]:
        async with adapter(path) as opened:
            return [one.message for one in await opened.receiver(QUEUE, capacity=9).receive(9, 0.0)]

    came = asyncio.run(receive())
    assert [message.id for message in came] == ["0", "sqlite-2", "2"]
    assert came[1].body == b"x" * 1000


def test_an_envelope_of_a_later_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(_fill(path, 1))
    later = encode(messages(1)[0])[:-1] + ',"colour":"green"}'
    _execute(path, f"UPDATE message SET envelope = '{later}'")

    async def receive() -> Message:
        async with adapter(path) as opened:
            [delivery] = await opened.receiver(QUEUE, capacity=9).receive(9, 0.0)
            return delivery.message

    assert asyncio.run(receive()).id == "0"


def _execute(path: Path, statement: str) -> object:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchone()
    finally:
        connection.close()


def test_order_cannot_be_asked_of_what_waits_already(tmp_path: Path) -> None:
    async def both(then: QueueSpec) -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(then)

    asyncio.run(_fill(tmp_path / "q.db", 1))
    with pytest.raises(ConfigError, match="ordered is True, but the queue in the file was made with False"):
        asyncio.run(both(QueueSpec(name="orders", ordered=True)))
    asyncio.run(both(QUEUE))


# -- when it cannot be written


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


async def _until_full(path: Path) -> None:
    async with adapter(path) as opened:
        await opened.declare(QUEUE)
        sender, accepted = opened.sender(QUEUE), 0
        with pytest.raises(BrokerUnavailable) as full:
            while True:
                await sender.send(messages(10, b"x" * 5000))
                accepted += 10
        assert str(path) in str(full.value)
        assert "free some space" in str(full.value)
        assert accepted >= 10
        assert (await opened.depth(QUEUE)).ready == accepted
        receiver = opened.receiver(QUEUE, capacity=1000)
        while deliveries := await receiver.receive(10, 0.0):
            await receiver.complete(deliveries)
            accepted -= len(deliveries)
        assert accepted == 0
        await sender.send(messages(10, b"x" * 5000))
    assert integrity(path) == "ok"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else in a transaction."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_lock_that_is_not_given_back_is_said_within_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "q.db"

    async def story() -> None:
        async with adapter(path, deadline_seconds=0.5) as opened:
            await opened.declare(QUEUE)
            started = time.monotonic()
            with locked(path):
                errors = await asyncio.gather(
                    *(opened.sender(QUEUE).send([message]) for message in messages(3)), return_exceptions=True
                )
            assert time.monotonic() - started < 2.0
            for error in errors:
                assert isinstance(error, BrokerUnavailable)
                assert str(path) in str(error)
                assert "another process holds the write lock" in str(error)
            await opened.sender(QUEUE).send(messages(1))
            assert (await opened.depth(QUEUE)).ready == 1  # what was refused was not done later

    asyncio.run(story())


def test_a_lock_that_is_given_back_in_time_is_not_noticed(tmp_path: Path) -> None:
    path = tmp_path / "q.db"

    async def story() -> None:
        async with adapter(path) as opened:
            await opened.declare(QUEUE)
            held = locked(path)
            held.__enter__()
            sending = asyncio.ensure_future(opened.sender(QUEUE).send(messages(1)))
            await asyncio.sleep(0.2)
            assert not sending.done()
            held.__exit__(None, None, None)
            await sending

    asyncio.run(story())


def test_an_opening_that_finds_the_file_locked_says_so(tmp_path: Path) -> None:
    asyncio.run(_fill(tmp_path / "q.db", 1))
    with locked(tmp_path / "q.db"):
        error = asyncio.run(opening(tmp_path / "q.db", deadline_seconds=0.3))
    assert isinstance(error, BrokerUnavailable)
    assert "write lock" in str(error)


def test_a_receive_that_waits_for_the_lock_can_be_stopped(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(_fill(path, 1))

    async def story() -> None:
        async with adapter(path) as opened:
            receiver = opened.receiver(QUEUE, capacity=5)
            with locked(path):
                waiting = asyncio.ensure_future(receiver.receive(5, 5.0))
                await asyncio.sleep(0.1)
                await receiver.hold(0)
                assert await asyncio.wait_for(waiting, 1.0) == []
            depth = await opened.depth(QUEUE)
            assert (depth.ready, depth.leased) == (1, 0)

    asyncio.run(story())


def test_looking_does_not_need_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(_fill(path, 2))

    async def story() -> None:
        async with adapter(path) as opened:
            with locked(path):
                assert (await opened.depth(QUEUE)).ready == 2
                assert len(await opened.peek(QUEUE, 5)) == 2

    asyncio.run(story())


def test_a_file_that_was_deleted_takes_no_more_messages(tmp_path: Path) -> None:
    path = tmp_path / "q.db"

    async def story() -> None:
        async with adapter(path) as opened:
            await opened.declare(QUEUE)
            path.unlink()
            with pytest.raises(BrokerUnavailable, match="moved, deleted or replaced"):
                await opened.sender(QUEUE).send(messages(1))

    asyncio.run(story())


# -- one commit, many verbs


def test_what_is_wrong_with_one_send_is_its_own_affair(tmp_path: Path) -> None:
    bounded = QueueSpec(name="orders", max_depth=2)

    async def story() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(bounded)
            answers = await asyncio.gather(
                *(opened.sender(bounded).send([message]) for message in messages(3)),
                opened.sender(QueueSpec(name="missing")).send(messages(1)),
                opened.sender(bounded).send([Message(id="bad", body=b"", time=SystemClock().now(), type="\ud800")]),
                return_exceptions=True,
            )
            assert answers[:2] == [None, None]
            assert [_only(answer) for answer in answers[2:]] == ["QueueFull", "QueueNotFound", "InvalidMessage"]
            assert (await opened.depth(bounded)).ready == 2

    asyncio.run(story())


def _only(error: object) -> str:
    return type(error.failed[0] if isinstance(error, BatchError) else error).__name__


def test_a_failure_in_the_file_fails_only_whom_it_concerns(tmp_path: Path) -> None:
    other = QueueSpec(name="others")

    async def story() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            for queue in (QUEUE, other):
                await opened.declare(queue)
            [number] = _execute(tmp_path / "q.db", "SELECT id FROM queue WHERE name = 'others'")  # type: ignore[misc]
            _execute(
                tmp_path / "q.db",
                f"CREATE TRIGGER broken BEFORE INSERT ON ready WHEN new.queue = {number} "
                "BEGIN SELECT RAISE(ABORT, 'out of order'); END",
            )
            sends = [opened.sender(queue).send(messages(2)) for queue in (QUEUE, other, QUEUE)]
            answers = await asyncio.gather(*sends, return_exceptions=True)
            assert answers[0] is None
            assert answers[2] is None
            assert isinstance(answers[1], LevelerError)
            assert "out of order" in str(answers[1])
            assert (await opened.depth(QUEUE)).ready == 4
            assert (await opened.depth(other)).ready == 0

    asyncio.run(story())


def test_a_loop_that_waits_for_an_answer_lets_go_of_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy loop would otherwise starve the thread, for seconds on a host that has nothing else to do."""
    path = tmp_path / "q.db"
    naps: list[float] = []

    async def story() -> None:
        async with adapter(path) as opened:
            await opened.declare(QUEUE)
            with locked(path):
                naps.clear()
                sending = asyncio.ensure_future(opened.sender(QUEUE).send(messages(1)))
                await asyncio.sleep(0.1)
                assert len(naps) >= 3
            await sending
            naps.clear()
            await asyncio.sleep(0.1)
            assert naps == []

    monkeypatch.setattr(writer.time, "sleep", naps.append)
    asyncio.run(story())


def test_a_receive_that_is_given_up_gives_back_what_comes_late(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(_fill(path, 3))

    async def story() -> None:
        async with adapter(path) as opened:
            receiver = opened.receiver(QUEUE, capacity=5)
            waiting = asyncio.ensure_future(receiver.receive(5, 5.0))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            time.sleep(0.2)  # noqa: ASYNC251  # the thread has claimed by then, and nobody has been told
            waiting.cancel()
            await asyncio.sleep(0.1)
            assert (await opened.depth(QUEUE)).leased == 0
            again = await opened.receiver(QUEUE, capacity=5).receive(5, 0.0)
            assert [one.attempt for one in again] == [1, 1, 1]

    asyncio.run(story())


# -- processes and options


def test_after_a_fork_the_adapter_says_that_it_cannot_be_used(tmp_path: Path) -> None:
    async def story() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(QUEUE)
            opened._writer._process -= 1  # as a forked child sees it
            with pytest.raises(NotStarted, match="fork"):
                await opened.sender(QUEUE).send(messages(1))
            opened._writer._process += 1

    asyncio.run(story())


def test_an_adapter_that_is_not_open_says_so(tmp_path: Path) -> None:
    closed = adapter(tmp_path / "q.db")
    with pytest.raises(NotStarted):
        closed.sender(QUEUE)


def test_no_thread_and_no_log_is_left_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    asyncio.run(_fill(tmp_path / "q.db", 5))
    assert set(threading.enumerate()) <= before
    assert [name.name for name in tmp_path.iterdir()] == ["q.db"]


def test_normal_commits_are_reported_as_degraded(tmp_path: Path) -> None:
    async def degraded(**options: Any) -> tuple[str, ...]:
        async with adapter(tmp_path / "q.db", **options) as opened:
            return (await opened.declare(QUEUE)).degraded

    assert asyncio.run(degraded()) == ()
    [line] = asyncio.run(degraded(synchronous="normal"))
    assert "power loss" in line


@pytest.mark.parametrize("options", [{"synchronous": "off"}, {"poll_seconds": 0.0}, {"max_message_bytes": 1}])
def test_a_wrong_option_is_refused_with_what_was_expected(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is .*expected"):
        SQLiteOptions(**options)


def test_acceptance_is_synced_and_a_lease_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    async def story(act: Callable[[SQLiteAdapter], Any]) -> list[str]:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(QUEUE)
            said.clear()
            await act(opened)
            return list(said)

    connect = schema.connect

    def traced(path: str, *, wait_seconds: float) -> sqlite3.Connection:
        connection = connect(path, wait_seconds=wait_seconds)
        connection.set_trace_callback(
            lambda text: said.append(text) if text.startswith(("PRAGMA sync", "COMMIT")) else None
        )
        return connection

    monkeypatch.setattr(schema, "connect", traced)
    assert asyncio.run(story(lambda opened: opened.sender(QUEUE).send(messages(1)))) == ["COMMIT"]
    taken = asyncio.run(story(lambda opened: opened.receiver(QUEUE, capacity=1).receive(1, 0.0)))
    assert "PRAGMA synchronous = NORMAL" in taken
