"""What SQS is asked, and how often; and what becomes of answers that are late, partial, or a refusal."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from leveler_sqs import SQSAdapter, SQSOptions
from leveler_sqs.background import Background
from leveler_sqs.calls import Calls
from leveler_sqs.envelope import opened
from leveler_sqs.errors import TooLong, Unanswered
from leveler_sqs.line import Line
from leveler_sqs.location import location_of
from leveler_sqs.post import Post
from leveler_sqs.queues import Queues
from leveler_sqs.receipt import Receipt
from leveler_sqs.receiver import SQSReceiver
from leveler_sqs.source import Change, Source

from leveler import Leveler
from leveler.adapter import Capabilities, DeadLetter, Delivery, Depth, QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import (
    AccessDenied,
    BatchError,
    BrokerUnavailable,
    ConfigError,
    LeaseLost,
    LevelerError,
    SendUnknown,
)
from leveler.message import Death, Message
from leveler.testing import VirtualClock
from tests.containers.keeper import Kept

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def message(number: int = 1, **attributes: Any) -> Message:
    return Message(**{"id": f"m{number}", "time": NOW, "body": b"{}", **attributes})


class Answers(Calls):
    """Answers itself, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], Any]) -> None:
        super().__init__(location_of("sqs://eu-central-1", SQSOptions()), SQSOptions(), 1.0)
        self._answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(self, operation: str, doing: str, *, within: float | None = None, **parameters: Any) -> Any:
        if operation == "get_queue_url":
            return {"QueueUrl": "https://sqs/1/orders"}
        self.asked.append((operation, parameters))
        return self._answer(operation, parameters)


def sent(answers: Answers, messages: list[Message], *, fifo: bool = False) -> dict[int, LevelerError]:
    queues = Queues(answers, SQSOptions())
    post = Post("orders", answers, queues, SystemClock(), fifo=fifo, most_bytes=lambda: 1_000_000)
    return asyncio.run(post.send(dict(enumerate(messages))))


def failing(*ids: str, code: str = "InternalError") -> Callable[[str, dict[str, Any]], Any]:
    return lambda operation, parameters: {
        "Failed": [
            {"Id": entry["Id"], "Code": code, "SenderFault": False}
            for entry in parameters["Entries"]
            if not ids or entry["Id"] in ids
        ]
    }


# Sending


def test_a_delay_beyond_what_sqs_keeps_is_as_long_as_it_can_be() -> None:
    answers = Answers(lambda operation, parameters: {})
    now = SystemClock().now()
    later = [message(1, not_before=now + timedelta(seconds=5.5)), message(2, not_before=now + timedelta(hours=5))]
    assert sent(answers, [*later, message(3, not_before=now - timedelta(hours=1)), message(4)]) == {}
    [(_, parameters)] = answers.asked
    assert [entry.get("DelaySeconds") for entry in parameters["Entries"]] == [6, 900, 0, None]


def test_each_refused_message_of_a_batch_is_named_and_the_others_are_accepted() -> None:
    failed = sent(Answers(failing("3", "7")), [message(number) for number in range(10)])
    assert sorted(failed) == [3, 7]
    assert all(isinstance(error, SendUnknown) for error in failed.values())


def test_an_answer_that_was_lost_is_an_unknown_outcome_and_a_refusal_is_none() -> None:
    def lost(operation: str, parameters: dict[str, Any]) -> Any:
        raise Unanswered("cut")

    def throttled(operation: str, parameters: dict[str, Any]) -> Any:
        raise BrokerUnavailable("too many")

    assert {type(error) for error in sent(Answers(lost), [message()] * 2).values()} == {SendUnknown}
    assert {type(error) for error in sent(Answers(throttled), [message()] * 2).values()} == {BrokerUnavailable}


def test_a_batch_that_is_too_long_goes_in_parts() -> None:
    def answer(operation: str, parameters: dict[str, Any]) -> Any:
        if len(parameters["Entries"]) > 3:
            raise TooLong("256 KiB here")
        return {}

    answers = Answers(answer)
    assert sent(answers, [message(number) for number in range(10)]) == {}
    taken = [len(parameters["Entries"]) for _, parameters in answers.asked if len(parameters["Entries"]) <= 3]
    assert sum(taken) == 10


def test_on_fifo_a_key_that_sqs_would_not_take_is_another_that_it_does() -> None:
    """A foreign message may bring any: its dead letter was refused for ever, and everything of its group waited."""
    answers = Answers(lambda operation, parameters: {})
    assert sent(answers, [message(1, key="k" * 129), message(2, key="k" * 129), message(3, key="ü ")], fifo=True) == {}
    first, second, third = (entry["MessageGroupId"] for entry in answers.asked[0][1]["Entries"])
    assert first == second != third
    assert {len(first), len(third)} == {64}


