"""Dead letters: what a replay does while the world goes on."""

from __future__ import annotations

import asyncio

from leveler import Leveler, Reject
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
