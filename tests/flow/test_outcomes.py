"""What becomes of a message, by what its handler run ended with."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from leveler import Completed, Context, Message, Reject, Retry, RetryPolicy, Snooze, Throttled
from tests.flow.conftest import QUEUE, Stage

BODY = {"id": "42", "total": 9.5, "note": "Grüße"}


class Order(msgspec.Struct):
    id: str


class Refund(msgspec.Struct):
    id: str


async def test_a_message_is_handled_once_and_is_gone(stage: Stage) -> None:
    seen: list[Any] = []

    async def handle(order: dict[str, Any], ctx: Context) -> None:
        seen.append((order, ctx.attempt, dict(ctx.headers), ctx.message.key, ctx.queue))

    async with stage.run(stage.app(handle)) as t:
        sent = await t.send(QUEUE, BODY, key="customer-7", headers={"tenant": "acme"})
        await t.drain()
        assert seen == [(BODY, 1, {"tenant": "acme"}, "customer-7", QUEUE)]
        assert [done.message.id for done in t.completed] == [sent.id]
        depth = await t.depth(QUEUE)
        assert (depth.ready, depth.dead) == (0, 0)
        assert depth.leased in (0, None)
        await t.advance(3600)
        assert len(seen) == 1


async def test_many_messages_are_each_handled_once(stage: Stage) -> None:
    seen: Counter[int] = Counter()

    async def handle(number: int) -> None:
        seen[number] += 1

    async with stage.run(stage.app(handle)) as t:
        await t.send_many(QUEUE, range(500))
        await t.drain()
        assert seen == Counter(range(500))
        assert len(t.completed) == 500
        assert (t.retried, t.returned, t.dead, t.lost) == ([], [], [], [])


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_a_failing_message_is_started_max_attempts_times_and_dead_lettered_once(
    stage: Stage, attempts: int
) -> None:
    starts: list[int] = []

    async def handle(order: dict[str, Any], ctx: Context) -> None:
        starts.append(ctx.attempt)
        raise ValueError("no such customer")

    async with stage.run(stage.app(handle, attempts=attempts)) as t:
        began = t.clock.now()
        sent = await t.send(QUEUE, BODY, key="customer-7", headers={"tenant": "acme"}, priority=7)
        await t.advance(10_000)
        await t.drain()
        assert starts == list(range(1, attempts + 1))
        assert [event.attempt for event in t.retried] == starts[:-1]
        [dead] = await (await t.dead_letters(QUEUE)).browse()
        assert (dead.id, dead.body, dict(dead.headers), dead.key) == (sent.id, sent.body, {"tenant": "acme"}, sent.key)
        assert (dead.type, dead.content_type, dead.priority) == (sent.type, sent.content_type, 7)
        assert dead.time == sent.time
        death = dead.death
        assert death is not None
        assert (death.reason, death.error_type, death.detail) == ("exhausted", "ValueError", "no such customer")
        assert (death.attempts, death.queue) == (attempts, QUEUE)
        assert death.first_failed_at is not None
        assert death.last_failed_at is not None
        assert began <= death.first_failed_at <= death.last_failed_at
        assert (death.first_failed_at == death.last_failed_at) == (attempts == 1)
        assert [event.death for event in t.dead] == [death]
        assert (await t.depth(QUEUE)).ready == 0


async def test_a_message_that_heals_is_completed(stage: Stage) -> None:
    async def handle(order: dict[str, Any], ctx: Context) -> None:
        if ctx.attempt < 3:
            raise ConnectionError

    async with stage.run(stage.app(handle, attempts=3)) as t:
        await t.send(QUEUE, BODY)
        await t.advance(1000)
        assert [(event.attempt, type(event.error)) for event in t.retried] == [
            (1, ConnectionError),
            (2, ConnectionError),
        ]
        assert [event.attempt for event in t.completed] == [3]
        assert t.dead == []


async def test_a_failed_attempt_is_counted_although_another_process_takes_over(stage: Stage) -> None:
    starts: list[int] = []

    async def handle(order: dict[str, Any], ctx: Context) -> None:
        starts.append(ctx.attempt)
        raise ValueError

    first = stage.run(stage.app(handle, attempts=4))
    async with first as t:
        await t.send(QUEUE, BODY)
        await t.drain()
    for _ in range(6):
        async with stage.after(first, stage.app(handle, attempts=4)) as t:
            await t.advance(400)
    assert starts == [1, 2, 3, 4]


async def test_retry_waits_as_long_as_it_asks(stage: Stage) -> None:
    starts: list[float] = []

    async def handle(order: dict[str, Any], ctx: Context) -> None:
        starts.append(t.clock.monotonic())
        if ctx.attempt < 3:
            raise Retry(after=77)

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, BODY)
        await t.advance(76.9)
        assert len(starts) == 1
        await t.advance(200)
        assert [later - earlier for earlier, later in pairwise(starts)] == pytest.approx([77, 77])
        assert [event.attempt for event in t.completed] == [3]


@pytest.mark.parametrize("outcome", [Throttled(after=40), Snooze(after=40)], ids=["throttled", "snooze"])
async def test_what_is_not_the_fault_of_the_message_costs_no_attempt(stage: Stage, outcome: Throttled | Snooze) -> None:
    attempts: list[int] = []

    async def handle(order: dict[str, Any], ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) <= 12:
            raise outcome
        if len(attempts) < 15:
            raise ValueError

    async with stage.run(stage.app(handle, attempts=3)) as t:
        await t.send(QUEUE, BODY)
        await t.advance(12 * 40 - 1)
        assert attempts == [1] * 12
        await t.advance(1000)
        assert attempts == [1] * 13 + [2, 3]
        assert [event.attempt for event in t.completed] == [3]


@pytest.mark.parametrize(
    "outcome", [Throttled(after=600), Throttled(), Snooze(after=600)], ids=["asked", "policy", "snooze"]
)
async def test_what_costs_no_attempt_ends_with_max_age(stage: Stage, outcome: Throttled | Snooze) -> None:
    async def handle(order: dict[str, Any]) -> None:
        raise outcome

    retry = RetryPolicy(max_age_seconds=3600)
    async with stage.run(stage.app(handle, retry=retry)) as t:
        sent = await t.send(QUEUE, BODY)
        await t.advance(2900)
        assert t.dead == []
        await t.advance(1000)
        [event] = t.dead
        assert (event.message.id, event.death.reason) == (sent.id, "expired")
        [dead] = await (await t.dead_letters(QUEUE)).browse()
        assert dead.body == sent.body


async def test_a_rejected_message_is_dead_lettered_at_once(stage: Stage) -> None:
    async def handle(order: dict[str, Any]) -> None:
        try:
            raise KeyError("total")
        except KeyError as error:
            raise Reject("there is no total") from error

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, BODY)
        await t.drain()
        [event] = t.dead
        assert (event.death.reason, event.death.detail, event.death.error_type) == (
            "rejected",
            "there is no total",
            "KeyError",
        )
        assert event.death.attempts == 1
        assert len(t.started) == 1


async def test_an_error_that_the_policy_gives_up_on_is_dead_lettered_at_once(stage: Stage) -> None:
    async def handle(order: dict[str, Any]) -> None:
        raise PermissionError("never")

    async with stage.run(stage.app(handle, retry=RetryPolicy(give_up_on=(OSError,)))) as t:
        await t.send(QUEUE, BODY)
        await t.drain()
        assert [(event.death.reason, event.death.error_type) for event in t.dead] == [("rejected", "PermissionError")]


async def test_an_undecodable_body_is_dead_lettered_at_once_and_unstarted(stage: Stage) -> None:
    async def handle(order: Order) -> None:
        raise AssertionError("never started")

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, b"\xff not json")
        await t.send(QUEUE, {"id": 7})
        await t.drain()
        assert [event.death.reason for event in t.dead] == ["undecodable", "undecodable"]
        assert t.started == []
        assert {dead.body for dead in await (await t.dead_letters(QUEUE)).browse()} == {b"\xff not json", b'{"id":7}'}


async def test_a_message_of_unknown_type_follows_the_policy_then_is_dead_lettered_as_such(stage: Stage) -> None:
    app = stage.app(attempts=3)
    seen: list[object] = []

    @app.consumer(QUEUE, type="Order")
    async def order(value: Order) -> None:
        seen.append(value)

    @app.consumer(QUEUE, type="Refund")
    async def refund(value: Refund) -> None:
        seen.append(value)

    async with stage.run(app) as t:
        await t.send(QUEUE, Order("1"))
        await t.send(QUEUE, Refund("2"))
        await t.send(QUEUE, {"id": "3"}, type="Parcel")
        await t.drain()
        assert sorted(map(repr, seen)) == ["Order(id='1')", "Refund(id='2')"]
        assert t.dead == []
        await t.advance(1000)
        [event] = t.dead
        assert (event.death.reason, event.death.error_type, event.death.attempts) == ("unknown-type", "UnknownType", 3)
        assert "'Parcel'" in event.death.detail
        assert "'Order', 'Refund'" in event.death.detail
        assert [one.attempt for one in t.retried] == [1, 2]
        assert len(t.started) == 2


async def test_a_handler_of_any_type_takes_what_the_others_do_not(stage: Stage) -> None:
    app = stage.app()
    seen: list[object] = []

    @app.consumer(QUEUE, type="Order")
    async def order(value: Order) -> None:
        seen.append(value)

    @app.consumer(QUEUE)
    async def anything(message: Message) -> None:
        seen.append(message.type)

    async with stage.run(app) as t:
        await t.send(QUEUE, Order("1"))
        await t.send(QUEUE, Refund("2"))
        await t.drain()
        assert sorted(map(repr, seen)) == ["'Refund'", "Order(id='1')"]


async def test_an_expired_message_is_dead_lettered_unstarted(stage: Stage) -> None:
    async def handle(order: dict[str, Any]) -> None:
        raise ConnectionError

    async with stage.run(stage.app(handle, retry=RetryPolicy(initial_seconds=60, jitter="none"))) as t:
        sent = await t.send(QUEUE, BODY, expires_in=100)
        await t.advance(1000)
        [event] = t.dead
        assert (event.message.id, event.death.reason) == (sent.id, "expired")
        assert len(t.started) == 2  # at 0 s and 60 s


RETURNED = [
    (Completed(), "completed"),
    ("anything else", "completed"),
    (Retry(after=1), "retried"),
    (Snooze(after=1), "returned"),
    (Throttled(after=1), "returned"),
    (Reject("no"), "dead"),
    (ValueError("returned, not raised"), "completed"),
]


@pytest.mark.parametrize(("outcome", "what"), RETURNED, ids=[repr(outcome) for outcome, _ in RETURNED])
async def test_an_outcome_may_be_returned(stage: Stage, outcome: object, what: str) -> None:
    async def handle(order: dict[str, Any], ctx: Context) -> object:
        return outcome if len(t.started) == 1 else None

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, BODY)
        await t.advance(100)
        if what == "returned" and stage.can().uncounted == "none":
            assert len(t.started) == 2  # kept, and started again here
        else:
            assert len(getattr(t, what)) == 1


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


class Mute(BaseException):
    pass


class Homemade(Snooze):
    def __init__(self) -> None:  # forgets to call the base
        pass


def type_of(value: object) -> str:
    return type(value).__name__


def recurse() -> None:
    recurse()


RAISED: list[tuple[Any, str]] = [
    (SystemExit(3), "SystemExit"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    (Mute("base"), "Mute"),
    (MemoryError(), "MemoryError"),
    (Unspeakable(), "Unspeakable"),
    (StopIteration(), "RuntimeError"),
    (StopAsyncIteration(), "StopAsyncIteration"),
    (asyncio.CancelledError(), "CancelledError"),
    (TimeoutError(), "TimeoutError"),
    (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ExceptionGroup"),
    (BaseExceptionGroup("one", [BaseExceptionGroup("in one", [Mute("deep")])]), "Mute"),
    (Homemade(), "AttributeError"),
]


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize(("error", "name"), RAISED, ids=[name for _, name in RAISED])
async def test_whatever_a_handler_raises_ends_its_message_and_nothing_else(
    stage: Stage, error: BaseException, name: str, kind: str
) -> None:
    async def handle(order: str) -> None:
        if order == "bad":
            raise error

    def handle_in_thread(order: str) -> None:
        if order == "bad":
            raise error

    app = stage.app(handle if kind == "async def" else handle_in_thread, attempts=2, concurrency=2)
    async with stage.run(app) as t:
        await t.send_many(QUEUE, ["bad", "good", "good", "bad", "good"])
        await t.drain()
        await t.advance(10)
        await t.drain()
        await t.send_many(QUEUE, ["good"] * 4)
        await t.drain()
        assert [event.death.error_type for event in t.dead] == [name, name]
        assert [event.death.reason for event in t.dead] == ["exhausted", "exhausted"]
        assert len(t.completed) == 7
        assert len(t.started) == 11
        assert t.lost == []


async def test_endless_recursion_ends_its_message_only(stage: Stage) -> None:
    async def handle(order: str) -> None:
        if order == "bad":
            recurse()

    async with stage.run(stage.app(handle, attempts=1)) as t:
        await t.send_many(QUEUE, ["bad", "good"])
        await t.drain()
        assert [event.death.error_type for event in t.dead] == ["RecursionError"]
        assert len(t.completed) == 1


async def test_an_outcome_in_a_group_of_one_is_that_outcome(stage: Stage) -> None:
    async def child() -> None:
        raise Reject("said by a child")

    async def handle(order: str) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        assert [(event.death.reason, event.death.detail) for event in t.dead] == [("rejected", "said by a child")]


@pytest.mark.parametrize("reason", [ValueError("an error as the reason"), 404, Unspeakable(), None], ids=type_of)
async def test_a_reason_may_be_anything(stage: Stage, reason: Any) -> None:
    async def handle(order: str) -> None:
        raise Reject(reason)

    async with stage.run(stage.app(handle)) as t:
        await t.send_many(QUEUE, ["x", "y"])
        await t.drain()
        assert [event.death.reason for event in t.dead] == ["rejected", "rejected"]
        assert all(event.message.id for event in t.dead)


async def test_a_handler_that_cancels_its_task_and_does_not_wait_ends_only_its_own_run(stage: Stage) -> None:
    seen: list[int] = []

    async def handle(number: int) -> None:
        seen.append(number)
        if number == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        if number == 2:
            await asyncio.sleep(0)

    async with stage.run(stage.app(handle, concurrency=1)) as t:
        await t.send_many(QUEUE, range(20))
        await t.drain()
        assert sorted(seen) == list(range(20))
        assert (len(t.completed), t.retried) == (20, [])
