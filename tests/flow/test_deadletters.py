"""Dead letters: browsed, replayed, removed. A fault leaves both copies, never neither."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from leveler import BrokerUnavailable, Message, Reject
from leveler.testing import TestApp
from leveler.testing.clock import quiet
from tests.flow.conftest import QUEUE, Stage

T = TypeVar("T")


async def in_time(t: TestApp, work: Coroutine[Any, Any, T], seconds: float = 600.0) -> T:
    """What `work` gives, while time passes for it."""
    task = asyncio.ensure_future(work)
    while not task.done() and seconds > 0:
        await t.advance(0.5)
        seconds -= 0.5
    assert task.done()
    return task.result()


async def bury(t: TestApp, count: int, **words: Any) -> list[Message]:
    """So many dead letters."""
    sent = await t.send_many(QUEUE, range(count), **words)
    await t.drain()
    assert (await t.depth(QUEUE)).dead == count
    return sent


def burying(stage: Stage, handled: list[Message], kind: list[bool]) -> TestApp:
    async def handle(message: Message) -> None:
        if not kind:
            raise Reject("not now")
        handled.append(message)

    return stage.run(stage.app(handle))


async def test_looking_changes_nothing_however_often(stage: Stage) -> None:
    async with burying(stage, [], []) as t:
        sent = await bury(t, 5)
        letters = await t.dead_letters(QUEUE)
        for _ in range(30):
            assert [letter.id for letter in await letters.browse()] == [message.id for message in sent]
        assert len(await letters.browse(limit=2)) == 2
        assert (await t.depth(QUEUE)).dead == 5


async def test_a_replayed_message_starts_from_the_beginning(stage: Stage) -> None:
    handled: list[Message] = []
    kind: list[bool] = []
    async with burying(stage, handled, kind) as t:
        [sent] = await bury(t, 1, headers={"tenant": "acme"}, key="customer-7", expires_in=50)
        await t.advance(100)
        kind.append(True)
        done = await in_time(t, (await t.dead_letters(QUEUE)).replay())
        await t.drain()
        assert (done.replayed, done.left) == ([sent.id], 0)
        [message] = handled
        assert (message.id, message.body, dict(message.headers), message.key) == (
            sent.id,
            sent.body,
            {"tenant": "acme"},
            "customer-7",
        )
        assert (message.replays, message.attempts, message.death, message.failed_at) == (1, 0, None, None)
        assert message.expires_at is None  # whoever replays it wants it handled
        assert [event.attempt for event in t.completed] == [1]
        assert (await t.depth(QUEUE)).dead == 0


async def test_replays_are_counted_over_all_lives(stage: Stage) -> None:
    handled: list[Message] = []
    kind: list[bool] = []
    async with burying(stage, handled, kind) as t:
        await bury(t, 1)
        for replay in range(1, 4):
            if replay == 3:
                kind.append(True)
            await in_time(t, (await t.dead_letters(QUEUE)).replay())
            await t.drain()
        assert [message.replays for message in handled] == [3]
        assert (await t.depth(QUEUE)).dead == 0


async def test_only_what_is_wanted_is_replayed(stage: Stage) -> None:
    handled: list[Message] = []
    kind: list[bool] = []
    async with burying(stage, handled, kind) as t:
        await bury(t, 25)
        kind.append(True)
        done = await in_time(t, (await t.dead_letters(QUEUE)).replay(lambda letter: int(letter.body) % 5 == 0))
        await t.drain()
        assert sorted(int(message.body) for message in handled) == [0, 5, 10, 15, 20]
        assert (len(done.replayed), done.left) == (5, 20)
        letters = await (await t.dead_letters(QUEUE)).browse()
        assert sorted(int(letter.body) for letter in letters) == [n for n in range(25) if n % 5]
        assert all(letter.death is not None and letter.death.reason == "rejected" for letter in letters)


@pytest.mark.parametrize("limit", [0, 1, 7, 100])
async def test_no_more_are_replayed_than_wanted(stage: Stage, limit: int) -> None:
    handled: list[Message] = []
    kind: list[bool] = []
    async with burying(stage, handled, kind) as t:
        await bury(t, 12)
        kind.append(True)
        done = await in_time(t, (await t.dead_letters(QUEUE)).replay(limit=limit))
        await t.drain()
        assert len(done.replayed) == len(handled) == min(limit, 12)
        await t.advance(1)
        assert len(await (await t.dead_letters(QUEUE)).browse()) == 12 - len(handled)


@pytest.mark.parametrize("wanted", ["all", "half"])
async def test_a_slow_replay_loses_nothing_of_what_it_holds(stage: Stage, wanted: str) -> None:
    """One in 20 s, with a lease of 30 s, of which none is meant to run out and none to be met twice."""
    handled: list[float] = []
    kind: list[bool] = []

    async def handle(message: Message) -> None:
        if not kind:
            raise Reject("not now")
        handled.append(t.clock.monotonic())

    async with stage.run(stage.app(handle)) as t:
        await bury(t, 12)
        kind.append(True)
        letters = await t.dead_letters(QUEUE)
        done = await in_time(
            t, letters.replay(lambda letter: wanted == "all" or int(letter.body) % 2 == 0, per_second=0.05)
        )
        await t.drain()
        count = 12 if wanted == "all" else 6
        assert (len(done.replayed), done.left) == (count, 12 - count)
        assert len(handled) == count
        assert min(later - earlier for earlier, later in pairwise(handled)) >= 19
        await t.advance(31)
        assert (await t.depth(QUEUE)).dead == 12 - count


async def test_a_replay_that_is_cut_between_sending_and_removing_leaves_both(stage: Stage) -> None:
    handled: list[Message] = []
    kind: list[bool] = []
    async with burying(stage, handled, kind) as t:
        sent = await bury(t, 3)
        kind.append(True)
        await t.stop()
        t.faults.fail("complete", BrokerUnavailable("gone"), nth=2)
        with pytest.raises(BrokerUnavailable):
            await in_time(t, (await t.dead_letters(QUEUE)).replay())
        assert (await t.depth(QUEUE)).ready == 2
        letters = await (await t.dead_letters(QUEUE)).browse()
        assert [letter.id for letter in letters] == [sent[1].id, sent[2].id]
        done = await in_time(t, (await t.dead_letters(QUEUE)).replay())
        assert done.replayed == [sent[1].id, sent[2].id]
        assert (await t.depth(QUEUE)).dead == 0
        # The copy of the second one is there twice, unless the broker knows it again.
        assert (await t.depth(QUEUE)).ready == (3 if stage.can().dedup_seconds else 4)


async def test_a_replay_that_cannot_send_loses_nothing(stage: Stage) -> None:
    handled: list[Message] = []
    kind: list[bool] = []
    async with burying(stage, handled, kind) as t:
        await bury(t, 3)
        t.faults.fail("send", BrokerUnavailable("gone"), nth=2)
        with pytest.raises(BrokerUnavailable):
            await in_time(t, (await t.dead_letters(QUEUE)).replay())
        await t.drain()
        assert len(await (await t.dead_letters(QUEUE)).browse()) == 3  # the first one died again
        kind.append(True)
        await in_time(t, (await t.dead_letters(QUEUE)).replay())
        await t.drain()
        assert len(handled) == 3


async def test_what_dies_again_is_not_replayed_for_ever(stage: Stage) -> None:
    handled: list[Message] = []
    async with burying(stage, handled, []) as t:
        sent = await bury(t, 10)
        done = await in_time(t, (await t.dead_letters(QUEUE)).replay())
        await t.drain()
        assert sorted(done.replayed) == sorted(message.id for message in sent)
        assert (await t.depth(QUEUE)).dead == 10
        assert len(t.dead) == 20


async def test_more_than_a_batch_go_back_when_they_are_not_wanted(stage: Stage) -> None:
    async with burying(stage, [], []) as t:
        await bury(t, 45)
        letters = await t.dead_letters(QUEUE)
        done = await in_time(t, letters.replay(lambda letter: False))
        assert (done.replayed, done.left) == ([], 45)
        assert len(await letters.browse()) == 45
        assert await in_time(t, letters.remove(lambda letter: int(letter.body) < 15)) == 15
        assert sorted(int(letter.body) for letter in await letters.browse()) == list(range(15, 45))
        assert await letters.purge() in (30, None)
        assert await letters.browse() == []
        assert (await t.depth(QUEUE)).ready == 0


async def test_a_dead_letter_of_a_batch_that_fails_is_tried_again(stage: Stage) -> None:
    async with burying(stage, [], []) as t:
        t.faults.fail("dead_letter", BrokerUnavailable("gone"), times=3)
        sent = await t.send(QUEUE, "x")
        await t.advance(10)
        assert [letter.id for letter in await (await t.dead_letters(QUEUE)).browse()] == [sent.id]
        assert len(t.dead) == 1
        assert t.app.health().consumers[QUEUE].tally.settlements_failed == 3


async def test_a_pass_closes_its_receiver_when_it_cannot_begin(stage: Stage) -> None:
    async with burying(stage, [], []) as t:
        await bury(t, 1)
        await t.stop()
        t.faults.fail("hold", BrokerUnavailable("gone"))
        calls = len(t.faults.calls)
        with pytest.raises(BrokerUnavailable):
            await (await t.dead_letters(QUEUE)).replay()
        await quiet()
        assert [call.verb for call in t.faults.calls[calls:]] == ["hold", "close"]


async def test_an_endless_detail_is_cut(stage: Stage) -> None:
    async def handle(order: str) -> None:
        raise ValueError("é" * 1_000_000)

    async with stage.run(stage.app(handle, attempts=1)) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        [letter] = await (await t.dead_letters(QUEUE)).browse()
        assert letter.death is not None
        assert 1000 < len(letter.death.detail.encode()) <= 2048
