"""Many verbs share a commit, a thread and an event loop: each answers for itself."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions, schema

from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.errors import BatchError, BrokerUnavailable, ConfigError, LevelerError, NotStarted, SendUnknown
from leveler.message import Message
from tests.contract.sqlite_scene import QUEUE, adapter, execute, fill, locked, messages


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


def test_sends_of_one_turn_have_each_an_answer_of_its_own(tmp_path: Path) -> None:
    bounded = QueueSpec(name="orders", max_depth=5)

    async def story() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(bounded)
            sender, three = opened.sender(bounded), messages(3)
            sends = [sender.send(batch) for batch in ([three[0]], three, three, [three[0]])]
            answers = await asyncio.gather(*sends, return_exceptions=True)
            assert answers[:2] == [None, None]
            assert [list(answer.failed) for answer in answers[2:] if isinstance(answer, BatchError)] == [[1, 2], [0]]

    asyncio.run(story())


def test_a_send_that_is_given_up_takes_no_other_along_and_all_of_them_do_nothing(tmp_path: Path) -> None:
    path = tmp_path / "q.db"

    async def sending(opened: SQLiteAdapter, given_up: int) -> None:
        sender = opened.sender(QUEUE)
        with locked(path):
            sends = [asyncio.ensure_future(sender.send([message])) for message in messages(3)]
            await asyncio.sleep(0.05)
            for send in sends[:given_up]:
                send.cancel()
            await asyncio.wait(sends[:given_up])
        assert [answer is None for answer in await asyncio.gather(*sends, return_exceptions=True)] == [
            place >= given_up for place in range(3)
        ]

    async def story() -> None:
        async with adapter(path) as opened:
            await opened.declare(QUEUE)
            await sending(opened, 3)
            assert (await opened.depth(QUEUE)).ready == 0
            await sending(opened, 1)
            assert (await opened.depth(QUEUE)).ready in (2, 3)

    asyncio.run(story())


def test_a_failure_in_the_file_fails_only_whom_it_concerns(tmp_path: Path) -> None:
    other = QueueSpec(name="others")

    async def story() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            for queue in (QUEUE, other):
                await opened.declare(queue)
            [number] = execute(tmp_path / "q.db", "SELECT id FROM queue WHERE name = 'others'")
            execute(
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

    monkeypatch.setattr("leveler_sqlite.writer.time.sleep", naps.append)
    asyncio.run(story())


def test_a_receive_that_is_given_up_gives_back_what_comes_late(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(fill(path, 3))

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


class Disk:
    """A connection to a file on a disk that may stand still, or break, just when a commit is to be written."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.broken = False
        self.asked = threading.Event()
        self.turns = threading.Event()
        self.turns.set()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if statement == "COMMIT":
            self.asked.set()
            self.turns.wait()
            if self.broken:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
        return self._connection.execute(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> list[Disk]:
    """Those of the files that are opened from now on."""
    found: list[Disk] = []
    connect = schema.connect

    def connected(path: str, *, wait_seconds: float) -> Disk:
        found.append(Disk(connect(path, wait_seconds=wait_seconds)))
        return found[-1]

    monkeypatch.setattr(schema, "connect", connected)
    return found


def test_a_commit_whose_fate_nobody_knows_is_said_to_be_unknown(tmp_path: Path, disks: list[Disk]) -> None:
    async def story() -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(QUEUE)
            await opened.sender(QUEUE).send(messages(1))
            receiver = opened.receiver(QUEUE, capacity=1)
            [delivery] = await receiver.receive(1, 0.0)
            disks[0].broken = True
            with pytest.raises(SendUnknown, match="may or may not"):
                await opened.sender(QUEUE).send(messages(1))
            with pytest.raises(BrokerUnavailable, match="may or may not"):
                await receiver.complete([delivery])
            disks[0].broken = False
            await receiver.complete([delivery])
            assert (await opened.depth(QUEUE)).ready == 0

    asyncio.run(story())


def test_a_disk_that_does_not_answer_in_time_leaves_a_send_unknown(tmp_path: Path, disks: list[Disk]) -> None:
    async def story() -> None:
        async with adapter(tmp_path / "q.db", deadline_seconds=0.5) as opened:
            await opened.declare(QUEUE)
            disks[0].asked.clear()
            disks[0].turns.clear()
            try:
                under_way = asyncio.ensure_future(opened.sender(QUEUE).send(messages(1)))
                assert await asyncio.to_thread(disks[0].asked.wait, 10.0)
                with pytest.raises(BrokerUnavailable, match="nothing was done"):
                    await opened.sender(QUEUE).send(messages(1))
                with pytest.raises(SendUnknown, match="may yet be done"):
                    await under_way
            finally:
                disks[0].turns.set()
            await opened.sender(QUEUE).send(messages(1))  # behind both
            assert (await opened.depth(QUEUE)).ready == 2

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
    asyncio.run(fill(tmp_path / "q.db", 5))
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


def test_much_of_a_log_is_copied_while_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    connect = schema.connect

    def traced(path: str, *, wait_seconds: float) -> sqlite3.Connection:
        connection = connect(path, wait_seconds=wait_seconds)
        connection.set_trace_callback(said.append)
        return connection

    async def copied_after(count: int, *, seconds: float) -> bool:
        async with adapter(tmp_path / f"{count}.db") as opened:
            await opened.declare(QUEUE)
            said.clear()
            await opened.sender(QUEUE).send(messages(count, b"x" * 100_000))
            until = time.monotonic() + seconds
            while _COPY not in said and time.monotonic() < until:  # noqa: ASYNC110  # what is waited for is in a thread
                await asyncio.sleep(0.01)
        return _COPY in said and said.index("COMMIT") < said.index(_COPY)

    monkeypatch.setattr(schema, "connect", traced)
    assert not asyncio.run(copied_after(10, seconds=0.1))
    assert asyncio.run(copied_after(35, seconds=10))


_COPY = "PRAGMA wal_checkpoint(PASSIVE)"
