"""What the Service Bus adapter does when the service is not as it should be: on the emulator."""

from __future__ import annotations

import asyncio
import json
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageHeader
from azure.servicebus.exceptions import ServiceBusConnectionError
from leveler_servicebus.adapter import ServiceBusAdapter
from leveler_servicebus.errors import Unanswered
from leveler_servicebus.links import Link
from leveler_servicebus.receiver import ServiceBusReceiver

from leveler.adapter import Abandon, Adapter, Delivery, QueueSpec, Receiver
from leveler.clock import SystemClock
from leveler.deadletter import DeadLetters
from leveler.discovery import find
from leveler.errors import BatchError, BrokerUnavailable, ConfigError, SendUnknown
from leveler.message import Message
from leveler.testing.contract import UrlTarget, run
from tests.containers.find import server
from tests.containers.keeper import Kept
from tests.containers.port import free_ports
from tests.faults.wire.amqp1 import Amqp1Conversation
from tests.faults.wire.proxy import Proxy


def opened(url: str) -> ServiceBusAdapter:
    adapter: Adapter = find(url, clock=SystemClock(), deadline_seconds=8.0)
    assert isinstance(adapter, ServiceBusAdapter)
    return adapter


def fresh(**fields: Any) -> QueueSpec:
    return QueueSpec(**{"name": f"parts-{uuid.uuid4().hex[:12]}", "lease_seconds": 5.0, **fields})


@asynccontextmanager
async def declared(url: str, **fields: Any) -> AsyncIterator[tuple[ServiceBusAdapter, QueueSpec]]:
    async with opened(url) as adapter:
        queue = fresh(**fields)
        await adapter.declare(queue)
        yield adapter, queue
        await adapter.drop(queue)


def message() -> Message:
    return Message(id=uuid.uuid4().hex, body=b"{}", time=SystemClock().now())


async def received(receiver: Receiver, within: float = 8.0) -> Delivery:
    """The next one, however often the way to it is lost."""
    async with asyncio.timeout(within):
        while True:
            try:
                for delivery in await receiver.receive(1, 2.0):
                    return delivery
            except BrokerUnavailable:
                continue


def test_a_receiver_finds_out_that_nobody_is_there_at_the_other_end_of_any_of_its_links(servicebus: Kept) -> None:
    async def play(proxy: Proxy) -> None:
        url = servicebus.url.replace(f":{port}", f":{proxy.port}", 1)
        async with declared(f"{url}&silence_seconds=1") as (adapter, queue):
            receiver = adapter.receiver(queue, capacity=1)
            await adapter.sender(queue).send([message()])
            await receiver.complete([await received(receiver)])
            proxy.half_open()
            assert proxy.silent == 2
            async with asyncio.timeout(30):
                while proxy.silent:
                    with suppress(BrokerUnavailable):
                        await receiver.receive(1, 1.0)
            await adapter.sender(queue).send([message()])  # over a link that was made anew
            await receiver.complete([await received(receiver)])
            await receiver.close()

    port = urlsplit(servicebus.url).port or 0
    with Proxy(free_ports(), port, Amqp1Conversation) as proxy:
        asyncio.run(play(proxy))


async def refused(verb: Awaitable[object]) -> Exception:
    with pytest.raises(BatchError) as caught:
        await verb
    [error] = caught.value.failed.values()
    return error


@pytest.mark.parametrize(
    ("setting", "given", "wanted"),
    [
        ("MaxDeliveryCount", {"max_delivery_count": 3}, {}),
        ("LockDuration", {"lock_duration": timedelta(seconds=5)}, {"lease_seconds": 30.0}),
        ("RequiresSession", {"requires_session": True}, {}),
        ("RequiresSession", {}, {"ordered": True}),
        ("DuplicateDetectionHistoryTimeWindow", {}, {"dedup_seconds": 60.0}),
        ("DefaultMessageTimeToLive", {"default_message_time_to_live": timedelta(days=1)}, {}),
    ],
)
@pytest.mark.parametrize("declare", ["create", "verify"])
def test_a_queue_that_cannot_keep_the_promises_is_refused_by_its_setting(
    servicebus: Kept, setting: str, given: dict[str, Any], wanted: dict[str, Any], declare: str
) -> None:
    async def play() -> None:
        async with opened(servicebus.url) as adapter:
            queue = fresh(declare=declare, **wanted)
            await adapter._admin._client.create_queue(queue.name, **given)
            with pytest.raises(ConfigError, match=setting):
                await adapter.declare(queue)
            await adapter.drop(queue)

    asyncio.run(play())


