"""Waiting: delays live in the broker, retries back off, nothing is held meanwhile."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from leveler import Context, Depth, Message, Retry, RetryPolicy, Snooze
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage

DAY = 86_400.0


def held(t: TestApp) -> int:
    return t.app.health().consumers[QUEUE].held


def in_broker(stage: Stage, depth: Depth) -> int:
    """How many wait there, as far as this broker tells."""
    return (depth.ready or 0) + (depth.delayed or 0)


async def test_a_delayed_message_is_handled_when_it_is_due(stage: Stage) -> None:
    starts: list[float] = []

    async def handle(order: str) -> None:
        starts.append(t.clock.monotonic())

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "later", delay=100)
        await t.drain()
        await t.advance(99.5)
        assert starts == []
        await t.advance(1)
        assert starts == pytest.approx([100], abs=0.1)
        assert [event.attempt for event in t.completed] == [1]


async def test_a_waiting_message_is_held_by_the_broker_and_not_by_the_worker(stage: Stage) -> None:
    stage.need(stage.can().max_delay_seconds > 100, "delay of its own")

    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "later", delay=100)
        for _ in range(9):
            await t.advance(10)
            assert held(t) == 0
        assert t.faults.sizes("extend") == []
        assert t.returned == []


async def test_a_retry_waits_in_the_broker_and_not_in_the_worker(stage: Stage) -> None:
    async def handle(order: str) -> None:
        raise Retry(after=1000)

    async with stage.run(stage.app(handle, concurrency=1)) as t:
        await t.send_many(QUEUE, ["a", "b", "c"])
        await t.drain()
        assert len(t.retried) == 3  # none of them has kept the only slot
        assert held(t) == 0
        await t.advance(900)
        assert t.faults.sizes("extend") == []
        assert len(t.started) == 3


async def test_a_snoozed_message_keeps_no_slot(stage: Stage) -> None:
    async def handle(order: str) -> None:
        if order == "snoozes":
            raise Snooze(after=1000)

    async with stage.run(stage.app(handle, concurrency=1)) as t:
        await t.send_many(QUEUE, ["snoozes", "a", "snoozes", "b"])
        await t.drain()
        assert len(t.completed) == 2
        assert held(t) == (2 if stage.can().uncounted == "none" else 0)


@pytest.mark.parametrize("days", [0.02, 0.5])
async def test_a_delay_beyond_the_longest_of_the_broker_is_chained_and_costs_no_attempt(
    stage: Stage, days: float
) -> None:
    if stage.can().uncounted == "none":  # it is kept here while it may be; then each link of the chain counts
        stage.need(days * DAY < stage.can().max_lease_seconds / 2, "way to give back uncounted")
    seen: list[tuple[float, Message]] = []

    async def handle(order: str, ctx: Context) -> None:
        seen.append((t.clock.monotonic(), ctx.message))
        assert ctx.attempt == 1

    async with stage.run(stage.app(handle, lease_seconds=300.0)) as t:
        sent = await t.send(QUEUE, "later", delay=days * DAY, headers={"a": "b"})
        await t.advance(days * DAY - 1)
        assert seen == []
        await t.advance(2)
        [(at, message)] = seen
        assert at == pytest.approx(days * DAY, abs=0.1)
        assert (message.id, message.body, dict(message.headers)) == (sent.id, sent.body, {"a": "b"})
        assert t.dead == []


async def test_the_age_of_a_delayed_message_begins_when_it_is_due(stage: Stage) -> None:
    async def handle(order: str) -> None:
        raise ValueError

    retry = RetryPolicy(max_attempts=3, max_age_seconds=100, initial_seconds=10, jitter="none")
    async with stage.run(stage.app(handle, retry=retry)) as t:
        await t.send(QUEUE, "later", delay=800)
        await t.advance(1000)
        assert [(event.death.reason, event.death.attempts) for event in t.dead] == [("exhausted", 3)]


@pytest.mark.parametrize(
    ("policy", "waits"),
    [
        (RetryPolicy(jitter="none", initial_seconds=2, cap_seconds=10), [2, 4, 8, 10]),
        (RetryPolicy(jitter="none", backoff="linear", initial_seconds=3), [3, 6, 9, 12]),
        (RetryPolicy(jitter="none", backoff="constant", initial_seconds=7), [7, 7, 7, 7]),
        (RetryPolicy(jitter="none", initial_seconds=0.001, floor_seconds=0.5), [0.5, 0.5, 0.5, 0.5]),
    ],
    ids=["exponential", "linear", "constant", "floor"],
)
async def test_the_wait_grows_as_the_policy_says(stage: Stage, policy: RetryPolicy, waits: list[float]) -> None:
    starts: list[float] = []

    async def handle(order: str) -> None:
        starts.append(t.clock.monotonic())
        raise ValueError

    async with stage.run(stage.app(handle, retry=policy)) as t:
        await t.send(QUEUE, "x")
        await t.advance(100)
        assert [later - earlier for earlier, later in pairwise(starts)] == pytest.approx(waits, abs=0.01)


async def test_what_failed_together_does_not_come_back_together(stage: Stage) -> None:
    gaps: list[float] = []
    last: dict[str, float] = {}

    async def handle(order: str, ctx: Context) -> None:
        now = t.clock.monotonic()
        if ctx.attempt == 3:
            gaps.append(now - last[ctx.message.id])
        last[ctx.message.id] = now
        raise ValueError

    policy = RetryPolicy(max_attempts=3, initial_seconds=10, cap_seconds=60, floor_seconds=1)
    async with stage.run(stage.app(handle, retry=policy, concurrency=64)) as t:
        await t.send_many(QUEUE, ["x"] * 400)
        await t.advance(100)
        assert len(gaps) == 400
        assert min(gaps) >= 1
        assert max(gaps) <= 20.1  # the second wait of 10, 20, 40
        bins = [sum(1 for gap in gaps if 1 + k <= gap < 2 + k) for k in range(19)]
        assert max(bins) < 3 * 400 / 19  # drawn evenly between the floor and the full wait
        assert min(bins) > 0


async def test_a_broken_retry_strategy_does_not_keep_a_message_from_being_settled(stage: Stage) -> None:
    def explode(state: Any) -> float:
        raise ZeroDivisionError

    async def handle(order: str) -> None:
        raise ValueError

    policy = RetryPolicy(max_attempts=3, wait=explode, stop=explode)
    async with stage.run(stage.app(handle, retry=policy)) as t:
        await t.send(QUEUE, "x")
        await t.advance(100)
        assert [(event.death.reason, event.death.attempts) for event in t.dead] == [("exhausted", 3)]


@pytest.mark.parametrize("endless", [Retry(after=float("inf")), Snooze(after=float("inf"))], ids=["retry", "snooze"])
async def test_a_wait_without_end_has_one(stage: Stage, endless: Retry | Snooze) -> None:
    async def handle(order: str) -> None:
        raise endless

    async with stage.run(stage.app(handle, retry=RetryPolicy(max_age_seconds=float("inf")))) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        assert held(t) == 0
        assert t.app.health().consumers[QUEUE].tally.settlements_failed == 0
        await t.send(QUEUE, "y")
        await t.drain()
        assert len(t.started) == 2
