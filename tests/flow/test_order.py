"""Order per key, priority."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

import pytest

from leveler import Context, Message, Reject, Retry, RetryPolicy, Snooze
from tests.flow.conftest import QUEUE, Stage

KEYS = ("a", "b", "c", "d")


def can_order(stage: Stage) -> None:
    stage.need(stage.can().ordering, "order")


async def test_each_key_is_handled_in_the_order_of_sending_and_one_at_a_time(stage: Stage) -> None:
    can_order(stage)
    done: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()

    async def handle(number: int, ctx: Context) -> None:
        key = str(ctx.message.key)
        assert key not in running
        running.add(key)
        await t.clock.sleep(0.1 + number % 3)
        running.remove(key)
        done[key].append(number)

    async with stage.run(stage.app(handle, ordered=True, concurrency=16)) as t:
        await t.advance(40)
        for number in range(12):
            for key in KEYS:
                await t.send(QUEUE, number, key=key)
        await t.advance(100)
        assert done == {key: list(range(12)) for key in KEYS}
        assert t.dead == []


async def test_keys_do_not_wait_for_each_other(stage: Stage) -> None:
    can_order(stage)
    most = 0

    async def handle(number: int) -> None:
        nonlocal most
        most = max(most, t.app.health().consumers[QUEUE].running)
        await t.clock.sleep(10)

    async with stage.run(stage.app(handle, ordered=True, concurrency=4)) as t:
        await t.advance(40)
        # All of one key come first: they must not keep the other keys out.
        for key in KEYS:
            await t.send_many(QUEUE, range(5), key=key)
        await t.advance(51)
        assert most == 4
        assert len(t.completed) == 20


async def test_what_follows_a_failed_message_waits_for_it(stage: Stage) -> None:
    can_order(stage)
    starts: list[tuple[int, int]] = []

    async def handle(number: int, ctx: Context) -> None:
        starts.append((number, sum(1 for seen, _ in starts if seen == number) + 1))
        if number == 2 and starts[-1][1] < 3:
            raise Retry(after=20)

    async with stage.run(stage.app(handle, ordered=True, concurrency=8)) as t:
        await t.advance(40)
        await t.send_many(QUEUE, range(6), key="k")
        await t.advance(39)
        assert starts == [(0, 1), (1, 1), (2, 1), (2, 2)]
        await t.advance(100)
        assert starts == [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1), (5, 1)]
        assert t.dead == []


async def test_the_followers_of_a_message_that_fails_for_good_keep_their_attempts(stage: Stage) -> None:
    can_order(stage)
    attempts: dict[int, list[int]] = defaultdict(list)

    async def handle(number: int, ctx: Context) -> None:
        attempts[number].append(ctx.attempt)
        raise ValueError

    retry = RetryPolicy(max_attempts=5, initial_seconds=60, jitter="none")
    async with stage.run(stage.app(handle, ordered=True, concurrency=8, retry=retry)) as t:
        await t.advance(40)
        await t.send_many(QUEUE, range(9), key="k")
        await t.advance(20_000)
        assert [event.death.reason for event in t.dead] == ["exhausted"] * 9
        if stage.can(ordered=True).uncounted == "none":
            # Those that were received together with the first one had to go back once, counted.
            assert all(len(starts) >= 4 for starts in attempts.values()), attempts
        else:
            assert dict(attempts) == {number: [1, 2, 3, 4, 5] for number in range(9)}


async def test_a_dead_letter_frees_its_key(stage: Stage) -> None:
    can_order(stage)
    starts: list[int] = []

    async def handle(number: int) -> None:
        starts.append(number)
        if number == 1:
            raise Reject("no")

    async with stage.run(stage.app(handle, ordered=True)) as t:
        await t.advance(40)
        await t.send_many(QUEUE, range(4), key="k")
        await t.drain()
        assert starts == [0, 1, 2, 3]
        assert len(t.dead) == 1


async def test_a_snooze_blocks_its_key_and_no_other(stage: Stage) -> None:
    can_order(stage)
    starts: list[str] = []

    async def handle(name: str) -> None:
        starts.append(name)
        if name == "k0" and starts.count("k0") < 3:
            raise Snooze(after=50)

    async with stage.run(stage.app(handle, ordered=True, concurrency=8)) as t:
        await t.advance(40)
        await t.send_many(QUEUE, ["k0", "k1", "k2"], key="k")
        await t.send_many(QUEUE, ["o0", "o1", "o2"], key="o")
        await t.advance(49)
        assert sorted(starts) == ["k0", "o0", "o1", "o2"]
        await t.advance(60)
        assert [name for name in starts if name[0] == "k"] == ["k0", "k0", "k0", "k1", "k2"]
        assert t.dead == []


async def test_a_message_that_is_settled_on_arrival_does_not_let_its_followers_overtake(stage: Stage) -> None:
    """Early, it goes back or waits here; expired, it goes to the dead letters: its followers come after it."""
    can_order(stage)
    starts: list[str] = []

    async def handle(name: str) -> None:
        starts.append(name)

    async with stage.run(stage.app(handle, ordered=True, concurrency=8)) as t:
        await t.advance(40)
        await t.stop()
        await t.send(QUEUE, "first", key="k")
        await t.send(QUEUE, "early", key="k", delay=100)
        await t.send(QUEUE, "last", key="k")
        await t.send(QUEUE, "gone", key="o", expires_in=1)
        await t.send(QUEUE, "after", key="o")
        await t.clock.advance(2)
        async with stage.after(t, stage.app(handle, ordered=True, concurrency=8)) as t2:
            await t2.advance(90)
            assert sorted(starts) == ["after", "first"]
            await t2.advance(60)
            assert [name for name in starts if name != "after"] == ["first", "early", "last"]
            assert [event.death.reason for event in t2.dead] == ["expired"]


async def test_a_lost_lease_in_the_middle_keeps_the_order(stage: Stage) -> None:
    can_order(stage)
    done: list[int] = []

    async def handle(number: int) -> None:
        await t.clock.sleep(3)
        done.append(number)

    async with stage.run(stage.app(handle, ordered=True, timeout_seconds=100.0)) as t:
        await t.advance(40)
        await t.send_many(QUEUE, range(6), key="k")
        await t.advance(7)
        assert done == [0, 1]
        await t.adapter.lose_receivers()
        await t.advance(200)
        assert list(dict.fromkeys(done)) == [0, 1, 2, 3, 4, 5]
        assert t.dead == []


async def test_order_holds_under_a_storm_of_failures(stage: Stage) -> None:
    can_order(stage)
    firsts: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()
    chance = random.Random(7)

    async def handle(number: int, ctx: Context) -> None:
        key = str(ctx.message.key)
        assert key not in running
        running.add(key)
        try:
            await t.clock.sleep(0.1 * chance.random())
            if chance.random() < 0.4:
                raise chance.choice((Retry(after=1), ValueError(), Snooze(after=1)))
            firsts[key].append(number)
        finally:
            running.remove(key)

    retry = RetryPolicy(max_attempts=20, initial_seconds=0.5, cap_seconds=2)
    async with stage.run(stage.app(handle, ordered=True, concurrency=6, retry=retry)) as t:
        for number in range(20):
            for key in KEYS:
                await t.send(QUEUE, number, key=key)
        await t.advance(1000)
        assert {key: list(dict.fromkeys(numbers)) for key, numbers in firsts.items()} == {
            key: list(range(20)) for key in KEYS
        }
        assert t.dead == []


async def test_messages_without_a_key_run_in_parallel_in_an_ordered_queue(stage: Stage) -> None:
    can_order(stage)
    gate = asyncio.Event()
    running = 0

    async def handle(number: int) -> None:
        nonlocal running
        running += 1
        await gate.wait()

    async with stage.run(stage.app(handle, ordered=True, concurrency=5)) as t:
        await t.send_many(QUEUE, range(5))
        await t.advance(1)
        assert running == 5
        gate.set()
        await t.drain()


@pytest.mark.parametrize("batch", [1, 7])
async def test_higher_priorities_come_first(stage: Stage, batch: int) -> None:
    levels = stage.can().priority_levels
    stage.need(levels > 1, "priorities")
    seen: list[int] = []

    async def handle(message: Message) -> None:
        seen.append(message.priority)

    app = stage.app(handle, concurrency=batch)
    async with stage.run(app) as t:
        await t.stop()
        for priority in (0, 9, 4, 9, 0, 4, 9, 0):
            await t.send(QUEUE, "x", priority=priority)
        async with stage.after(t, stage.app(handle, concurrency=batch)) as t2:
            await t2.drain()
    told_apart = [priority * levels // 10 for priority in seen]
    assert told_apart == sorted(told_apart, reverse=True)
    assert len(seen) == 8