MIB = 1024 * 1024
EVENT = '{"specversion":"1.0","id":"e","data":"%s"}'
BINARY = '{"specversion":"1.0","id":"e","data_base64":"%s"}'


@pytest.mark.parametrize(
    "text",
    ["b" * MIB, '"' * MIB, "\u00fc" * (MIB // 2), EVENT % ("d" * (MIB - 41)), BINARY % ("/w==" * (MIB // 4 - 13))],
)
@pytest.mark.parametrize("reason", [Death(reason="rejected", detail="\x1b" * 2000), Death(reason="rejected")])
def test_a_foreign_message_as_large_as_sqs_takes_dies_with_its_body(text: str, reason: Death) -> None:
    """Its dead letter had no room: it was delivered until SQS itself gave it up, and on FIFO its group waited."""
    foreign, _ = opened({"MessageId": "m-1", "ReceiptHandle": "r-1", "Body": text}, NOW)
    answers = Answers(lambda operation, parameters: {})
    queues = Queues(answers, SQSOptions())
    post = Post("orders-dead", answers, queues, SystemClock(), fifo=True, most_bytes=lambda: MIB)
    assert asyncio.run(post.send({0: foreign.dead(reason)})) == {}
    [(_, asked)] = answers.asked
    assert opened({"MessageId": "m-2", "Body": asked["Entries"][0]["MessageBody"]}, NOW)[0].body == foreign.body


def test_on_fifo_nothing_of_a_key_goes_after_one_that_was_refused() -> None:
    messages = [message(number, key="a" if number % 2 else "b") for number in range(30)]
    answers = Answers(failing("3"))
    failed = sent(answers, messages, fifo=True)
    gone = [int(entry["MessageDeduplicationId"][1:]) for _, asked in answers.asked[1:] for entry in asked["Entries"]]
    assert [number for number in gone if number % 2] == []
    assert {3, *range(11, 30, 2)} <= set(failed)


# Settling


def source(answers: Answers) -> Source:
    queues = Queues(answers, SQSOptions())
    return Source("orders", answers, queues, SystemClock(), lease_seconds=30.0, dead=False)


def receipts(count: int) -> list[Receipt]:
    return [Receipt(f"r{number}", 0.0, 1e9) for number in range(count)]


def test_a_partial_refusal_is_told_item_by_item() -> None:
    failed = asyncio.run(source(Answers(failing("1"))).change([Change(one, 5) for one in receipts(3)]))
    assert sorted(failed) == [1]


def test_a_receipt_that_is_no_longer_valid_is_a_lost_lease() -> None:
    failed = asyncio.run(source(Answers(failing("0", code="ReceiptHandleIsInvalid"))).delete(receipts(2)))
    assert [(place, type(error)) for place, error in failed.items()] == [(0, LeaseLost)]


def test_a_deletion_whose_answer_was_lost_may_be_repeated() -> None:
    """The second time the receipt is unknown, since the first time did it: that is success."""

    async def story() -> dict[int, LevelerError]:
        ours = receipts(2)
        assert sorted(await source(Answers(failing("0"))).delete(ours)) == [0]
        return await source(Answers(failing(code="ReceiptHandleIsInvalid"))).delete(ours)

    assert sorted(asyncio.run(story())) == [1]


def test_completions_that_come_one_by_one_go_together() -> None:
    bodies = [{"MessageId": f"m{number}", "ReceiptHandle": f"r{number}", "Body": "{}"} for number in range(3)]
    answers = Answers(lambda operation, parameters: {"Messages": bodies} if operation == "receive_message" else {})

    async def story() -> None:
        clock = VirtualClock()
        queues = Queues(answers, SQSOptions())
        source = Source("orders", answers, queues, clock, lease_seconds=30.0, dead=False)
        post = Post("orders", answers, queues, clock, fifo=False, most_bytes=lambda: 1_000_000)
        receiver = SQSReceiver(QueueSpec(name="orders"), source, post, post, clock, Background(), capacity=3, pollers=1)
        completions = []
        for delivery in await receiver.receive(3, 0.0):
            completions.append(asyncio.ensure_future(receiver.complete([delivery])))
            await clock.advance(0.005)
        await clock.advance(0.02)
        await asyncio.gather(*completions)

    asyncio.run(asyncio.wait_for(story(), 10))
    deleted = [len(asked["Entries"]) for operation, asked in answers.asked if operation == "delete_message_batch"]
    assert deleted == [3]


# Connections


class Deafening:
    """Answers whatever it is asked, until it is to leave one request unanswered: then all the connections that it has
    by the end of the next answer are dead, and nobody tells."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._dead: set[asyncio.StreamWriter] = set()
        self._swallow = asyncio.Event()
        self.swallowed = asyncio.Event()

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def deafen(self) -> None:
        self._swallow.set()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                await reader.readexactly(int(length.partition(b":")[2]))
                self.heads.append(head)
                if self._swallow.is_set() and not self.swallowed.is_set():
                    self.swallowed.set()
                elif writer not in self._dead:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    self._dead |= self._connections if self.swallowed.is_set() and not self._dead else set()
        writer.close()


def asking(monkeypatch: pytest.MonkeyPatch, story: Callable[[Deafening, Calls], Awaitable[None]]) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")

    async def play() -> None:
        service = Deafening()
        server = await service.serve()
        options = SQSOptions(endpoint_url=service.url)
        calls = Calls(location_of("sqs://us-east-1", options), options, 10.0)
        await calls.open()
        await story(service, calls)
        await calls.close()
        server.close()

    asyncio.run(asyncio.wait_for(play(), 30))


def test_one_dead_connection_costs_one_deadline_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its age are not tried one after another."""

    async def story(service: Deafening, calls: Calls) -> None:
        service.deafen()
        unheard = asyncio.ensure_future(calls.ask("list_queues", "look", within=0.5))
        await service.swallowed.wait()
        await calls.ask("list_queues", "look")  # its connection is idle now, and dead
        with pytest.raises(Unanswered):
            await unheard
        await calls.ask("list_queues", "look", within=5.0)

    asking(monkeypatch, story)


def test_who_was_not_answered_hears_of_that_and_not_of_the_new_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A send whose outcome is not known must not be taken for one that was refused."""

    async def refused(calls: Calls) -> Line:
        raise AccessDenied("no credentials any more")

    async def story(service: Deafening, calls: Calls) -> None:
        service.deafen()
        with monkeypatch.context() as patched:
            patched.setattr(Calls, "_new_line", refused)
            with pytest.raises(Unanswered):
                await calls.ask("list_queues", "look", within=0.2)
        await calls.ask("list_queues", "look")

    asking(monkeypatch, story)


def test_a_request_says_that_it_is_levelers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(service: Deafening, calls: Calls) -> None:
        assert b"user-agent: leveler aiobotocore/" in service.heads[-1].lower()

    asking(monkeypatch, story)


# On a server


@pytest.fixture
def queue() -> QueueSpec:
    return QueueSpec(name=f"sqs-{uuid4().hex[:12]}", lease_seconds=5.0)


def on(server: Kept, queue: QueueSpec, story: Callable[[SQSAdapter], Awaitable[Any]]) -> Any:
    async def play() -> Any:
        async with find(server.url, clock=SystemClock(), deadline_seconds=10.0) as adapter:
            assert isinstance(adapter, SQSAdapter)
            try:
                return await story(adapter)
            finally:
                await adapter.drop(queue)

    return asyncio.run(play())


class Counting:
    """Counts what is asked of SQS."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: Counter[str] = Counter()
        ask = Calls.ask

        async def counted(calls: Calls, operation: str, doing: str, **more: Any) -> Any:
            self.requests[operation] += 1
            return await ask(calls, operation, doing, **more)

        monkeypatch.setattr(Calls, "ask", counted)


def test_at_saturation_320_requests_carry_1000_messages(
    sqs: Kept, queue: QueueSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    count = 1000

    async def story() -> None:
        done = asyncio.Event()
        left = count

        async def handle(value: dict[str, int]) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        app = Leveler(sqs.url)
        app.consumer(queue.name)(handle)
        async with app:
            await app.send_many(queue.name, [{"n": number} for number in range(count)])
        async with app.working():
            await asyncio.wait_for(done.wait(), 60)

    async def play(adapter: SQSAdapter) -> None:
        await story()

    on(sqs, queue, play)
    carried = {name: times for name, times in counting.requests.items() if name.endswith(("_batch", "receive_message"))}
    assert sum(carried.values()) <= 320, carried


def test_an_idle_consumer_asks_once_in_five_seconds(
    sqs: Kept, queue: QueueSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)

    async def story(adapter: SQSAdapter) -> int:
        await adapter.declare(queue)
        counting.requests.clear()
        receiver = adapter.receiver(queue, capacity=1000)
        for _ in range(2):
            assert await receiver.receive(500, 5.0) == []
        asked = counting.requests.total()
        await receiver.close()
        return asked

    assert on(sqs, queue, story) <= 2


def test_a_redrive_policy_that_comes_first_is_refused(sqs: Kept, queue: QueueSpec) -> None:
    async def story(adapter: SQSAdapter) -> None:
        await adapter.declare(queue)
        await adapter.declare(replace(queue, max_deliveries=100))
        with pytest.raises(ConfigError, match=r"maxReceiveCount 100.* 101 times"):
            await adapter.declare(replace(queue, max_deliveries=101))

    on(sqs, queue, story)


def test_a_queue_that_somebody_made_gets_a_backstop_and_says_what_is_weak(sqs: Kept, queue: QueueSpec) -> None:
    async def story(adapter: SQSAdapter) -> tuple[str, ...]:
        for name in (queue.name, queue.dead_name):
            await adapter._calls.ask("create_queue", "", QueueName=name)
        return (await adapter.declare(queue)).degraded

    degraded = on(sqs, queue, story)
    assert len(degraded) == 2
    assert all("after 4 days" in line for line in degraded)


def denied(monkeypatch: pytest.MonkeyPatch, *operations: str) -> None:
    ask = Calls.ask

    async def refusing(calls: Calls, operation: str, doing: str, **more: Any) -> Any:
        if operation in operations:
            raise AccessDenied(f"{doing}: AccessDenied: allow it in the policy")
        return await ask(calls, operation, doing, **more)

    monkeypatch.setattr(Calls, "ask", refusing)


def test_who_may_not_look_works_and_is_told(sqs: Kept, queue: QueueSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(adapter: SQSAdapter) -> tuple[Capabilities, Depth, list[Delivery]]:
        await adapter.declare(queue)
        denied(monkeypatch, "list_queues", "get_queue_attributes", "set_queue_attributes", "create_queue")
        can = await adapter.declare(queue)
        await adapter.sender(queue).send([message()])
        receiver = adapter.receiver(queue, capacity=5)
        return can, await adapter.depth(queue), list(await receiver.receive(5, 5.0))

    can, depth, came = on(sqs, queue, story)
    assert can.depth == "none"
    assert depth == Depth(None, None, None, None, None)
    assert "could not be verified" in can.degraded[0]
    assert [one.message.id for one in came] == ["m1"]


def test_who_may_not_create_is_refused(sqs: Kept, queue: QueueSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    denied(monkeypatch, "create_queue")

    async def story(adapter: SQSAdapter) -> None:
        with pytest.raises(AccessDenied, match=f"create queue '{queue.dead_name}'"):
            await adapter.declare(queue)

    on(sqs, queue, story)


def test_a_dead_letter_whose_source_stays_is_not_sent_twice(
    sqs: Kept, queue: QueueSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is there, and deleting the source fails once: the second try only deletes."""

    async def story(adapter: SQSAdapter) -> int:
        await adapter.declare(queue)
        await adapter.sender(queue).send([message()])
        receiver = adapter.receiver(queue, capacity=5)
        [delivery] = await receiver.receive(5, 5.0)
        letter = [DeadLetter(delivery, Death(reason="rejected"))]
        with monkeypatch.context() as patched:
            denied(patched, "delete_message_batch")
            with pytest.raises(BatchError):
                await receiver.dead_letter(letter)
        await receiver.dead_letter(letter)
        return len(await adapter.peek(queue, 10, dead=True))

    assert on(sqs, queue, story) == 1


def test_what_comes_after_a_stop_goes_back(sqs: Kept, queue: QueueSpec) -> None:
    """A poll is never cancelled: what it brings after `hold(0)` is there for others, and has used no attempt."""

    async def story(adapter: SQSAdapter) -> Delivery:
        await adapter.declare(queue)
        leaving, staying = adapter.receiver(queue, capacity=5), adapter.receiver(queue, capacity=5)
        receiving = asyncio.ensure_future(leaving.receive(5, 5.0))
        await asyncio.sleep(0.3)
        await leaving.hold(0)
        assert await receiving == []
        await adapter.sender(queue).send([message()])
        [delivery] = await staying.receive(5, 5.0)
        return delivery

    assert on(sqs, queue, story).attempt == 1


@pytest.mark.parametrize(
    ("url", "says"), [("sqs://eu-centrl-1", "eu-centrl-1"), ("sqs://eu-central-1?profile=nobodys", "nobodys")]
)
def test_a_region_or_a_profile_that_is_none_is_named(url: str, says: str) -> None:
    async def enter() -> None:
        async with find(url, clock=SystemClock(), deadline_seconds=2.0):
            pass

    with pytest.raises(ConfigError, match=says):
        asyncio.run(enter())


def test_no_credentials_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")

    async def enter() -> None:
        async with find("sqs://eu-central-1", clock=SystemClock(), deadline_seconds=2.0):
            pass

    with pytest.raises(AccessDenied, match="no AWS credentials were found: set AWS_ACCESS_KEY_ID"):
        asyncio.run(enter())
