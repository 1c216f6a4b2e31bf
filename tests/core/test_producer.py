"""The producer: stamps and checks before anything is sent, and says of every message whether it was accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveler.adapter import Capabilities, Sender
from leveler.errors import (
    BatchError,
    BrokerUnavailable,
    EncodeError,
    InvalidMessage,
    LevelerError,
    MessageTooLarge,
    QueueFull,
    SendUnknown,
)
from leveler.events import Event, MessageSent, Observers
from leveler.message import DEFAULT_PRIORITY, Message
from leveler.producer import Producer, SendOptions
from leveler.testing import VirtualClock
from leveler.testing.clock import quiet

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Order(msgspec.Struct):
    number: int


class Broker(Sender):
    """Accepts everything but what it was told to refuse."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        #: Ids that are refused, each with its error.
        self.refused: dict[str, LevelerError] = {}
        #: What a call ends with that has this id in its batch.
        self.faults: dict[str, BaseException] = {}
        self.answers = asyncio.Event()
        self.answers.set()

    def size(self, message: Message) -> int:
        return len(message.body) + 100

    async def send(self, messages: Sequence[Message]) -> None:
        ids = [message.id for message in messages]
        self.batches.append(ids)
        await self.answers.wait()
        for one in ids:
            if one in self.faults:
                raise self.faults[one]
        failed = {index: self.refused[one] for index, one in enumerate(ids) if one in self.refused}
        if failed:
            raise BatchError(failed)


class Bench:
    def __init__(self, *, max_batch: int = 10, max_message_bytes: int = 1000) -> None:
        self.clock = VirtualClock()
        self.broker = Broker()
        self.events: list[Event] = []
        self.producer = Producer(
            "orders",
            self.broker,
            Capabilities(scope="process", durable=False, max_message_bytes=max_message_bytes, max_batch=max_batch),
            self.clock,
            Observers([self.events.append]),
            source="/shop",
            timeout_seconds=10.0,
        )

    def message(self, value: Any = 7, **options: Any) -> Message:
        return self.producer.message(value, SendOptions(**options))

    def messages(self, ids: Sequence[str]) -> list[Message]:
        return [self.message(id=one) for one in ids]

    def send(self, *ids: str) -> LevelerError | None:
        """What `send` raises for messages of these ids."""
        return asyncio.run(asyncio.wait_for(self._send(ids), 10))

    async def _send(self, ids: Sequence[str]) -> LevelerError | None:
        try:
            await self.producer.send(self.messages(ids))
        except LevelerError as error:
            return error
        return None

    @property
    def sent(self) -> list[str]:
        return [event.message.id for event in self.events if isinstance(event, MessageSent)]


# Stamps.


def test_a_value_becomes_a_message_with_everything_that_it_needs() -> None:
    bench = Bench()
    message = bench.message(Order(7))
    assert message == Message(id=message.id, body=b'{"number":7}', type="Order", source="/shop", time=NOW)
    assert len(message.id) == 32


def test_every_message_has_an_id_of_its_own_unless_it_is_given_one() -> None:
    bench = Bench()
    assert len({bench.message().id for _ in range(100)}) == 100
    assert bench.message(id="order-7").id == "order-7"


def test_what_was_asked_for_is_in_the_message() -> None:
    asked: dict[str, Any] = {
        "id": "7", "key": "customer-1", "priority": 9, "type": "Other", "headers": {"x-a": "b"}, "traceparent": "00-1",
    }  # fmt: skip
    message = Bench().message(Order(7), **asked)
    assert {name: getattr(message, name) for name in asked} == asked
    assert Bench().message().priority == DEFAULT_PRIORITY


def test_a_delay_and_an_end_count_from_now_in_seconds_or_as_a_timedelta() -> None:
    bench = Bench()
    asyncio.run(bench.clock.advance(60))
    now = NOW + timedelta(seconds=60)
    for second in (1.5, timedelta(seconds=1.5)):
        message = bench.message(delay=second, expires_in=second)
        due = now + timedelta(seconds=1.5)
        assert (message.time, message.not_before, message.ready_at, message.expires_at) == (now, due, due, due)


def test_a_negative_delay_is_none() -> None:
    assert Bench().message(delay=-5).not_before == NOW


def test_a_message_is_sent_on_with_its_body_content_type_and_type_under_a_new_id() -> None:
    bench = Bench()
    received = Message(id="1", body=b"\x00", type="Photo", source="/phone", time=NOW, content_type="image/png")
    message = bench.message(received)
    assert (message.body, message.type, message.content_type, message.source) == (
        b"\x00",
        "Photo",
        "image/png",
        "/shop",
    )
    assert message.id != "1"