def test_a_longer_lock_is_used_for_all_of_its_length(servicebus: Kept) -> None:
    async def play() -> None:
        async with opened(servicebus.url) as adapter:
            queue = fresh()
            await adapter._admin._client.create_queue(queue.name, lock_duration=timedelta(seconds=60))
            await adapter.declare(queue)
            await adapter.sender(queue).send([message()])
            delivery = await received(adapter.receiver(queue, capacity=1))
            assert delivery.leased_until - adapter.clock.monotonic() > 50
            await adapter.drop(queue)

    asyncio.run(play())


def test_what_nobody_has_looked_at_is_said_to_be_degraded(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            said = await adapter.declare(replace(queue, declare="skip"))
            assert "MaxDeliveryCount" in said.degraded[0]
            assert (await adapter.declare(queue)).degraded == ()

    asyncio.run(play())


def test_links_that_are_detached_by_force_are_made_anew(servicebus: Kept) -> None:
    if servicebus.kind == "given":
        pytest.skip("only an emulator can be told to do this")

    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            sender, receiver = adapter.sender(queue), adapter.receiver(queue, capacity=10)
            await sender.send([message()])
            held = await received(receiver)
            await asyncio.to_thread(tell, servicebus.url, "detach", queue=queue.name)
            await again(lambda: receiver.complete([held]))
            await again(lambda: sender.send([message()]))
            await received(receiver)
            await receiver.close()

    asyncio.run(play())


async def again(verb: Callable[[], Awaitable[None]]) -> None:
    """What the core does when a verb was not answered: a lock survives its link."""
    failed: Sequence[object] = ()
    try:
        await verb()
    except BatchError as error:
        failed = [*error.failed.values()]
    assert all(isinstance(one, BrokerUnavailable | SendUnknown) for one in failed), failed
    if failed:
        await verb()


def test_a_completion_whose_answer_was_lost_is_found_to_be_done(
    servicebus: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await adapter.sender(queue).send([message()])
            receiver = adapter.receiver(queue, capacity=1)
            assert isinstance(receiver, ServiceBusReceiver)
            held = await received(receiver)
            with monkeypatch.context() as once:
                once.setattr(receiver._settling, "ask", losing_its_answer(receiver._settling))
                assert isinstance(await refused(receiver.complete([held])), Unanswered)
            await receiver.complete([held])
            await receiver.close()

    asyncio.run(play())


def test_what_could_not_be_completed_after_its_copy_was_sent_is_not_copied_again(
    servicebus: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await adapter.sender(queue).send([message()])
            receiver = adapter.receiver(queue, capacity=5)
            assert isinstance(receiver, ServiceBusReceiver)
            held = await received(receiver)
            item = Abandon(held, 60.0)
            with monkeypatch.context() as once:
                once.setattr(receiver._settling, "ask", losing_its_answer(receiver._settling))
                assert isinstance(await refused(receiver.abandon([item])), Unanswered)
            await receiver.abandon([item])
            assert (await adapter.depth(queue)).delayed == 1
            await receiver.close()

    asyncio.run(play())


def losing_its_answer(link: Link) -> Any:
    """It is done, and nobody is told."""
    ask = link.ask

    async def lost(verb: Any, **options: Any) -> Any:
        async def done(opened: Any) -> None:
            await verb(opened)
            raise ServiceBusConnectionError(message="cut")

        return await ask(done, **options)

    return lost


@pytest.mark.parametrize(("ahead_seconds", "ordered"), [("30", False), ("-30", True)])
def test_clocks_that_differ_by_half_a_minute_change_nothing(ahead_seconds: str, ordered: bool) -> None:
    with server("servicebus", "process", {"clock-ahead-seconds": ahead_seconds}) as ahead:
        target = UrlTarget(ahead.url, lease_seconds=3.0, grace_seconds=1.5)
        target.spec = {"ordered": ordered}
        for topic in ("lease-a_", "delay-a_message_given_back"):
            report = asyncio.run(run(target, only=topic, jobs=8))
            assert [f"{one.case}: {one.why}" for one in report.results if one.verdict == "failed"] == []
            assert any(one.verdict == "passed" for one in report.results)


def test_nobody_there_is_told_in_time() -> None:
    async def play() -> None:
        port = free_ports()
        with pytest.raises(BrokerUnavailable, match="can be reached"):
            async with (
                asyncio.timeout(8.0),
                opened(f"servicebus://a:a2V5@127.0.0.1:{port}?insecure=true&admin_port={port}"),
            ):
                pass

    asyncio.run(play())


def tell(url: str, control: str, **said: object) -> None:
    port = parse_qs(urlsplit(url).query)["admin_port"][0]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/$emulator/{control}",
        data=json.dumps(said).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=5.0).close()


def test_more_than_the_service_shows_at_a_time_is_shown(servicebus: Kept) -> None:
    """It shows up to 250 messages in one answer."""

    async def main() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            sent = [message() for _ in range(300)]
            await adapter.sender(queue).send(sent)
            seen = await adapter.peek(queue, 1000)
            assert [one.id for one in seen] == [one.id for one in sent]
            assert len(await adapter.peek(queue, 270)) == 270

    asyncio.run(main())


def unreadable(**said: Any) -> AmqpAnnotatedMessage:
    """Nested deeper than the library reads."""
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    return AmqpAnnotatedMessage(value_body=deep, **said)


async def put(adapter: ServiceBusAdapter, queue: QueueSpec, *raw: Any) -> None:
    """Foreign messages, as they are."""
    async with adapter._client_or_raise().get_queue_sender(queue.name) as sender:
        for one in raw:
            await sender.send_messages(one)


async def buried(adapter: ServiceBusAdapter, queue: QueueSpec, *ids: str | None) -> None:
    """Dead letters of these ids; None for one that cannot be read."""
    at_once = timedelta(milliseconds=1)
    for id in ids:
        one = (
            unreadable(header=AmqpMessageHeader(time_to_live=1))
            if id is None
            else ServiceBusMessage("{}", message_id=id, time_to_live=at_once)
        )
        await put(adapter, queue, one)
    async with asyncio.timeout(20):
        while (await adapter.depth(queue)).dead != len(ids):  # noqa: ASYNC110 - the service tells nobody
            await asyncio.sleep(0.05)


def test_a_message_that_the_library_cannot_read_ends_a_link_and_not_the_event_loop(servicebus: Kept) -> None:
    """The library waited for nothing any more, and did not say so: the next look was the next, without a pause."""

    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await put(adapter, queue, unreadable())
            receiver = adapter.receiver(queue, capacity=1)
            with pytest.raises(BrokerUnavailable, match="link"):
                await receiver.receive(1, 2.0)
            await adapter.sender(queue).send([message()])
            await receiver.complete([await received(receiver)])
            await receiver.close()

    asyncio.run(play())


def test_a_message_that_the_library_cannot_read_does_not_make_a_receiver_doubt_the_other_end(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(f"{servicebus.url}&silence_seconds=1") as (adapter, queue):
            await put(adapter, queue, unreadable())
            receiver = adapter.receiver(queue, capacity=1)
            with pytest.raises(BrokerUnavailable, match="link"):
                await receiver.receive(1, 2.0)
            assert await receiver.receive(1, 2.5) == []  # and has asked meanwhile
            await receiver.close()

    asyncio.run(play())


def test_dead_letters_are_listed_beside_one_that_the_library_cannot_read(
    servicebus: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await buried(adapter, queue, "first", None, "last")
            assert [letter.id for letter in await adapter.peek(queue, 100, dead=True)] == ["first", "last"]
            assert [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()] == [
                f"dead letter 2 of queue {queue.name!r} cannot be read and is not shown: 'leveler dead purge' removes "
                "it, with all others: replay those first"
            ]

    asyncio.run(play())


def test_dead_letters_around_one_that_the_library_cannot_read_are_replayed_and_it_stays(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url, lease_seconds=300.0) as (adapter, queue):
            await buried(adapter, queue, None, "first", None, "second", None)
            letters = DeadLetters(adapter, queue, await adapter.declare(queue), SystemClock())
            assert sorted((await letters.replay()).replayed) == ["first", "second"]
            assert (await adapter.depth(queue)).dead == 3
            assert [letter.id for letter in await adapter.peek(queue, 100)] == ["first", "second"]

    asyncio.run(play())


@pytest.mark.parametrize("ids", [("first", None, "last"), (None, "last"), (None, None)])
def test_a_purge_removes_dead_letters_that_the_library_cannot_read_and_all_others(
    servicebus: Kept, ids: tuple[str | None, ...]
) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await buried(adapter, queue, *ids)
            assert await adapter.purge(queue, dead=True) is None  # what came with it was not counted
            assert (await adapter.depth(queue)).dead == 0

    asyncio.run(play())
