"""Storms: everything goes wrong at once, at random, and the books must still balance. A failing seed replays."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from leveler import (
    BrokerUnavailable,
    Context,
    LeaseLost,
    LevelerError,
    ReceiverLost,
    Retry,
    RetryPolicy,
    Snooze,
    Throttled,
)
from leveler.testing import TestApp
from leveler.testing.faults import Verb
from tests.flow.conftest import QUEUE, Stage

ERRORS: list[Exception] = [BrokerUnavailable("gone"), RuntimeError("a bug in the adapter"), TimeoutError()]
VERBS: list[Verb] = ["receive", "complete", "abandon", "dead_letter", "extend", "hold"]
ATTEMPTS = 4


class Storm:
    """Faults at random, and what the handlers saw."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.starts: dict[int, int] = Counter()
        self.done: dict[int, int] = Counter()
        self.poison = set(self.chance.sample(range(60), 9))
        self.running: dict[str, int] = Counter()
        #: Started while another one of their key was running.
        self.overlaps: list[int] = []

    def strike(self, t: TestApp) -> None:
        verb = self.chance.choice(VERBS)
        kind = self.chance.randrange(6)
        times = self.chance.randint(1, 4)
        if kind == 0:
            t.faults.fail(verb, self.chance.choice(ERRORS), times=times)
        elif kind == 1:
            t.faults.fail(verb, self.chance.choice(ERRORS), times=times, after=verb in ("complete", "extend"))
        elif kind == 2:
            t.faults.delay(verb, self.chance.uniform(0.1, 4.0), times=times, after=self.chance.random() < 0.5)
        elif kind == 3 and verb in ("complete", "abandon", "dead_letter", "extend"):
            error: LevelerError = self.chance.choice([LeaseLost("taken"), BrokerUnavailable("gone")])
            t.faults.fail_items(verb, {self.chance.randrange(3): error}, times=times)
        elif kind == 4:
            t.faults.fail(verb, ReceiverLost("reset"))

    async def handle(self, t: TestApp, number: int, ctx: Context) -> None:
        self.starts[number] += 1
        key = str(ctx.message.key)
        self.running[key] += 1
        try:
            await t.clock.sleep(self.chance.expovariate(1.0))
            if number in self.poison:
                raise ValueError(number)
            roll = self.chance.random()
            if roll < 0.1:
                raise Retry(after=self.chance.uniform(0, 5))
            if roll < 0.2:
                raise Snooze(after=self.chance.uniform(0, 5))
            if roll < 0.23:
                raise Throttled(after=self.chance.uniform(0, 3))
            self.done[number] += 1
        finally:
            self.running[key] -= 1


def is_sorted(numbers: list[int]) -> bool:
    return numbers == sorted(numbers)


async def books_balance(t: TestApp, storm: Storm, sent: int, *, faults: bool) -> None:
    letters = await (await t.dead_letters(QUEUE)).browse(1000)
    dead = Counter(int(letter.body) for letter in letters)
    assert set(storm.done) | set(dead) == set(range(sent)), "lost"
    assert (await t.depth(QUEUE)).ready == 0
    assert t.app.health().consumers[QUEUE].held == 0
    assert t.app.health().consumers[QUEUE].running == 0
    assert storm.poison & set(storm.done) == set()
    if not faults:
        assert max(storm.done.values()) == 1
        assert max(dead.values(), default=1) == 1
        assert set(storm.done) & set(dead) == set()


