"""What is in a file of queues: ours, of this version and whole, or it is refused and left alone."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from leveler_sqlite import SQLiteAdapter, schema
from leveler_sqlite.envelope import encode

from leveler.adapter import Abandon, DeadLetter, QueueSpec
from leveler.clock import SystemClock
from leveler.errors import ConfigError
from leveler.message import Death, Message
from leveler.testing.contract import errors_of
from tests.contract.sqlite_scene import QUEUE, adapter, execute, fill, messages, opening


async def opening_well(path: Path) -> None:
    async with adapter(path) as opened:
        depth = await opened.depth(QUEUE)
        assert len(await opened.receiver(QUEUE, capacity=100).receive(100, 0.0)) == depth.ready


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(fill(path, 1))
    execute(path, "PRAGMA user_version = 99")
    error = asyncio.run(opening(path))
    assert isinstance(error, ConfigError)
    assert "99" in str(error)
    assert "upgrade leveler" in str(error)
    assert execute(path, "PRAGMA user_version") == (99,)


def test_an_older_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(fill(path, 1))
    execute(path, "PRAGMA user_version = 1")
    error = asyncio.run(opening(path))
    assert isinstance(error, ConfigError)
    assert "schema 1 of an earlier leveler" in str(error)
    assert "let that version drain the queues" in str(error)
    assert execute(path, "PRAGMA user_version") == (1,)


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    execute(path, "CREATE TABLE theirs (id)")
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
    asyncio.run(fill(path, 50))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    error = asyncio.run(opening(path))
    assert isinstance(error, ConfigError)
    assert "damaged" in str(error)


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
    assert 5 < execute(tmp_path / "copy.db", "SELECT count(*) FROM message")[0] < 30
    asyncio.run(opening_well(tmp_path / "copy.db"))
    assert integrity(tmp_path / "copy.db") == "ok"


def test_a_spoilt_envelope_does_not_keep_the_others_from_coming(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(fill(path, 3))
    execute(path, "UPDATE message SET envelope = 'spoilt' WHERE id = 2")

    async def receive() -> list[Message]:
        async with adapter(path) as opened:
            return [one.message for one in await opened.receiver(QUEUE, capacity=9).receive(9, 0.0)]

    came = asyncio.run(receive())
    assert [message.id for message in came] == ["0", "sqlite-2", "2"]
    assert came[1].body == b"x" * 1000


def test_an_envelope_of_a_later_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(fill(path, 1))
    later = encode(messages(1)[0]).decode()[:-1] + ',"colour":"green"}'
    execute(path, f"UPDATE message SET envelope = '{later}'")

    async def receive() -> Message:
        async with adapter(path) as opened:
            [delivery] = await opened.receiver(QUEUE, capacity=9).receive(9, 0.0)
            return delivery.message

    assert asyncio.run(receive()).id == "0"


def test_order_cannot_be_asked_of_what_waits_already(tmp_path: Path) -> None:
    async def both(then: QueueSpec) -> None:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(then)

    asyncio.run(fill(tmp_path / "q.db", 1))
    with pytest.raises(ConfigError, match="ordered is True, but the queue in the file was made with False"):
        asyncio.run(both(QueueSpec(name="orders", ordered=True)))
    asyncio.run(both(QUEUE))


#: The tables that grow, under all the names that statements give them.
_TABLES = {"queue", "message", "bundle", "rest", "ready", "held", "line", "seen", "r", "h", "m", "b"}


def test_no_verb_gets_slower_with_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement finds its rows through an index, and those of a key through the one on what is leased."""
    said: set[str] = set()
    connect = schema.connect

    def traced(path: str, *, wait_seconds: float) -> sqlite3.Connection:
        connection = connect(path, wait_seconds=wait_seconds)
        connection.set_trace_callback(said.add)
        return connection

    monkeypatch.setattr(schema, "connect", traced)
    asyncio.run(_every_verb(tmp_path / "q.db"))
    verbs = [statement for statement in said if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")]
    assert len(verbs) > 40
    for statement in verbs:
        plan = [row[3] for row in _query(tmp_path / "q.db", f"EXPLAIN QUERY PLAN {statement}")]
        whole = [line for line in plan if line.split()[0] == "SCAN" and line.split()[1] in _TABLES]
        assert whole == [], statement
        if "AND state = 1" in statement:
            assert any("line_leased" in line for line in plan), statement


async def _every_verb(path: Path) -> None:
    async with adapter(path) as opened:
        for name, ordered in (("orders", False), ("others", True)):
            queue = QueueSpec(name=name, ordered=ordered, dedup_seconds=5.0, max_depth=15)
            await _every_verb_of(opened, queue)


async def _every_verb_of(opened: SQLiteAdapter, queue: QueueSpec) -> None:
    await opened.declare(queue)
    now = SystemClock().now()
    for numbers in (range(12), range(12, 20)):
        batch = [Message(id=str(number), body=b"", key=f"k{number % 3}", time=now) for number in numbers]
        await errors_of(opened.sender(queue).send, batch)
    receiver = opened.receiver(queue, capacity=100)
    done, dead, now_again, *later = await receiver.receive(9, 0.0)
    await receiver.extend([done])
    await receiver.complete([done])
    await receiver.dead_letter([DeadLetter(dead, Death(reason="rejected"))])
    await receiver.abandon([Abandon(now_again), *(Abandon(one, 0.1) for one in later)])
    await asyncio.sleep(0.15)
    await receiver.receive(9, 0.0)
    await opened.depth(queue)
    await opened.peek(queue, 5)
    await opened.purge(queue)
    await opened.drop(queue)


def _query(path: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_dead_letters_stand_as_they_were_sent_whatever_their_priority(tmp_path: Path) -> None:
    async def story() -> list[str]:
        async with adapter(tmp_path / "q.db") as opened:
            await opened.declare(QUEUE)
            now = SystemClock().now()
            batch = [
                Message(id=f"priority-{priority}", body=b"", priority=priority, time=now) for priority in (0, 9, 4)
            ]
            await opened.sender(QUEUE).send(batch)
            receiver = opened.receiver(QUEUE, capacity=3)
            deliveries = await receiver.receive(3, 0.0)
            await receiver.dead_letter([DeadLetter(one, Death(reason="rejected")) for one in deliveries])
            return [message.id for message in await opened.peek(QUEUE, 3, dead=True)]

    assert asyncio.run(story()) == ["priority-0", "priority-9", "priority-4"]
