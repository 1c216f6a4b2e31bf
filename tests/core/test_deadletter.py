"""Dead letters: what a replay does while the world goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from leveler_memory.sender import MemorySender

from leveler import BatchError, Leveler, Message, MessageTooLarge, Reject
from leveler.testing.app import TestApp


async def _replay_while_all_die() -> tuple[int, int, int]:
    app, runs = Leveler(), 0

    @app.consumer("orders")
    async def refuse(order: int) -> None:
        nonlocal runs
        runs += 1
        raise Reject("never")

    async with TestApp(app) as t:
        await t.send_many("orders", [1, 2, 3])
        await t.drain()
        replay = asyncio.create_task((await t.dead_letters("orders")).replay())
        async with asyncio.timeout(10):
            while not replay.done():
                await t.advance(1)
        done = await replay
        return runs, len(done.replayed), done.left


def test_a_message_that_dies_again_while_it_is_replayed_is_not_replayed_for_ever() -> None:
    runs, replayed, left = asyncio.run(_replay_while_all_die())

    assert (runs, replayed) == (6, 3)
    assert left <= 3


def test_a_dead_letter_that_the_queue_does_not_take_keeps_no_other_from_being_replayed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A foreign message may be as large as the broker takes, without room for what leveler would add."""
    send = MemorySender.send

    async def narrow(sender: MemorySender, messages: Sequence[Message]) -> None:
        if messages[0].replays and messages[0].body == b"1":
            raise BatchError({0: MessageTooLarge("too large")})
        await send(sender, messages)

    monkeypatch.setattr(MemorySender, "send", narrow)
    runs, replayed, left = asyncio.run(_replay_while_all_die())

    assert (runs, replayed) == (5, 2)
    assert left >= 1
    assert "cannot be replayed: too large" in caplog.text
