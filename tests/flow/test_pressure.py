"""Back-pressure: a queue that is full takes no more; `send` says so or waits for room, and nothing is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from leveler import BatchError, ConfigError, ConsumerSettings, Leveler, LimitSettings, QueueFull, Settings
from leveler.adapter import Capabilities
from leveler.runtime import check_wait
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage

PER_SECOND = 20.0


def bounded(stage: Stage, handle: Callable[..., Any] | None, **queue: Any) -> Leveler:
    """An app that handles twenty a second."""
    app = Leveler(
        settings=Settings(send_timeout_seconds=10.0),
        queues={QUEUE: stage.queue(**queue)},
        consumers={QUEUE: ConsumerSettings(limits=LimitSettings(concurrency=64, rate_per_second=PER_SECOND))},
    )
    if handle is not None:
        app.consumer(QUEUE)(handle)
    return app


async def _nothing(number: int) -> None: ...


async def _ended(t: TestApp, sending: asyncio.Future[Any], seconds: float) -> bool:
    """Whether it has ended within so long."""
    for _ in range(int(seconds / 0.5)):
        if sending.done():
            return True
        await t.advance(0.5)
    return sending.done()


async def test_above_its_depth_a_queue_refuses_and_what_it_took_stays(stage: Stage) -> None:
    app = bounded(stage, None, max_depth=10)
    async with stage.run(app) as t:
        for number in range(10):
            await t.send(QUEUE, number)
        with pytest.raises(QueueFull):
            await t.send(QUEUE, 10)
        with pytest.raises(BatchError) as refused:
            await t.send_many(QUEUE, range(3))
        assert all(isinstance(error, QueueFull) for error in refused.value.failed.values())
        assert (await t.depth(QUEUE)).ready == 10


@pytest.mark.parametrize("how", ["by its settings", "by its call"])
async def test_a_send_that_may_wait_is_accepted_when_there_is_room(stage: Stage, how: str) -> None:
    app = bounded(stage, _nothing, max_depth=10, when_full="block" if how == "by its settings" else "reject")
    words: Any = {} if how == "by its settings" else {"block": 10}
    async with stage.run(app) as t:
        sending = asyncio.ensure_future(t.send_many(QUEUE, range(100), **words))
        assert await _ended(t, sending, 9)
        assert len(await sending) == 100
        await t.advance(10)
        assert [event.attempt for event in t.completed] == [1] * 100
        assert len({event.message.id for event in t.completed}) == 100


async def test_who_waits_too_long_is_told_which_were_not_sent(stage: Stage) -> None:
    app = bounded(stage, _nothing, max_depth=10, when_full="block")
    async with stage.run(app) as t:
        sending = asyncio.ensure_future(t.send_many(QUEUE, range(1000)))
        assert await _ended(t, sending, 15)
        with pytest.raises(BatchError) as refused:
            await sending
        failed = refused.value.failed
        assert all(isinstance(error, QueueFull) for error in failed.values())
        sent = 1000 - len(failed)
        assert sent >= 9 * PER_SECOND
        await t.advance(20)
        assert len(t.completed) == sent
        assert sorted(failed) == list(range(sent, 1000))  # the first ones went first


async def test_one_that_is_not_to_wait_does_not_whatever_the_settings_say(stage: Stage) -> None:
    app = bounded(stage, None, max_depth=3, when_full="block")
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(3))
        with pytest.raises(QueueFull):
            await t.send(QUEUE, 4, block=0)


async def test_no_message_waits_much_longer_than_it_may(stage: Stage) -> None:
    """A producer that would send a hundred a second to a consumer of twenty: ten seconds, and not a minute."""
    waited: list[float] = []
    app = bounded(stage, None, max_wait_seconds=10.0)

    async def handle(sent_at: float) -> None:
        waited.append(t.clock.monotonic() - sent_at)

    app.consumer(QUEUE)(handle)
    async with stage.run(app) as t:
        await t.advance(1)
        sent = refused = 0
        for _ in range(250):
            try:
                for _ in range(10):
                    await t.send(QUEUE, t.clock.monotonic())
                    sent += 1
            except QueueFull:
                refused += 1
            await t.advance(0.1)
        await t.advance(60)
        assert len(waited) == sent
        assert refused > 50
        assert max(waited) <= 13.0
        assert sent >= 25 * PER_SECOND  # it was kept busy
        assert (t.dead, t.lost) == ([], [])


async def test_a_send_waits_until_its_message_would_not_wait_too_long(stage: Stage) -> None:
    app = bounded(stage, _nothing, max_wait_seconds=2.0, when_full="block")
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(100))  # nobody knows yet
        await t.advance(1.1)
        await t.send(QUEUE, 100)
        await t.advance(1.1)
        with pytest.raises(QueueFull, match="now would wait for about"):
            await t.send(QUEUE, 1, block=0)
        sending = asyncio.ensure_future(t.send(QUEUE, 1))
        assert await _ended(t, sending, 9)
        await sending
        depth = await t.depth(QUEUE)
        assert depth.ready is not None
        assert depth.ready <= 2.5 * PER_SECOND
        await t.advance(10)
        assert len(t.completed) == 102


async def test_many_that_wait_are_all_sent_in_the_end(stage: Stage) -> None:
    app = bounded(stage, _nothing, max_depth=5)
    async with stage.run(app) as t:
        sends = asyncio.gather(*(t.send(QUEUE, number, block=30) for number in range(200)))
        assert await _ended(t, sends, 30)
        await sends
        await t.advance(5)
        assert len(t.completed) == 200


@pytest.mark.parametrize("stage", ["plain"], indirect=True)
async def test_an_unbounded_queue_is_never_asked_for_its_depth(stage: Stage) -> None:
    app = bounded(stage, None)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, range(10))
        await t.send(QUEUE, 11)
        assert t.faults.sizes("depth") == []


def test_a_wait_that_nobody_can_foresee_is_refused_by_name() -> None:
    can = Capabilities(scope="network", durable=True, max_message_bytes=1000, max_batch=1, depth="none")
    with pytest.raises(ConfigError, match=r"queues\.orders\.max_wait is 60 s: this broker cannot tell how many"):
        check_wait("orders", 60.0, can)
    check_wait("orders", None, can)
