"""A file that somebody else has locked, or taken away: said within the deadline, and nothing is done later."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from leveler.errors import BrokerUnavailable
from tests.contract.sqlite_scene import QUEUE, adapter, fill, locked, messages, opening


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
    asyncio.run(fill(tmp_path / "q.db", 1))
    with locked(tmp_path / "q.db"):
        error = asyncio.run(opening(tmp_path / "q.db", deadline_seconds=0.3))
    assert isinstance(error, BrokerUnavailable)
    assert "write lock" in str(error)


def test_a_receive_that_waits_for_the_lock_can_be_stopped(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(fill(path, 1))

    async def story() -> None:
        async with adapter(path) as opened:
            receiver = opened.receiver(QUEUE, capacity=5)
            with locked(path):
                waiting = asyncio.ensure_future(receiver.receive(5, 5.0))
                await asyncio.sleep(0.1)
                await receiver.hold(0)
                assert await asyncio.wait_for(waiting, 4.0) == []
            depth = await opened.depth(QUEUE)
            assert (depth.ready, depth.leased) == (1, 0)

    asyncio.run(story())


def test_looking_does_not_need_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    asyncio.run(fill(path, 2))

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
