"""A broker that fails: receivers are made anew, settlements are tried again, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from leveler import Context, Reject, Retry, RetryPolicy
from leveler.consumer.watchdog import LOOK_SECONDS
from leveler.errors import AccessDenied, BrokerUnavailable, LeaseLost, ReceiverLost
from leveler.events import ReceiverDown, ReceiverReady, SettlementFailed
from leveler.testing import TestApp
from leveler.testing.faults import Verb
from tests.flow.conftest import QUEUE, Stage
from tests.flow.process import in_broker

GONE = BrokerUnavailable("nobody answers")


def kinds(t: TestApp, *kinds: type) -> list[type]:
    return [type(event) for event in t.events if isinstance(event, kinds)]


async def test_a_receiver_lost_while_idle_is_made_anew(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "first")
        await t.drain()
        await t.adapter.lose_receivers()
        await t.advance(10)
        assert kinds(t, ReceiverReady, ReceiverDown) == [ReceiverReady, ReceiverDown, ReceiverReady]
        assert t.app.health().ready
        await t.send(QUEUE, "second")
        await t.advance(1)
        assert len(t.completed) == 2


async def test_who_may_not_receive_is_not_ready_and_tries_less_and_less_often(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        await t.advance(1)
        with t.faults.failing("receive", AccessDenied("not allowed to receive")):
            await t.adapter.lose_receivers()
            await t.advance(60)
            downs = kinds(t, ReceiverReady, ReceiverDown)
            assert not t.app.health().ready
            assert downs == [ReceiverReady] + [ReceiverDown] * (len(downs) - 1)
            assert len(downs) < 50
        await t.send(QUEUE, "at last")
        await t.drain()
        assert t.app.health().ready


async def test_a_receiver_that_brings_nothing_although_there_is_something_is_made_anew(stage: Stage) -> None:
    stage.need(stage.can().depth != "none" and not stage.can().push, "depth to go by")

    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "first")
        await t.drain()
        t.adapter.deafen_receivers()
        await t.advance(LOOK_SECONDS * 3)
        assert kinds(t, ReceiverDown) == []  # nothing came, and there was nothing
        await t.send(QUEUE, "second")
        await t.advance(LOOK_SECONDS * 3)
        assert kinds(t, ReceiverReady, ReceiverDown) == [ReceiverReady, ReceiverDown, ReceiverReady]
        assert len(t.completed) == 2


async def test_a_receiver_that_waits_for_what_others_have_is_left_alone(stage: Stage) -> None:
    stage.need(stage.can().ordering, "order")
    others = asyncio.Event()

    async def handle(order: int) -> None:
        await others.wait()

    app = stage.app(handle, ordered=True, timeout_seconds=250.0, lease_seconds=300.0)
    async with stage.run(app) as first, stage.after(first, stage.app(handle, ordered=True)) as t:
        await first.send_many(QUEUE, [1, 2], key="customer")
        await t.advance(LOOK_SECONDS * 4)
        assert kinds(first, ReceiverDown) == kinds(t, ReceiverDown) == []
        others.set()
        await t.drain()


async def test_a_receiver_lost_with_deliveries_in_the_buffer_loses_none(stage: Stage) -> None:
    async def handle(order: int) -> None:
        await t.clock.sleep(1)

    # What waits for a worker, and is not started, is what is buffered.
    async with stage.run(stage.app(handle, concurrency=2, rate=5.0)) as t:
        await t.send_many(QUEUE, range(20))
        await t.advance(0.5)
        await t.adapter.lose_receivers()
        await t.advance(200)
        assert in_broker(t) == (0, 0, 0)
        assert {event.message.body for event in t.completed} == {str(number).encode() for number in range(20)}
        assert t.dead == []


async def test_what_is_lost_while_it_waits_for_the_limits_is_not_started(stage: Stage) -> None:
    async def handle(order: int) -> None: ...

    async with stage.run(stage.app(handle, concurrency=4, rate=0.1)) as t:
        await t.send(QUEUE, 0)
        await t.drain()
        await t.send(QUEUE, 1)
        await t.advance(5)
        assert len(t.started) == 1  # the other one is here, and waits for its turn
        await t.adapter.lose_receivers()
        await t.advance(60)
        assert [event.message.body for event in t.started] == [b"0", b"1"]
        assert len(t.completed) == 2


async def test_a_receiver_lost_while_handlers_run_costs_an_attempt_and_no_message(stage: Stage) -> None:
    told: list[bool] = []

    async def handle(order: int, ctx: Context) -> None:
        try:
            await t.clock.sleep(5)
        except asyncio.CancelledError:
            told.append(ctx.lease_lost)
            raise

    async with stage.run(stage.app(handle, concurrency=8)) as t:
        await t.send_many(QUEUE, range(4))
        await t.advance(1)
        await t.adapter.lose_receivers()
        await t.advance(200)
        assert told == [True] * 4
        assert len(t.lost) == 4
        assert Counter(event.attempt for event in t.completed) == {2: 4}
        assert in_broker(t) == (0, 0, 0)


async def test_a_receiver_lost_while_it_settles_loses_nothing(stage: Stage) -> None:
    async def handle(order: int) -> None: ...

    async with stage.run(stage.app(handle, concurrency=4)) as t:
        t.faults.fail("complete", ReceiverLost("connection reset"))
        await t.send_many(QUEUE, range(4))
        await t.advance(200)
        assert {event.message.body for event in t.completed} == {b"0", b"1", b"2", b"3"}
        assert all(event.completed for event in t.lost if event.attempt == 1)
        assert t.lost != []
        assert in_broker(t) == (0, 0, 0)


async def test_an_answer_lost_with_its_receiver_is_settled_once(stage: Stage) -> None:
    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        t.faults.fail("complete", ReceiverLost("connection reset"), after=True)
        await t.send(QUEUE, "x")
        await t.advance(200)
        assert len(t.started) == 1
        assert [event.completed for event in t.lost] == [True]
        await t.send(QUEUE, "y")
        await t.advance(10)
        assert len(t.completed) == 1
        assert in_broker(t) == (0, 0, 0)


VERBS: list[tuple[Verb, Exception | None, int]] = [
    ("complete", None, 0),
    ("abandon", Retry(after=1), 1),
    ("dead_letter", Reject("no"), 0),
]


@pytest.mark.parametrize("after", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize(("verb", "outcome", "again"), VERBS, ids=[verb for verb, _, _ in VERBS])
async def test_a_settlement_that_the_broker_does_not_take_for_a_while_is_done_within_the_lease(
    stage: Stage, verb: Verb, outcome: Exception | None, again: int, after: bool
) -> None:
    if after:
        return await answer_lost(stage, verb, outcome)

    async def handle(order: str, ctx: Context) -> None:
        if outcome is not None and ctx.attempt == 1:
            raise outcome

    async with stage.run(stage.app(handle)) as t:
        with t.faults.failing(verb, GONE):
            await t.send(QUEUE, "x")
            await t.advance(15)
            assert len(t.started) == 1
            assert kinds(t, SettlementFailed) != []
        await t.advance(12)
        assert len(t.started) == 1 + again
        assert len(t.completed) == (0 if verb == "dead_letter" else 1)
        assert len(t.dead) == (1 if verb == "dead_letter" else 0)
        assert t.lost == []
        assert in_broker(t) == (0, 0, 0)
    return None


@pytest.mark.parametrize(("verb", "outcome"), [(verb, outcome) for verb, outcome, _ in VERBS[1:]])
async def test_no_lease_runs_out_because_another_verb_hangs(stage: Stage, verb: Verb, outcome: Exception) -> None:
    stage.need(stage.can().concurrent_verbs, "concurrent verbs")

    async def handle(order: str) -> None:
        if order == "bad":
            raise outcome

    async with stage.run(stage.app(handle)) as t:
        hanging = t.faults.hang(verb)
        await t.send(QUEUE, "bad")
        await hanging.reached()
        await t.send_many(QUEUE, ["good"] * 20)
        await t.advance(5)
        assert (len(t.completed), t.lost) == (20, [])
        hanging.release()
        await t.advance(5)


async def answer_lost(stage: Stage, verb: Verb, outcome: Exception | None) -> None:
    """It was done, so that the second try is told that the lease is over, and that is all."""

    async def handle(order: str, ctx: Context) -> None:
        if outcome is not None and ctx.attempt == 1:
            raise outcome

    async with stage.run(stage.app(handle)) as t:
        t.faults.fail(verb, GONE, after=True)
        await t.send(QUEUE, "x")
        await t.advance(100)
        assert len(t.started) == (2 if verb == "abandon" else 1)
        assert len(await (await t.dead_letters(QUEUE)).browse()) == (1 if verb == "dead_letter" else 0)
        assert in_broker(t) == (0, 0, 0)


@pytest.mark.parametrize("verb", ["receive", "hold", "declare"])
async def test_consumption_resumes_when_the_broker_is_back(stage: Stage, verb: Verb) -> None:
    async def handle(order: int) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        with t.faults.failing(verb, GONE):
            await t.adapter.lose_receivers()
            await t.send_many(QUEUE, range(10))
            await t.advance(60)
            assert t.started == []
            assert not t.app.health().ready
            asked = len(t.faults.calls)
            await t.advance(60)
            assert len(t.faults.calls) - asked <= 50  # it leaves the broker alone between its tries
        await t.advance(10)
        assert t.app.health().ready
        assert Counter(event.attempt for event in t.completed) == {1: 10}


async def test_a_receive_that_never_answers_is_given_up_and_the_receiver_made_anew(stage: Stage) -> None:
    async def handle(order: int) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        await t.advance(1)
        stuck = t.faults.hang("receive")
        await t.advance(6)
        await stuck.reached()
        await t.send_many(QUEUE, range(5))
        await t.advance(5)
        assert t.started == []
        await t.advance(10)
        assert kinds(t, ReceiverDown) == [ReceiverDown]
        assert len(t.completed) == 5
        stuck.release()
        await t.advance(1)
        assert in_broker(t) == (0, 0, 0)


async def test_a_broker_that_hands_out_and_does_not_say_so_costs_an_attempt_and_no_message(stage: Stage) -> None:
    async def handle(order: int) -> None: ...

    async with stage.run(stage.app(handle)) as t:
        stuck = t.faults.hang("receive", nth=2, after=True)
        await t.send(QUEUE, 1)
        await t.advance(6)
        await t.send_many(QUEUE, range(5))
        await t.advance(200)
        stuck.release()
        await t.advance(100)
        assert len({event.message.id for event in t.completed}) == 6
        assert in_broker(t) == (0, 0, 0)


async def test_one_failed_item_of_a_batch_does_not_fail_the_others(stage: Stage) -> None:
    stage.need(stage.can().max_batch >= 4, "batches")
    together = asyncio.Event()

    async def handle(order: int) -> None:
        await together.wait()

    async with stage.run(stage.app(handle, concurrency=4)) as t:
        await t.send_many(QUEUE, range(4))
        await t.advance(1)
        t.faults.fail_items("complete", {1: GONE, 2: LeaseLost("too late")})
        together.set()
        await t.advance(0)
        assert t.faults.sizes("complete") == [4]
        assert len(t.completed) == 2
        assert [event.completed for event in t.lost] == [True]
        await t.advance(1)
        assert len(t.completed) == 3
        await t.advance(60)
        assert len(t.completed) == 4
        assert Counter(event.message.body for event in t.started).most_common(2)[0][1] == 2
        assert len(t.started) == 5
        assert in_broker(t) == (0, 0, 0)


FOREIGN: list[tuple[Verb, Any]] = [
    (verb, error)
    for verb in ("receive", "hold", "complete", "abandon", "dead_letter", "extend")
    for error in (KeyError("a bug"), TimeoutError())
]


@pytest.mark.parametrize(("verb", "error"), FOREIGN, ids=[f"{verb} {type(error).__name__}" for verb, error in FOREIGN])
async def test_an_adapter_that_raises_what_it_must_not_loses_nothing(stage: Stage, verb: Verb, error: Any) -> None:
    async def handle(order: str, ctx: Context) -> None:
        if order == "bad":
            raise Reject("no")
        if order == "fails" and ctx.attempt == 1:
            raise ValueError
        await t.clock.sleep(12)

    policy = RetryPolicy(initial_seconds=1, jitter="none")
    async with stage.run(stage.app(handle, retry=policy, concurrency=8)) as t:
        await t.advance(1)
        t.faults.fail(verb, error, times=2)
        await t.send_many(QUEUE, ["good", "bad", "fails"] * 3)
        await t.advance(300)
        assert Counter(event.message.body for event in t.completed) == {b"good": 3, b"fails": 3}
        assert len(await (await t.dead_letters(QUEUE)).browse()) == 3
        assert in_broker(t) == (0, 0, 0)
        assert t.app.health().ready
