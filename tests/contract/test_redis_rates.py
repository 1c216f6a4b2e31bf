"""What the contract cannot see of the rates that a Redis server keeps."""

from __future__ import annotations

import asyncio

import redis as client

from leveler.adapter import Adapter
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.schedule import Ask
from tests.containers.keeper import Kept

RATE = "downstreams.billing"
ASK = Ask("me", 4, 0.5, 60.0, 0.1, 60.0)


def at(redis: Kept, prefix: str) -> Adapter:
    return find(f"{redis.url}?prefix={prefix}", clock=SystemClock(), deadline_seconds=5.0)


def test_a_server_that_forgets_scripts_keeps_the_rate(redis: Kept) -> None:
    async def play() -> None:
        async with at(redis, "forgotten:") as adapter:
            await adapter.reserve(RATE, ASK)
            with client.Redis.from_url(redis.url) as server:
                server.script_flush()
            assert 0.0 < (await adapter.reserve(RATE, ASK)).wait_seconds <= 2.0

    asyncio.run(play())


def test_a_rate_that_nobody_asks_for_leaves_nothing_behind(redis: Kept) -> None:
    """The mark goes an hour after the last start that is due, and who asked with it."""

    async def play() -> None:
        async with at(redis, "left:") as adapter:
            await adapter.reserve(RATE, ASK._replace(starts=1000))

    asyncio.run(play())
    with client.Redis.from_url(redis.url) as server:
        mark, askers = b"left:{rate:downstreams.billing}", b"left:{rate:downstreams.billing}:askers"
        assert sorted(server.scan_iter("left:*")) == [mark, askers]
        assert 3600 + 490 <= server.ttl(mark) <= 3600 + 500
        assert 3600 + 50 <= server.ttl(askers) <= 3600 + 60
        server.delete(mark, askers)


def test_a_server_whose_clock_was_set_back_goes_on(redis: Kept) -> None:
    async def play() -> None:
        async with at(redis, "back:") as adapter:
            await adapter.reserve(RATE, ASK)
            with client.Redis.from_url(redis.url) as server:
                key = "back:{rate:downstreams.billing}"
                server.hset(key, "due", repr(float(server.hget(key, "due") or 0) + 3600e6))
                server.zadd(f"{key}:askers", {"before": 1e17})
            stretch = await adapter.reserve(RATE, ASK)
            assert (stretch.starts, stretch.workers) == (4, 1)
            assert stretch.wait_seconds <= 0

    asyncio.run(play())
