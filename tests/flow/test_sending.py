"""Sending: accepted, or an error that says what is known. From coroutines, from threads, after a fork."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from leveler import (
    BatchError,
    BrokerUnavailable,
    EncodeError,
    InvalidMessage,
    Leveler,
    Message,
    MessageTooLarge,
    NotStarted,
    QueueFull,
    SendUnknown,
    Settings,
)
from leveler.events import MessageSent
from leveler.settings import BrokerSettings
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage


class Order(msgspec.Struct):
    id: str


async def ready(t: TestApp) -> int:
    return (await t.depth(QUEUE)).ready or 0


async def test_the_message_is_as_it_was_asked_for(stage: Stage) -> None:
    seen: list[Message] = []

    async def handle(message: Message) -> None:
        seen.append(message)

    async with stage.run(stage.app(handle, leveler={"source": "/shop"})) as t:
        now = t.clock.now()
        sent = await t.send(
            QUEUE,
            Order("1"),
            id="order-1",
            key="customer-7",
            headers={"tenant": "acme"},
            expires_in=timedelta(hours=1),
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            type="shop.Order",
        )
        await t.drain()
        [got] = seen
        assert got == sent
        assert (got.id, got.key, got.type, got.source, got.body) == (
            "order-1",
            "customer-7",
            "shop.Order",
            "/shop",
            b'{"id":"1"}',
        )
        assert (got.time, got.expires_at) == (now, now + timedelta(hours=1))
        assert [event.message for event in t.events if isinstance(event, MessageSent)] == [sent]


async def test_a_typed_handle_sends_the_same(stage: Stage) -> None:
    seen: list[Order] = []

    async def handle(order: Order) -> None:
        seen.append(order)

    app = stage.app(handle)
    orders = app.queue(QUEUE, Order)
    async with stage.run(app) as t:
        await orders.send(Order("1"))
        await orders.send_many([Order("2"), Order("3")])
        await t.drain()
        assert sorted(order.id for order in seen) == ["1", "2", "3"]


async def test_many_are_sent_in_batches_that_the_broker_takes(stage: Stage) -> None:
    async with stage.run(stage.app()) as t:
        sent = await t.send_many(QUEUE, range(25))
        size = stage.can().max_batch
        assert t.faults.sizes("send") == [min(size, 25 - start) for start in range(0, 25, size)]
        assert len({message.id for message in sent}) == 25
        assert await ready(t) == 25
        assert await t.send_many(QUEUE, []) == []


async def test_some_of_a_batch_may_be_refused_and_the_others_are_sent(stage: Stage) -> None:
    async with stage.run(stage.app()) as t:
        t.faults.fail_items("send", {0: MessageTooLarge("too large")})
        with pytest.raises(BatchError) as caught:
            await t.send_many(QUEUE, range(3))
        assert list(caught.value.failed) == [0]
        assert await ready(t) == 2
        assert len([event for event in t.events if isinstance(event, MessageSent)]) == 2


async def test_a_later_batch_that_fails_is_told_by_the_indexes_of_its_messages(stage: Stage) -> None:
    size = stage.can().max_batch
    stage.need(size <= 1000, "small batches")
    async with stage.run(stage.app()) as t:
        t.faults.fail("send", BrokerUnavailable("gone"), nth=2)
        with pytest.raises(BatchError) as caught:
            await t.send_many(QUEUE, range(3 * size))
        assert sorted(caught.value.failed) == list(range(size, 2 * size))
        assert {type(error) for error in caught.value.failed.values()} == {BrokerUnavailable}
        assert await ready(t) == 2 * size


@pytest.mark.parametrize("error", [BrokerUnavailable("gone"), SendUnknown("no answer"), QueueFull("full")])
async def test_the_error_of_one_message_is_the_brokers(stage: Stage, error: Exception) -> None:
    async with stage.run(stage.app()) as t:
        t.faults.fail("send", error)
        with pytest.raises(type(error)) as caught:
            await t.send(QUEUE, "x")
        assert caught.value is error
        assert await ready(t) == 0


async def test_a_bug_in_an_adapter_is_told_as_an_unknown_outcome(stage: Stage) -> None:
    async with stage.run(stage.app()) as t:
        t.faults.fail("send", ZeroDivisionError("a bug"), after=True)
        with pytest.raises(SendUnknown, match=r"ZeroDivisionError: a bug") as caught:
            await t.send(QUEUE, "x")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert await ready(t) == 1


async def test_a_send_never_hangs_past_its_timeout(stage: Stage) -> None:
    app = stage.app(leveler={"settings": Settings(send_timeout_seconds=7.0)})
    async with stage.run(app) as t:
        stuck = t.faults.hang("send")
        sending = asyncio.ensure_future(t.send(QUEUE, "x", id="one"))
        await stuck.reached()
        await t.advance(6.9)
        assert not sending.done()
        await t.advance(0.2)
        with pytest.raises(SendUnknown, match=r"7 s.*same id"):
            await sending
        stuck.release()
        await t.advance(0)
        assert await ready(t) == 1  # which is why it is unknown


async def test_a_long_send_stops_at_its_timeout_and_says_what_was_not_sent(stage: Stage) -> None:
    size = stage.can().max_batch
    stage.need(size <= 100, "small batches")
    app = stage.app(leveler={"settings": Settings(send_timeout_seconds=7.0)})
    async with stage.run(app) as t:
        t.faults.delay("send", 3.0, times=None)
        sending = asyncio.ensure_future(t.send_many(QUEUE, range(5 * size)))
        await t.advance(8)
        with pytest.raises(BatchError) as caught:
            await sending
        kinds = [type(caught.value.failed.get(index)) for index in range(0, 5 * size, size)]
        assert kinds == [type(None), type(None), SendUnknown, BrokerUnavailable, BrokerUnavailable]


async def test_a_cancelled_sender_does_not_cut_what_the_broker_is_doing(stage: Stage) -> None:
    async with stage.run(stage.app()) as t:
        stuck = t.faults.hang("send")
        sending = asyncio.ensure_future(t.send(QUEUE, "x"))
        await stuck.reached()
        sending.cancel()
        await t.advance(0)
        assert sending.cancelled()
        stuck.release()
        await t.advance(0)
        assert await ready(t) == 1


async def test_a_message_that_the_broker_would_not_take_is_refused_before(stage: Stage) -> None:
    async with stage.run(stage.app()) as t:
        with pytest.raises(MessageTooLarge, match=r"headers included.*orders.*send a reference"):
            await t.send(QUEUE, b"x" * (17 * 1024 * 1024))
        assert t.faults.sizes("send") == []
        await t.send(QUEUE, b"x" * 100_000)
        assert await ready(t) == 1


@pytest.mark.parametrize(
    "words",
    [
        {"headers": {"leveler-attempt": "1"}},
        {"headers": {"x-death": "1"}},
        {"headers": {"ce-id": "1"}},
        {"headers": {"Upper": "case"}},
        {"headers": {"a": "line\nbreak"}},
        {"headers": {"a": 7}},
        {"headers": {"a": "x" * 20_000}},
        {"key": "with space"},
        {"key": ""},
        {"id": "a\nb"},
        {"id": "x" * 129},
        {"type": "a\r\nb"},
        {"type": "x" * 1000},
        {"traceparent": "a\r\nb"},
        {"priority": 10},
        {"priority": -1},
        {"delay": float("inf")},
        {"delay": timedelta.max},
        {"expires_in": 1e300},
        {"expires_in": float("nan")},
    ],
    ids=repr,
)
async def test_what_would_break_an_envelope_is_refused(stage: Stage, words: dict[str, Any]) -> None:
    async with stage.run(stage.app()) as t:
        if words.get("expires_in") != words.get("expires_in"):  # not a number: taken as nothing, never as for ever
            sent = await t.send(QUEUE, "x", **words)
            assert sent.expires_at == t.clock.now()
            return
        with pytest.raises(InvalidMessage):
            await t.send(QUEUE, "x", **words)
        assert t.faults.sizes("send") == []


async def test_a_value_that_cannot_be_encoded_is_refused(stage: Stage) -> None:
    async with stage.run(stage.app()) as t:
        with pytest.raises(EncodeError):
            await t.send(QUEUE, object())


async def test_one_id_is_for_one_message(stage: Stage) -> None:
    async with stage.run(stage.app()) as t:
        with pytest.raises(InvalidMessage, match="id"):
            await t.send_many(QUEUE, ["a", "b"], id="one")
        assert t.faults.sizes("send") == []
        await t.send_many(QUEUE, ["a"], id="one")


async def test_a_bound_of_the_queue_is_told_as_full(stage: Stage) -> None:
    async with stage.run(stage.app(max_depth=2)) as t:
        await t.send_many(QUEUE, ["a", "b"])
        with pytest.raises(QueueFull):
            await t.send(QUEUE, "c")
        assert await ready(t) == 2


async def test_sending_before_the_start_and_after_the_stop_is_refused(stage: Stage) -> None:
    app = stage.app()
    with pytest.raises(NotStarted, match="async with app"):
        await app.send(QUEUE, "x")
    async with stage.run(app):
        await app.send(QUEUE, "x")
    with pytest.raises(NotStarted):
        await app.send(QUEUE, "x")
    with pytest.raises(NotStarted):
        app.health()


async def test_an_app_sends_without_consuming(stage: Stage) -> None:
    started: list[object] = []

    async def handle(order: str) -> None:
        started.append(order)

    app = stage.app(handle, leveler={"settings": Settings(brokers={"default": BrokerSettings(url=url(stage))})})
    async with app:
        await app.send(QUEUE, "x")
        await asyncio.sleep(0.01)
        assert started == []
        assert (await app.depth(QUEUE)).ready == 1


def url(stage: Stage) -> str:
    return f"memory://?personality={stage.name}"


async def test_a_queue_is_declared_once_however_many_send_to_it_first(stage: Stage) -> None:
    app = Leveler(queues={QUEUE: stage.queue()})
    async with stage.run(app) as t:
        await asyncio.gather(*(t.send(QUEUE, number) for number in range(20)))
        assert [call.verb for call in t.faults.calls].count("declare") == 1
        assert await ready(t) == 20