# Checks.


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"priority": -1}, "priority is -1: expected 0 to 9"),
        ({"priority": 10}, "priority is 10: expected 0 to 9"),
        ({"id": ""}, "message id ''"),
        ({"id": "x" * 129}, "message id 'x"),
        ({"id": "a b"}, "message id 'a b'"),
        ({"key": ""}, "key ''"),
        ({"key": "ü"}, "key 'ü'"),
        ({"key": 7}, "key is 7: expected text, such as '7'"),
        ({"delay": "30s"}, "delay is '30s': expected seconds as a number, or a timedelta"),
        ({"traceparent": "a\nb"}, "traceparent"),
        ({"type": 7}, "type is 7: expected text, such as '7'"),
        ({"headers": {7: "x"}}, "a header's name is 7: expected text, such as '7'"),
        ({"type": "x" * 257}, "type 'x"),
        ({"type": "a\nb"}, "type 'a"),
        ({"headers": {"Upper": "x"}}, "header 'Upper'"),
        ({"headers": {"x": 7}}, "header 'x': the value must be text, not int"),
        ({"headers": {"leveler-id": "x"}}, "header 'leveler-id' is reserved"),
        ({"delay": float("inf")}, "delay is inf: no calendar goes that far"),
        ({"delay": timedelta.max}, "no calendar goes that far"),
        ({"expires_in": 1e300}, "expires_in is 1e+300: no calendar goes that far"),
    ],
)
def test_what_not_every_broker_can_carry_is_refused_by_its_name(options: Any, why: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        Bench().message(**options)
    assert why in str(refused.value)


def test_the_limits_of_each_attribute_are_inside() -> None:
    message = Bench().message(priority=0, id="x" * 128, key="~" * 128, type="ü" * 256)
    assert (message.priority, len(message.id), len(message.type)) == (0, 128, 256)


def test_a_value_that_cannot_become_bytes_is_refused() -> None:
    with pytest.raises(EncodeError, match="cannot encode a value of"):
        Bench().message(object())


def test_a_message_as_large_as_the_broker_takes_passes_and_one_byte_more_names_both_sizes() -> None:
    bench = Bench(max_message_bytes=1000)
    assert len(bench.message(b"x" * 900).body) == 900
    with pytest.raises(MessageTooLarge) as refused:
        bench.message(b"x" * 901)
    assert "1001 bytes" in str(refused.value)
    assert "'orders' takes (1000)" in str(refused.value)


# Batches.


@given(count=st.integers(0, 40), most=st.integers(1, 12))
def test_batches_are_cut_at_what_the_broker_takes_and_nothing_is_sent_twice_or_left_out(count: int, most: int) -> None:
    bench = Bench(max_batch=most)
    ids = [str(number) for number in range(count)]
    assert bench.send(*ids) is None
    assert [one for batch in bench.broker.batches for one in batch] == ids == bench.sent
    assert [len(batch) for batch in bench.broker.batches[:-1]] == [most] * (len(bench.broker.batches) - 1)
    assert len(bench.broker.batches) == -(-count // most)


@given(refused=st.sets(st.integers(0, 24), min_size=1), most=st.integers(1, 12))
def test_a_batch_error_counts_through_all_batches_and_the_rest_was_accepted(refused: set[int], most: int) -> None:
    bench = Bench(max_batch=most)
    bench.broker.refused = {str(index): QueueFull(f"full at {index}") for index in refused}
    error = bench.send(*map(str, range(25)))
    assert isinstance(error, BatchError)
    assert {index: str(cause) for index, cause in error.failed.items()} == {i: f"full at {i}" for i in refused}
    assert bench.sent == [str(index) for index in range(25) if index not in refused]


def test_the_error_of_a_single_message_is_raised_as_it_is() -> None:
    bench = Bench()
    full = bench.broker.refused["1"] = QueueFull("full")
    assert bench.send("1") is full
    away = bench.broker.faults["2"] = BrokerUnavailable("away")
    assert bench.send("2") is away
    assert bench.sent == []


def test_the_error_of_one_of_several_is_raised_with_its_index() -> None:
    bench = Bench()
    full = bench.broker.refused["2"] = QueueFull("full")
    error = bench.send("1", "2")
    assert isinstance(error, BatchError)
    assert error.failed == {1: full}


def test_a_batch_that_fails_whole_does_not_keep_the_next_from_being_sent() -> None:
    bench = Bench(max_batch=2)
    away = BrokerUnavailable("away")
    bench.broker.faults["3"] = away
    error = bench.send(*"12345")
    assert isinstance(error, BatchError)
    assert error.failed == {2: away, 3: away}
    assert bench.sent == ["1", "2", "5"]


@pytest.mark.parametrize("fault", [KeyError("a bug"), asyncio.CancelledError()])
def test_after_a_bug_of_the_adapter_nobody_knows_what_was_sent(fault: BaseException) -> None:
    bench = Bench()
    bench.broker.faults["1"] = fault
    assert isinstance(bench.send("1"), SendUnknown)


# Time.


def test_a_broker_that_does_not_answer_in_time_may_have_queued_what_it_got_and_has_not_what_it_did_not_get() -> None:
    bench = Bench(max_batch=2)

    async def story() -> LevelerError | None:
        bench.broker.answers.clear()
        sending = asyncio.create_task(bench._send(["1", "2", "3"]))
        await bench.clock.advance(9.9)
        assert not sending.done()
        await bench.clock.advance(0.1)
        assert sending.done()
        bench.broker.answers.set()
        await quiet()
        return await sending

    error = asyncio.run(asyncio.wait_for(story(), 10))
    assert isinstance(error, BatchError)
    assert [type(error.failed[index]) for index in range(3)] == [SendUnknown, SendUnknown, BrokerUnavailable]
    assert bench.broker.batches == [["1", "2"]]
    assert "send again with the same id" in str(error.failed[0])


def test_a_sender_that_gives_up_waiting_does_not_interrupt_the_broker() -> None:
    bench = Bench()

    async def story() -> None:
        finished = False

        async def send(messages: Sequence[Message]) -> None:
            nonlocal finished
            await bench.broker.answers.wait()
            finished = True

        bench.broker.send = send  # type: ignore[method-assign]
        bench.broker.answers.clear()
        sending = asyncio.create_task(bench.producer.send(bench.messages(["1"])))
        await quiet()
        sending.cancel()
        await quiet()
        assert sending.cancelled()
        bench.broker.answers.set()
        await quiet()
        assert finished

    asyncio.run(asyncio.wait_for(story(), 10))