@pytest.mark.parametrize("ordered", [False, True], ids=["", "ordered"])
@pytest.mark.parametrize("seed", range(6))
async def test_whatever_fails_every_message_ends_and_everything_goes_on(stage: Stage, seed: int, ordered: bool) -> None:
    if ordered:
        stage.need(stage.can().ordering, "order")
    storm = Storm(seed)
    sent = 60

    async def handle(number: int, ctx: Context) -> None:
        if ordered and storm.running[str(ctx.message.key)]:
            storm.overlaps.append(number)
        await storm.handle(t, number, ctx)

    retry = RetryPolicy(max_attempts=ATTEMPTS, initial_seconds=0.5, cap_seconds=5)
    app = stage.app(handle, retry=retry, concurrency=storm.chance.choice([1, 5, 16]), ordered=ordered)
    async with stage.run(app, seed=seed) as t:
        for number in range(sent):
            await t.send(QUEUE, number, key=f"k{number % 7}")
        for _ in range(60):
            storm.strike(t)
            await t.advance(storm.chance.uniform(0.2, 3.0))
        t.faults.clear()
        await t.advance(4000)
        await books_balance(t, storm, sent, faults=True)
        if ordered:
            assert storm.overlaps == []
            firsts = list(storm.done)  # in the order of their first completion
            assert all(is_sorted([number for number in firsts if number % 7 == key]) for key in range(7))


@pytest.mark.parametrize("seed", range(3))
async def test_without_faults_every_message_ends_exactly_once(stage: Stage, seed: int) -> None:
    storm = Storm(seed)

    async def handle(number: int, ctx: Context) -> None:
        await storm.handle(t, number, ctx)

    retry = RetryPolicy(max_attempts=12, initial_seconds=0.5, cap_seconds=5)
    app = stage.app(handle, retry=retry, concurrency=storm.chance.choice([1, 5, 16]))
    async with stage.run(app, seed=seed) as t:
        for number in range(60):
            await t.send(QUEUE, number)
        await t.advance(1000)
        await books_balance(t, storm, 60, faults=False)
        assert {number: storm.starts[number] for number in storm.poison} == dict.fromkeys(storm.poison, 12)
        tally = t.app.health().consumers[QUEUE].tally
        assert tally.started == sum(storm.starts.values())
        assert tally.completed == sum(storm.done.values())
        assert (tally.lost, tally.settlements_failed) == (0, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_a_stop_in_a_storm_leaves_nothing_unsaid(stage: Stage, seed: int) -> None:
    """A worker is stopped at a random moment among faults, another one takes over: nothing is lost."""
    storm = Storm(seed)
    where: dict[str, Any] = {}

    async def handle(number: int, ctx: Context) -> None:
        await storm.handle(where["t"], number, ctx)

    retry = RetryPolicy(max_attempts=ATTEMPTS, initial_seconds=0.5, cap_seconds=5)
    first = stage.run(stage.app(handle, retry=retry, concurrency=8), seed=seed)
    where["t"] = first
    async with first as t:
        for number in range(60):
            await t.send(QUEUE, number)
        for _ in range(storm.chance.randrange(1, 12)):
            storm.strike(t)
            await t.advance(storm.chance.uniform(0.0, 2.0))
        await t.stop(drain_seconds=storm.chance.choice([0.0, 0.5, 30.0]))
        received = t.events and len(t.started)
        t.faults.clear()
        await t.clock.advance(100)
        assert len(t.started) == received, "started after the stop"
    async with stage.after(first, stage.app(handle, retry=retry, concurrency=8)) as t:
        where["t"] = t
        await t.advance(4000)
        await books_balance(t, storm, 60, faults=True)


@pytest.mark.parametrize("verb", VERBS)
async def test_one_fault_at_any_moment_loses_nothing(stage: Stage, verb: Verb) -> None:
    """Short lives with one fault each, at the first, second, ... call, of every kind."""
    done: list[int] = []
    chance = random.Random(verb)

    async def handle(number: int, ctx: Context) -> None:
        await t.clock.sleep(chance.choice([0.0, 0.5, 12.0]))
        if chance.random() < 0.2:
            raise ValueError
        done.append(number)

    for nth in (1, 2, 4):
        for error in (*ERRORS, ReceiverLost("reset")):
            for after in (False, True):
                done.clear()
                app = stage.app(handle, attempts=20, concurrency=2, ordered=stage.can().ordering and nth == 2)
                async with stage.run(app, seed=nth) as t:
                    t.faults.fail(verb, error, nth=nth, times=2, after=after)
                    await t.send_many(QUEUE, range(6), key="k")
                    await t.advance(600)
                    assert set(done) == set(range(6)), (nth, error, after)
                    assert t.app.health().consumers[QUEUE].held == 0
