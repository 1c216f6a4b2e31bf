"""The RabbitMQ adapter on a server: what others have left there, what it refuses, and what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from leveler_rabbitmq import delays
from pamqp.commands import Basic

from leveler.adapter import Abandon, Adapter, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import (
    AccessDenied,
    BatchError,
    BrokerUnavailable,
    ConfigError,
    LevelerError,
    QueueNotFound,
    ReceiverLost,
)
from leveler.message import Death, Message
from tests.containers.keeper import Kept
from tests.containers.port import free_ports

Play = Callable[["Bench"], Coroutine[Any, Any, None]]


class Bench:
    """One queue on the server: as leveler sees it, and as another client does."""

    def __init__(self, url: str, adapter: Adapter, raw: AbstractChannel) -> None:
        self.url = url
        self.adapter = adapter
        self.raw = raw
        self.queue = QueueSpec(name=f"server-{uuid.uuid4().hex[:12]}", lease_seconds=5.0)

    def message(self, **attributes: Any) -> Message:
        return Message(**{"id": uuid.uuid4().hex, "body": b"{}", "time": SystemClock().now(), **attributes})

    async def send(self, *messages: Message) -> None:
        await self.adapter.sender(self.queue).send(messages)

    async def publish(self, body: bytes, **properties: Any) -> None:
        """As another client would."""
        await self.raw.basic_publish(
            body, routing_key=self.queue.name, properties=Basic.Properties(delivery_mode=2, **properties)
        )

    async def take(self, receiver: Receiver, count: int = 1) -> list[Delivery]:
        got: list[Delivery] = []
        async with asyncio.timeout(10):
            while len(got) < count:
                got += await receiver.receive(count - len(got), 1.0)
        return got

    async def get(self, queue: str) -> aiormq.abc.DeliveredMessage:
        """The next message there, as another client sees it."""
        async with asyncio.timeout(10):
            while True:
                if (message := await self.raw.basic_get(queue, no_ack=True)).delivery_tag:
                    return message
                await asyncio.sleep(0.05)


@asynccontextmanager
async def bench(url: str) -> AsyncIterator[Bench]:
    connection = await aiormq.connect(url)
    async with find(url, clock=SystemClock(), deadline_seconds=5.0) as adapter:
        made = Bench(url, adapter, await connection.channel())
        try:
            yield made
        finally:
            await adapter.drop(made.queue)
            await connection.close()


@pytest.fixture
def play(each_rabbitmq: Kept) -> Callable[[Play], None]:
    """Play a scene on a queue of its own."""

    async def run(scene: Play) -> None:
        async with bench(each_rabbitmq.url) as made:
            await made.adapter.declare(made.queue)
            await scene(made)

    return lambda scene: asyncio.run(run(scene))


# ---- messages of others


def test_a_foreign_message_is_consumed_retried_and_dead_lettered(play: Callable[[Play], None]) -> None:
    async def scene(b: Bench) -> None:
        await b.publish(b"plain \xff", content_type="text/plain", headers={"tenant": "t1", "tries": 3})
        receiver = b.adapter.receiver(b.queue, capacity=10)
        [first] = await b.take(receiver)
        assert (first.message.body, first.message.headers, first.attempt) == (
            b"plain \xff", {"tenant": "t1", "tries": "3"}, 1
        )  # fmt: skip
        await receiver.abandon([Abandon(first, 0.1)])
        [second] = await b.take(receiver)
        assert (second.message.id, second.message.body, second.attempt) == (first.message.id, b"plain \xff", 2)
        await receiver.dead_letter([DeadLetter(second, Death(reason="rejected"))])
        [dead] = await b.take(b.adapter.receiver(b.queue, capacity=1, dead=True))
        assert (dead.message.body, dead.message.headers) == (b"plain \xff", {"tenant": "t1", "tries": "3"})
        assert dead.message.content_type == "text/plain"

    play(scene)


class _NoText(str):
    """A name as no client would write it."""

    def encode(self, *_: Any) -> bytes:
        return b"\xff" * 128


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({_NoText("name"): "x"}, "Order"),
        ({f"h{number:03}": "x" * 1000 for number in range(127)} | {"rest": "x" * 1950}, "Order"),
        ({"cloudEvents:specversion": "1.0", "cloudEvents:type": "x" * 130_850}, "x" * 1021 + "…"),
    ],
    ids=["a name that is no text", "as many headers as there can be", "as long a type as there can be"],
)
def test_a_foreign_message_that_cannot_be_copied_as_it_is_dies_all_the_same(
    play: Callable[[Play], None], headers: dict[str, str], kind: str
) -> None:
    """Or it would be delivered for ever."""

    async def scene(b: Bench) -> None:
        await b.publish(b"poison \xff", headers=headers, message_type="Order")
        receiver = b.adapter.receiver(b.queue, capacity=10)
        [delivery] = await b.take(receiver)
        await receiver.abandon([Abandon(delivery, 0.1)])
        [delivery] = await b.take(receiver)
        await receiver.dead_letter([DeadLetter(delivery, Death(reason="rejected", detail="d" * 2000))])
        [dead] = await b.take(b.adapter.receiver(b.queue, capacity=1, dead=True))
        assert (dead.message.body, dead.message.type, dead.attempt) == (b"poison \xff", kind, 1)
        assert dead.message.death is not None
        assert dead.message.death.reason == "rejected"

    play(scene)


def test_the_brokers_bookkeeping_is_not_sent_on(play: Callable[[Play], None]) -> None:
    """It grows with every round, and a header frame that is too large ends the connection of everybody."""

    async def scene(b: Bench) -> None:
        await b.send(b.message(not_before=SystemClock().now() + timedelta(seconds=0.05)))
        receiver = b.adapter.receiver(b.queue, capacity=10)
        for _ in range(2):
            [delivery] = await b.take(receiver)
            await receiver.abandon([Abandon(delivery, 0.1)])
        [delivery] = await b.take(receiver)
        await receiver.dead_letter([DeadLetter(delivery, Death(reason="rejected"))])
        headers = (await b.get(b.queue.dead_name)).header.properties.headers or {}
        # The count is this queue's own, of this delivery: RabbitMQ 3 puts it there from the first one on.
        assert not [name for name in headers if name.startswith("x-") and name != "x-delivery-count"], headers

    play(scene)


def test_a_copy_goes_nowhere_else(play: Callable[[Play], None]) -> None:
    """RabbitMQ routes by the headers CC and BCC: in a copy they would make more copies."""

    async def scene(b: Bench) -> None:
        other = f"{b.queue.name}-other"
        await b.raw.queue_declare(other)
        await b.publish(b"{}", headers={"CC": [other]})
        receiver = b.adapter.receiver(b.queue, capacity=10)
        [delivery] = await b.take(receiver)
        await receiver.abandon([Abandon(delivery, counted=False)])
        await b.take(receiver)
        found = await b.raw.queue_delete(other)
        assert found.message_count == 1  # what its sender wanted, and no more

    play(scene)


def test_messages_are_persistent_and_have_what_foreign_readers_look_for(play: Callable[[Play], None]) -> None:
    async def scene(b: Bench) -> None:
        await b.send(b.message(id="42", type="Order", priority=9, headers={"tenant": "t1"}))
        found = (await b.get(b.queue.name)).header.properties
        assert (found.delivery_mode, found.priority, found.content_type) == (2, 9, "application/json")
        assert (found.message_id, found.expiration) == ("42", None)
        assert found.headers is not None
        assert found.headers["cloudEvents:type"] == "Order"
        assert found.headers["tenant"] == "t1"

    play(scene)


# ---- attempts


def test_what_nobody_has_seen_has_used_up_no_attempt(play: Callable[[Play], None]) -> None:
    """The capability says "approximate" because of crashes; where nothing goes wrong the count is exact."""

    async def scene(b: Bench) -> None:
        sent = [b.message() for _ in range(20)]
        await b.send(*sent)
        paused = b.adapter.receiver(b.queue, capacity=20)
        held = await b.take(paused, 1)
        await paused.hold(0)
        await paused.hold(8)
        held += await b.take(paused, 2)
        await paused.hold(2)
        await paused.complete(held)
        await paused.close()
        receiver = b.adapter.receiver(b.queue, capacity=20)
        rest = await b.take(receiver, 17)
        assert {delivery.attempt for delivery in rest} == {1}
        assert {one.message.id for one in held + rest} == {message.id for message in sent}

    play(scene)


def test_the_limit_holds_whatever_is_settled_while_it_changes(play: Callable[[Play], None]) -> None:
    """Never more handed out than allowed, and nothing starves: one consumer more for a rise, a new one after a fall."""

    async def scene(b: Bench) -> None:
        await b.send(*(b.message() for _ in range(200)))
        receiver = b.adapter.receiver(b.queue, capacity=100)
        held: list[Delivery] = []
        done = 0
        for limit in (1, 2, 4, 8, 2, 16, 1, 4, 0, 3, 32):
            await receiver.hold(limit)
            for _ in range(4):
                held += await receiver.receive(100, 0.05)
                assert len(held) <= max(limit, len(held) if limit < len(held) else 0)
                finished, held = held[: max(1, len(held) // 2)], held[max(1, len(held) // 2) :]
                await receiver.complete(finished)
                done += len(finished)
        await receiver.complete(held)
        done += len(held)
        while done < 200:
            more = await b.take(receiver)
            assert len(more) <= 32
            await receiver.complete(more)
            done += len(more)
        assert await receiver.receive(1, 0.2) == []

    play(scene)


def test_a_lower_limit_is_used_again_when_what_was_held_is_settled(play: Callable[[Play], None]) -> None:
    async def scene(b: Bench) -> None:
        await b.send(*(b.message() for _ in range(30)))
        receiver = b.adapter.receiver(b.queue, capacity=10)
        old = await b.take(receiver, 10)
        await receiver.hold(4)
        assert await receiver.receive(10, 0.3) == []
        await receiver.complete(old)
        assert len(await b.take(receiver, 4)) == 4
        assert await receiver.receive(10, 0.3) == []

    play(scene)


# ---- delays


def test_a_long_delay_is_waited_for_in_parts(play: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delays, "LENGTHS_MS", (100, 1000))
    monkeypatch.setattr(delays, "LATE_SECONDS", 0.2)

    async def scene(b: Bench) -> None:
        clock = SystemClock()
        message = b.message(attempts=2, not_before=clock.now() + timedelta(seconds=3.5))
        due = clock.monotonic() + 3.5
        await b.send(message)
        receiver = b.adapter.receiver(b.queue, capacity=10)
        [delivery] = await b.take(receiver)
        assert clock.monotonic() >= due
        assert (delivery.message.id, delivery.attempt) == (message.id, 3)

    play(scene)


def test_a_delay_queue_that_somebody_has_deleted_is_made_again(play: Callable[[Play], None]) -> None:
    async def scene(b: Bench) -> None:
        for _ in range(2):
            message = b.message(not_before=SystemClock().now() + timedelta(seconds=0.1))
            await b.send(message)
            receiver = b.adapter.receiver(b.queue, capacity=1)
            [delivery] = await b.take(receiver)
            await receiver.complete([delivery])
            await receiver.close()
            await b.raw.queue_delete(delays.delay_room(b.queue.name, 100).name)

    play(scene)


def test_a_look_sees_what_is_just_being_given_back(play: Callable[[Play], None]) -> None:
    """RabbitMQ says that a consumer is gone before what it held is there again."""

    async def scene(b: Bench) -> None:
        count = 1000
        await b.send(*(b.message() for _ in range(count)))
        receiver = b.adapter.receiver(b.queue, capacity=count)
        letters = [DeadLetter(one, Death(reason="rejected")) for one in await b.take(receiver, count)]
        await receiver.dead_letter(letters)
        for _ in range(20):
            dead = b.adapter.receiver(b.queue, capacity=count, dead=True)
            await dead.hold(count)
            held = await b.take(dead, count)
            await dead.abandon([Abandon(delivery, counted=False) for delivery in held])
            await dead.close()
            assert len(await b.adapter.peek(b.queue, 2 * count, dead=True)) == count

    play(scene)


def test_dropping_a_queue_leaves_nothing(play: Callable[[Play], None]) -> None:
    async def scene(b: Bench) -> None:
        await b.send(b.message(not_before=SystemClock().now() + timedelta(hours=1)))
        await b.adapter.drop(b.queue)
        for room in delays.rooms_of(b.queue.name):
            found = await b.raw.queue_delete(room.name)
            assert found.message_count == 0

    play(scene)


def test_purging_takes_what_is_delayed_along(play: Callable[[Play], None]) -> None:
    async def scene(b: Bench) -> None:
        await b.send(b.message(), b.message(not_before=SystemClock().now() + timedelta(seconds=1)))
        assert await b.adapter.purge(b.queue) == 2
        await b.send(b.message(id="later", not_before=SystemClock().now() + timedelta(seconds=1)))
        [delivery] = await b.take(b.adapter.receiver(b.queue, capacity=5))
        assert delivery.message.id == "later"

    play(scene)


# ---- refusals


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "classic queue.*quorum"),
        ({"x-queue-type": "quorum", "x-delivery-limit": 3}, "x-delivery-limit is 3.*max_deliveries is 8"),
        ({"x-queue-type": "quorum", "x-message-ttl": 60000}, "x-message-ttl is 60000"),
        ({"x-queue-type": "quorum", "x-expires": 600000}, "x-expires is 600000"),
        ({"x-queue-type": "quorum", "x-max-length": 5}, "x-max-length is 5"),
        ({"x-queue-type": "quorum", "x-single-active-consumer": True}, "x-single-active-consumer is true"),
    ],
    ids=["classic", "limit", "ttl", "expires", "length", "single"],
)
@pytest.mark.parametrize("how", ["create", "verify"])
def test_a_queue_that_cannot_keep_the_promises_is_refused(
    each_rabbitmq: Kept, arguments: dict[str, Any], told: str, how: Any
) -> None:
    async def run() -> None:
        async with bench(each_rabbitmq.url) as b:
            await b.adapter.declare(b.queue)  # for its dead letters
            await b.raw.queue_delete(b.queue.name)
            await b.raw.queue_declare(b.queue.name, durable=True, arguments=arguments)
            with pytest.raises(ConfigError, match=told) as refused:
                await b.adapter.declare(replace(b.queue, declare=how))
            assert b.queue.name in str(refused.value)

    asyncio.run(run())


def test_a_queue_of_others_that_keeps_the_promises_is_used(each_rabbitmq: Kept) -> None:
    async def run() -> None:
        async with bench(each_rabbitmq.url) as b:
            await b.raw.queue_declare(
                b.queue.name,
                durable=True,
                arguments={"x-queue-type": "quorum", "x-delivery-limit": 50, "x-dead-letter-exchange": "mine"},
            )
            await b.adapter.declare(b.queue)
            await b.send(b.message())
            assert len(await b.take(b.adapter.receiver(b.queue, capacity=1))) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("ordered", True, "ordered is set"),
        ("dedup_seconds", 60.0, "dedup is 60 s"),
        ("lease_seconds", 3600.0, "lease is 3600 s.*consumer_timeout"),
    ],
)
def test_what_rabbitmq_does_not_have_is_refused(each_rabbitmq: Kept, field: str, value: Any, told: str) -> None:
    async def run() -> None:
        async with bench(each_rabbitmq.url) as b:
            with pytest.raises(ConfigError, match=told):
                await b.adapter.declare(replace(b.queue, **{field: value}))

    asyncio.run(run())


def _refusal(url: str) -> LevelerError:
    """What connecting there raises."""

    async def run() -> None:
        async with find(url, clock=SystemClock(), deadline_seconds=5.0):
            pass

    with pytest.raises(LevelerError) as refused:
        asyncio.run(run())
    assert "\n" not in str(refused.value)
    return refused.value


def test_wrong_credentials_and_wrong_places_are_told_in_one_line(
    each_rabbitmq: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _, _, place = each_rabbitmq.url.partition("@")
    host = place.partition("/")[0]
    wrong = _refusal(f"amqp://guest:s3cr3t@{host}/")
    assert isinstance(wrong, AccessDenied)
    assert "user name or password" in str(wrong)
    closed = _refusal(f"amqp://guest:s3cr3t@127.0.0.1:{free_ports()}/")
    assert isinstance(closed, BrokerUnavailable)
    assert "Connection refused" in str(closed)
    nowhere = _refusal(f"{each_rabbitmq.url.rstrip('/')}/no-such-vhost")
    assert isinstance(nowhere, ConfigError)
    assert "'no-such-vhost'" in str(nowhere)
    assert "amqp://" in str(_refusal(f"amqps://guest:s3cr3t@{host}/"))
    assert "s3cr3t" not in caplog.text + "".join(map(repr, (wrong, closed, nowhere)))


def test_another_node_is_used_when_the_first_is_gone(each_rabbitmq: Kept) -> None:
    async def run() -> None:
        scheme, _, place = each_rabbitmq.url.partition("@")
        async with bench(each_rabbitmq.url) as b:
            await b.adapter.declare(b.queue)
            url = f"{scheme}@127.0.0.1:{free_ports()},{place}"
            async with find(url, clock=SystemClock(), deadline_seconds=5.0) as adapter:
                await adapter.sender(b.queue).send([b.message(id="42")])
            [delivery] = await b.take(b.adapter.receiver(b.queue, capacity=1))
            assert delivery.message.id == "42"

    asyncio.run(run())


# ---- a queue that vanishes


def test_a_receiver_whose_queue_is_deleted_says_so_at_once(
    play: Callable[[Play], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(b: Bench) -> None:
        await b.send(b.message())
        receiver = b.adapter.receiver(b.queue, capacity=5)
        [delivery] = await b.take(receiver)
        waiting = asyncio.ensure_future(receiver.receive(1, 5.0))
        await asyncio.sleep(0.1)
        await b.raw.queue_delete(b.queue.name)
        with pytest.raises(ReceiverLost, match=b.queue.name):
            await asyncio.wait_for(waiting, 4.0)
        with pytest.raises(ReceiverLost):
            await receiver.complete([delivery])
        await receiver.close()
        with pytest.raises(BatchError, match=b.queue.name):
            await b.send(b.message())
        with pytest.raises(QueueNotFound, match=b.queue.name):
            await b.adapter.depth(b.queue)
        assert caplog.records == []
        await b.adapter.declare(b.queue)
        [said] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert f"queue '{b.queue.name}' is gone, with what waited in it" in said.getMessage()
        caplog.clear()
        await b.send(b.message(id="again"))
        [delivery] = await b.take(b.adapter.receiver(b.queue, capacity=5))
        assert delivery.message.id == "again"

    play(scene)


def test_many_receivers_come_and_go_on_one_connection(play: Callable[[Play], None]) -> None:
    """A channel is given back: 2047 is all that a connection has."""

    async def come_and_go(b: Bench) -> None:
        receiver = b.adapter.receiver(b.queue, capacity=1)
        assert await receiver.receive(1, 0.0) == []
        await receiver.close()

    async def scene(b: Bench) -> None:
        for _ in range(42):
            await asyncio.gather(*(come_and_go(b) for _ in range(50)))

    play(scene)
