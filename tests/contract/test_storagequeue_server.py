"""What the Storage Queue adapter does when the service, or the way to it, does not: on the emulator."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ServerDisconnectedError
from azure.core.exceptions import ServiceRequestError
from leveler_storagequeue import StorageQueueAdapter
from leveler_storagequeue.errors import Unanswered
from leveler_storagequeue.receiver import StorageQueueReceiver

from leveler.adapter import Abandon, Adapter, DeadLetter, QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import AccessDenied, BatchError, BrokerUnavailable, QueueNotFound, SendUnknown
from leveler.message import Death, Message
from tests.containers.keeper import Kept
from tests.containers.port import free_ports

DEATH = Death(reason="rejected")


class Bench:
    """One queue, and what it takes to fill and to empty it."""

    def __init__(self, adapter: StorageQueueAdapter, queue: QueueSpec) -> None:
        self.adapter = adapter
        self.queue = queue
        self.receiver: StorageQueueReceiver = adapter.receiver(queue, capacity=10)
        self.client: Any = adapter._service().queue(queue.name)

    async def leased(self) -> Any:
        await self.adapter.sender(self.queue).send([message()])
        [delivery] = await self.receiver.receive(1, 5.0)
        return delivery


@asynccontextmanager
async def bench(url: str) -> AsyncIterator[Bench]:
    async with opened(url) as adapter:
        queue = QueueSpec(name=f"parts-{uuid.uuid4().hex[:12]}", lease_seconds=5.0)
        await adapter.declare(queue)
        made = Bench(adapter, queue)
        yield made
        await made.receiver.close()
        await adapter.drop(queue)


def opened(url: str) -> StorageQueueAdapter:
    adapter: Adapter = find(url, clock=SystemClock(), deadline_seconds=4.0)
    assert isinstance(adapter, StorageQueueAdapter)
    return adapter


def message(body: bytes = b"{}") -> Message:
    return Message(id=uuid.uuid4().hex, body=body, time=SystemClock().now())


def losing_its_answer(verb: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    """The same, done, with nobody told."""

    async def lost(*arguments: Any, **options: Any) -> object:
        await verb(*arguments, **options)
        raise ServiceRequestError("ended", error=ServerDisconnectedError())

    return lost


async def refused(verb: Awaitable[object]) -> Exception:
    with pytest.raises(BatchError) as caught:
        await verb
    [error] = caught.value.failed.values()
    return error


def test_a_completion_whose_answer_was_lost_is_found_to_be_done(
    storagequeue: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with bench(storagequeue.url) as t:
            delivery, queue = await t.leased(), t.receiver._queue
            with monkeypatch.context() as once:
                once.setattr(queue, "delete_message", losing_its_answer(queue.delete_message))
                assert isinstance(await refused(t.receiver.complete([delivery])), Unanswered)
            await t.receiver.complete([delivery])

    asyncio.run(play())


def test_a_burial_that_is_tried_again_leaves_one_dead_letter(
    storagequeue: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with bench(storagequeue.url) as t:
            delivery, queue = await t.leased(), t.receiver._queue
            with monkeypatch.context() as once:
                once.setattr(queue, "delete_message", losing_its_answer(queue.delete_message))
                assert isinstance(await refused(t.receiver.dead_letter([DeadLetter(delivery, DEATH)])), Unanswered)
            await t.receiver.dead_letter([DeadLetter(delivery, DEATH)])
            assert len(await t.adapter.peek(t.queue, 10, dead=True)) == 1

    asyncio.run(play())


def test_a_send_whose_answer_was_lost_is_unknown(storagequeue: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with bench(storagequeue.url) as t:
            sender = t.adapter.sender(t.queue)
            monkeypatch.setattr(sender._queue, "send_message", losing_its_answer(sender._queue.send_message))
            assert isinstance(await refused(sender.send([message()])), SendUnknown)
            assert len(await t.adapter.peek(t.queue, 10)) == 1

    asyncio.run(play())


def test_what_comes_to_a_receiver_that_has_been_stopped_goes_back_uncounted(
    storagequeue: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with bench(storagequeue.url) as t:
            await t.adapter.sender(t.queue).send([message()])
            take = t.receiver._take

            async def slow(room: int) -> Any:
                came = await take(room)
                await t.receiver.hold(0)
                return came

            monkeypatch.setattr(t.receiver, "_take", slow)
            assert list(await t.receiver.receive(1, 1.0)) == []
            [delivery] = await t.adapter.receiver(t.queue, capacity=1).receive(1, 3.0)
            assert delivery.attempt == 1
            assert delivery.receipt.dequeue_count == 2

    asyncio.run(play())


@pytest.mark.parametrize("text", ["hello", '{"total": 1}', "ü<&>"])
def test_a_message_of_somebody_elses_stays_itself_through_an_uncounted_give_back(storagequeue: Kept, text: str) -> None:
    async def play() -> None:
        async with bench(storagequeue.url) as t:
            await t.client.send_message(text)
            [first] = await t.receiver.receive(1, 3.0)
            assert first.message.body == text.encode()
            await t.receiver.abandon([Abandon(first, counted=False)])
            [second] = await t.receiver.receive(1, 3.0)
            assert (second.message.id, second.message.body) == (first.message.id, first.message.body)
            assert second.attempt == 1
            await t.receiver.abandon([Abandon(second)])
            [third] = await t.receiver.receive(1, 3.0)
            assert third.attempt == 2

    asyncio.run(play())


def test_a_message_is_kept_for_ever(storagequeue: Kept) -> None:
    async def play() -> None:
        async with bench(storagequeue.url) as t:
            await t.adapter.sender(t.queue).send([message()])
            [raw] = await t.client.peek_messages(1)
            assert raw.expires_on.year == 9999

    asyncio.run(play())


def test_a_queue_that_is_gone_is_said_to_be(storagequeue: Kept) -> None:
    async def play() -> None:
        async with bench(storagequeue.url) as t:
            delivery = await t.leased()
            await t.adapter.drop(t.queue)
            assert isinstance(await refused(t.receiver.complete([delivery])), QueueNotFound)
            assert isinstance(await refused(t.adapter.sender(t.queue).send([message()])), QueueNotFound)

    asyncio.run(play())


def test_a_wrong_key_is_refused_at_the_door_and_not_shown(storagequeue: Kept) -> None:
    if storagequeue.kind == "given":
        pytest.skip("nobody's account is knocked at with a wrong key")
    at = urlsplit(storagequeue.url)
    url = f"azurequeue://devstoreaccount1:c2VjcmV0@127.0.0.1:{at.port}/devstoreaccount1?insecure=true"

    async def play() -> None:
        with pytest.raises(AccessDenied, match="correct the account's key") as caught:
            async with opened(url):
                pass
        assert "c2VjcmV0" not in str(caught.value)

    asyncio.run(play())


def test_nobody_there_is_told_in_time() -> None:
    async def play() -> None:
        with pytest.raises(BrokerUnavailable, match="can be reached"):
            async with asyncio.timeout(4.0), opened(f"azurequeue://a:a2V5@127.0.0.1:{free_ports()}/a?insecure=true"):
                pass

    asyncio.run(play())
