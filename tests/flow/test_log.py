"""What a worker's log says of runs that fail: enough to find the line, in one line, and no secret."""

from __future__ import annotations

import logging

import pytest

from leveler import BrokerUnavailable, Reject, Retry
from tests.flow.conftest import QUEUE, Stage


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "leveler"]


async def test_a_failed_run_is_told_with_its_error_and_the_line(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def charge(order: dict[str, int]) -> None:
        int("no number")

    with caplog.at_level(logging.INFO, "leveler"):
        async with stage.run(stage.app(charge, attempts=2)) as t:
            sent = await t.send(QUEUE, {})
            await t.drain()
            await t.advance(3600)

    [failed, dead] = _lines(caplog)
    error = "ValueError: invalid literal for int() with base 10: 'no number'"
    line = charge.__code__.co_firstlineno + 1
    assert failed.startswith(f"{QUEUE}: attempt 1 of message {sent.id} failed, the next is due in ")
    assert failed.endswith(f"s: {error} (test_log.py:{line})")
    assert dead == f"{QUEUE}: message {sent.id} dead-lettered after attempt 2: exhausted: {error} (test_log.py:{line})"
    assert [record.exc_info for record in caplog.records] == [None, None]


async def test_the_traceback_is_there_for_whoever_wants_it(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def charge(order: dict[str, int]) -> None:
        raise ValueError("a negative total")

    with caplog.at_level(logging.DEBUG, "leveler"):
        async with stage.run(stage.app(charge, attempts=2)) as t:
            await t.send(QUEUE, {})
            await t.drain()

    assert 'raise ValueError("a negative total")' in caplog.text


async def test_no_error_breaks_the_line_or_shows_a_password(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    errors = iter([OSError("no answer\nfrom \x1b[31mamqp://me:s3cr3t@host/"), OSError("x" * 9999), Broken()])

    async def charge(order: dict[str, int]) -> None:
        raise next(errors)

    with caplog.at_level(logging.INFO, "leveler"):
        async with stage.run(stage.app(charge, attempts=3)) as t:
            await t.send(QUEUE, {})
            await t.drain()
            await t.advance(3600)

    first, long, last = _lines(caplog)
    assert r"OSError: no answer\nfrom \x1b[31mamqp://***@host/" in first
    assert len(long) < 500
    assert "Broken: its text cannot be read: RuntimeError" in last


async def test_what_a_handler_decides_is_no_failure(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def charge(number: int) -> None:
        raise Retry(after=5) if number else Reject("a negative total")

    with caplog.at_level(logging.INFO, "leveler"):
        async with stage.run(stage.app(charge)) as t:
            await t.send(QUEUE, 1)
            sent = await t.send(QUEUE, 0)
            await t.drain()

    assert _lines(caplog) == [f"{QUEUE}: message {sent.id} dead-lettered after attempt 1: rejected: a negative total"]


async def test_an_outage_is_told_less_and_less_often_and_its_end_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async def charge(number: int) -> None: ...

    async with stage.run(stage.app(charge)) as t:
        await t.advance(1)
        with caplog.at_level(logging.INFO, "leveler"):
            with t.faults.failing("receive", BrokerUnavailable("nobody answers")):
                await t.advance(3600)
            outage = _lines(caplog)
            await t.advance(60)

    times = len([event for event in outage if "nobody answers" in event])
    assert 1 <= times <= 12
    assert outage[-1].endswith(f"nobody answers ({2 ** (times - 1)} times by now)")
    assert _lines(caplog)[len(outage) :] == [f"{QUEUE}: receiving again"]
