"""Memory: what a process holds stays within its budget, whatever waits and however large it is."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from leveler import ConfigError, ConsumerSettings, Context, Leveler, LimitSettings, RetryPolicy
from leveler.events import Event
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage, until

KIB = 1024
MIB = 1024 * KIB


def app_with(stage: Stage, memory_bytes: int, handle: Callable[..., Any], **queue: Any) -> tuple[Leveler, list[int]]:
    """... and what it held in bytes whenever something happened."""
    held: list[int] = []
    app = Leveler(
        queues={QUEUE: stage.queue(**queue)},
        consumers={QUEUE: ConsumerSettings(limits=LimitSettings(concurrency=64), memory_bytes=memory_bytes)},
    )
    app.consumer(QUEUE)(handle)

    def see(event: Event) -> None:
        if app._runtime is not None and app._runtime.consumers:
            held.append(app.health().consumers[QUEUE].held_bytes)

    app.observe(see)
    return app, held


async def test_never_more_bytes_are_held_than_allowed_whatever_comes(stage: Stage) -> None:
    rng = random.Random(4)
    largest = stage.can().max_message_bytes
    sizes = [rng.choice((10, largest // 300, largest // 30, largest // 8)) for _ in range(200)]
    done = list[int]()

    async def handle(body: bytes) -> None:
        await t.clock.sleep(rng.uniform(0.0, 0.5))
        done.append(len(body))

    app, held = app_with(stage, largest, handle)
    async with stage.run(app) as t:
        for size in sizes:
            await t.send(QUEUE, b"x" * size)
        for _ in range(600):
            await t.advance(1)
            if len(done) == len(sizes):
                break
        assert sorted(done) == sorted(sizes)
        assert max(held) <= largest
        if stage.can().bounds_bytes:
            assert max(held) >= largest / 2  # and it is made use of
        assert (t.dead, t.lost) == ([], [])


async def test_many_small_ones_are_as_quick_as_without_a_limit() -> None:
    """Where the broker knows sizes, a budget costs nothing that small messages would notice."""
    stage, most = Stage("plain"), 0

    async def handle(body: bytes) -> None:
        nonlocal most
        most = max(most, t.app.health().consumers[QUEUE].running)
        await t.clock.sleep(1)

    app, _ = app_with(stage, 16 * MIB, handle)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, [b"x" * KIB] * 1000)
        await t.advance(5.5)
        assert most == 64
        assert len(t.completed) >= 5 * 64


async def test_what_a_handler_that_lost_its_lease_still_holds_is_counted() -> None:
    """A thread cannot be stopped: its message is in memory until it ends."""
    stage, over = Stage("plain"), threading.Event()

    def handle(body: bytes) -> None:
        over.wait(10)

    app, _ = app_with(stage, 16 * MIB, handle)
    async with stage.run(app) as t:
        memory = t._started().consumers[QUEUE]._limits.memory
        assert memory is not None
        await t.send(QUEUE, b"x" * MIB)
        await until(lambda: app.health().consumers[QUEUE].running == 1)
        await t.expire_leases()
        assert memory.held_bytes > app.health().consumers[QUEUE].held_bytes
        over.set()
        await until(lambda: app.health().consumers[QUEUE].running == 0)
        await t.drain()
        assert memory.held_bytes == 0


async def test_failures_retries_and_dead_letters_give_their_bytes_back(stage: Stage) -> None:
    largest = stage.can().max_message_bytes

    async def handle(body: bytes, ctx: Context) -> None:
        if body[0] % 3 == 0:
            raise ValueError
        if body[0] % 3 == 1 and ctx.attempt == 1:
            raise ValueError

    app, held = app_with(stage, largest, handle, retry=RetryPolicy(max_attempts=2, initial_seconds=0.2))
    async with stage.run(app) as t:
        for number in range(60):
            await t.send(QUEUE, bytes([number]) * 100_000)
        for _ in range(60):
            await t.advance(1)
        assert len(t.completed) == 40
        assert len(t.dead) == 20
        memory = t._started().consumers[QUEUE]._limits.memory
        assert memory is not None
        assert memory.held_bytes == 0
        assert max(held) <= largest


async def test_a_budget_below_one_message_is_refused_by_name(stage: Stage) -> None:
    async def handle(body: bytes) -> None: ...

    app, _ = app_with(stage, stage.can().max_message_bytes - 1, handle)
    with pytest.raises(ConfigError, match=r"consumers\.orders\.memory is .*: one message of this queue may take"):
        async with TestApp(app, personality=stage.name):
            pass
