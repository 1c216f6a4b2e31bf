"""Messages that are sent together share a row, and each of them is a message all the same."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions, removal
from leveler_sqlite.bundles import MOST_MESSAGES
from leveler_sqlite.runs import Run
from leveler_sqlite.transaction import Transaction

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.clock import Clock
from leveler.errors import InvalidMessage
from leveler.message import Death, Message
from leveler.testing import VirtualClock
from leveler.testing.contract import errors_of

QUEUE = QueueSpec(name="orders", lease_seconds=10.0)
COUNT = 2 * MOST_MESSAGES + 5

Story = Callable[[SQLiteAdapter, VirtualClock], Awaitable[None]]


def tell(path: Path, story: Story, *, filled: bool = True) -> None:
    """A story that begins with `COUNT` messages, all sent at once."""

    async def whole() -> None:
        clock = VirtualClock()
        async with SQLiteAdapter(f"sqlite:///{path}", SQLiteOptions(), clock=clock, deadline_seconds=10.0) as adapter:
            await adapter.declare(QUEUE)
            if filled:
                await adapter.sender(QUEUE).send([message(number, clock) for number in range(COUNT)])
            await story(adapter, clock)

    asyncio.run(whole())


def message(number: int, clock: Clock, **words: Any) -> Message:
    return Message(id=str(number), body=b"\0%d\xff" % number * (number % 3), time=clock.now(), **words)


def execute(path: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def numbers(messages: Any) -> list[int]:
    return [int(getattr(one, "message", one).id) for one in messages]


async def drain(receiver: Receiver, credit: int) -> list[int]:
    came = []
    while deliveries := await receiver.receive(credit, 0.0):
        came += numbers(deliveries)
        await receiver.complete(deliveries)
    return came


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


@pytest.mark.parametrize("credit", [1, 2, 7, 64, 100, 1000])
def test_they_come_in_order_with_what_each_carries_however_many_are_asked_for(path: Path, credit: int) -> None:
    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        assert execute(path, "SELECT size FROM bundle") == [(MOST_MESSAGES,), (MOST_MESSAGES,), (5,)]
        receiver, came = adapter.receiver(QUEUE, capacity=1000), list[Message]()
        while deliveries := await receiver.receive(credit, 0.0):
            assert len(deliveries) == min(credit, COUNT - len(came))
            came += [one.message for one in deliveries]
            await receiver.complete(deliveries)
        assert came == [message(number, clock) for number in range(COUNT)]
        assert [execute(path, f"SELECT * FROM {table}") for table in ("bundle", "rest", "ready", "held")] == [[]] * 4

    tell(path, story)


def test_a_bundle_goes_with_its_last_message_whatever_the_order(path: Path) -> None:
    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        receiver = adapter.receiver(QUEUE, capacity=1000)
        deliveries = list(await receiver.receive(MOST_MESSAGES, 0.0))
        for part in (deliveries[1::2], deliveries[0::4], deliveries[6::4], deliveries[2:3]):
            assert execute(path, "SELECT min(id) FROM bundle") == [(1,)]
            await receiver.complete(part)
        assert execute(path, "SELECT min(id) FROM bundle") == [(1 + MOST_MESSAGES,)]
        depth = await adapter.depth(QUEUE)
        assert (depth.ready, depth.leased) == (COUNT - MOST_MESSAGES, 0)

    tell(path, story)


def test_what_is_given_back_from_the_middle_comes_again_in_its_place_and_counts_for_itself(path: Path) -> None:
    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        receiver = adapter.receiver(QUEUE, capacity=1000)
        deliveries = await receiver.receive(20, 0.0)
        await receiver.abandon([Abandon(deliveries[5]), Abandon(deliveries[6], counted=False)])
        again = await receiver.receive(3, 0.0)
        assert [(one.message.id, one.attempt) for one in again] == [("5", 2), ("6", 1), ("20", 1)]
        assert [one.message.failed_at is None for one in again] == [False, True, True]
        assert again[0].message.body == deliveries[5].message.body

    tell(path, story)


def test_a_lease_that_ends_counts_for_what_is_left_of_it(path: Path) -> None:
    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        receiver = adapter.receiver(QUEUE, capacity=1000)
        deliveries = await receiver.receive(20, 0.0)
        await receiver.complete(deliveries[3:5])
        await clock.advance(5.0)
        await receiver.extend(deliveries[10:12])
        await clock.advance(5.1)
        again = await receiver.receive(20, 0.0)
        left = [number for number in range(20) if number not in (3, 4, 10, 11)]
        assert [(int(one.message.id), one.attempt) for one in again] == [
            *((number, 2) for number in left),
            *((number, 1) for number in range(20, 24)),
        ]
        assert set(await errors_of(receiver.complete, deliveries[8:13])) == {0, 1, 4}
        assert (await adapter.depth(QUEUE)).leased == 20

    tell(path, story)


def test_whoever_has_to_wait_or_dies_does_not_keep_a_bundle(path: Path) -> None:
    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        receiver = adapter.receiver(QUEUE, capacity=1000)
        deliveries = await receiver.receive(MOST_MESSAGES, 0.0)
        later, dead = deliveries[:3], deliveries[61:]
        await receiver.abandon([Abandon(one, 3600.0) for one in later])
        await receiver.dead_letter([DeadLetter(one, Death(reason="rejected")) for one in dead])
        assert execute(path, "SELECT size FROM rest") == [(MOST_MESSAGES - 6,)]
        await receiver.complete(deliveries[3:61])
        assert execute(path, "SELECT id FROM bundle WHERE id = 1") == []
        assert execute(path, "SELECT id, body FROM message ORDER BY id") == [
            (int(one.message.id) + 1, one.message.body) for one in (*later, *dead)
        ]
        assert numbers(await adapter.peek(QUEUE, 9, dead=True)) == [61, 62, 63]
        await drain(receiver, 1000)
        await clock.advance(3600.1)
        assert await drain(receiver, 1000) == [0, 1, 2]

    tell(path, story)


def test_the_next_ones_are_shown_and_no_more(path: Path) -> None:
    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        receiver = adapter.receiver(QUEUE, capacity=1000)
        await receiver.receive(10, 0.0)
        for limit in (0, 1, 70, 1000):
            shown = await adapter.peek(QUEUE, limit)
            assert list(shown) == [message(number, clock) for number in range(10, min(10 + limit, COUNT))]
        assert await adapter.purge(QUEUE) == COUNT - 10
        assert await adapter.peek(QUEUE, 10) == []
        assert (await adapter.depth(QUEUE)).leased == 10

    tell(path, story)


def test_a_purge_takes_bundles_whole_and_no_more_of_them_at_once_than_it_must(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_PORTION", MOST_MESSAGES + 1)
    portions: list[int] = []
    purge = removal.purge

    def noted(transaction: Transaction, name: str) -> int:
        portions.append(purge(transaction, name))
        return portions[-1]

    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        monkeypatch.setattr(removal, "purge", noted)
        assert await adapter.purge(QUEUE) == COUNT
        assert portions == [2 * MOST_MESSAGES, 5, 0]

    tell(path, story)


def test_what_does_not_belong_together_is_in_no_bundle(path: Path) -> None:
    """Of another priority, with a delay, or large: what was sent after it comes after it all the same."""

    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        kinds: list[dict[str, Any]] = [{}, {"priority": 5}, {"not_before": clock.now() + timedelta(seconds=5)}, {}, {}]
        batch = [message(number, clock, **words) for number, words in enumerate(kinds)]
        large = Message(id="5", body=b"x" * 200_000, time=clock.now())
        await adapter.sender(QUEUE).send([*batch, large, message(6, clock)])
        assert execute(path, "SELECT id, size FROM bundle") == [(4, 2)]
        await clock.advance(5.1)
        assert await drain(adapter.receiver(QUEUE, capacity=100), 2) == [1, 0, 2, 3, 4, 5, 6]

    tell(path, story, filled=False)


ALL = [f"sqlite-{number}" for number in range(1, 6)]

#: Whether the messages are alike, what somebody does to their bundle, and which come as foreign messages then.
SPOILT = {
    "an envelope": (False, """envelopes = replace(envelopes, '"id":"3"', '"id":3')""", ["sqlite-4"]),
    "all envelopes": (False, "envelopes = 'spoilt'", ALL),
    "too few envelopes": (False, "envelopes = '[]'", ALL),
    "the lengths": (False, "lengths = '[9999]'", []),
    "the lengths of those alike": (True, "lengths = '[1, 2'", []),
    "the one envelope": (True, "envelopes = 'spoilt'", ALL),
    "the ids": (True, "ids = 'spoilt'", ALL),
    "too few ids": (True, """ids = '["1"]'""", ALL),
}


@pytest.mark.parametrize("what", SPOILT)
@pytest.mark.parametrize("credit", [1, 5])
def test_a_spoilt_bundle_keeps_nothing_from_coming(path: Path, what: str, credit: int) -> None:
    alike, spoil, foreign = SPOILT[what]

    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        sent = [message(number, clock, type="" if alike else f"kind-{number}") for number in range(5)]
        await adapter.sender(QUEUE).send(sent)
        assert execute(path, "SELECT size, ids <> '' FROM bundle") == [(5, alike)]
        execute(path, f"UPDATE bundle SET {spoil}")
        receiver, came = adapter.receiver(QUEUE, capacity=100), list[Delivery]()
        while deliveries := await receiver.receive(credit, 0.0):
            came += deliveries
        assert [one.message.id for one in came if one.message.id.startswith("sqlite-")] == foreign
        assert len(came) == 5
        assert b"".join(one.message.body for one in came) == b"".join(one.body for one in sent)
        await receiver.dead_letter([DeadLetter(one, Death(reason="rejected")) for one in came])
        dead = await adapter.peek(QUEUE, 9, dead=True)
        assert [one.body for one in dead] == [one.message.body for one in came]

    tell(path, story, filled=False)


@pytest.mark.parametrize("credit", [1, 3, 100])
@pytest.mark.parametrize("delay", [0.0, 5.0])
def test_messages_come_as_they_were_sent_whether_they_are_alike_or_not(path: Path, credit: int, delay: float) -> None:
    """The same after they had to leave their bundle: every attribute, and headers that nobody shares."""

    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        words: list[dict[str, Any]] = [{}] * 3 + [{"headers": {"a": "1"}, "key": "k", "traceparent": "t"}] * 4
        words += [{"type": "other", "expires_at": clock.now() + timedelta(hours=1)}, {}, {"attempts": 2}]
        sent = [message(number, clock, **some) for number, some in enumerate(words)]
        await adapter.sender(QUEUE).send(sent[:5])
        await adapter.sender(QUEUE).send(sent[5:])
        assert execute(path, "SELECT size FROM bundle") == [(5,), (5,)]
        receiver, came = adapter.receiver(QUEUE, capacity=100), list[Message]()
        if delay:
            back = await receiver.receive(100, 0.0)
            await receiver.abandon([Abandon(one, delay, counted=False) for one in back])
            await clock.advance(delay + 0.1)
        while deliveries := await receiver.receive(credit, 0.0):
            came += [one.message for one in deliveries]
        assert came == sent
        assert len({id(one.headers) for one in came}) == len(came)

    tell(path, story, filled=False)


@pytest.mark.parametrize("count", [1, 3])
def test_one_id_that_cannot_be_stored_is_its_own_affair(path: Path, count: int) -> None:
    async def story(adapter: SQLiteAdapter, clock: VirtualClock) -> None:
        batch = [message(number, clock) for number in range(count)]
        batch.insert(1, Message(id="\ud800", body=b"", time=clock.now()))
        failed = await errors_of(adapter.sender(QUEUE).send, batch)
        assert {place: type(error) for place, error in failed.items()} == {1: InvalidMessage}
        assert await drain(adapter.receiver(QUEUE, capacity=100), 100) == list(range(count))

    tell(path, story, filled=False)


@pytest.mark.parametrize(
    ("inside", "parts"),
    [
        ({5, 6, 7, 8}, [(5, 4, True)]),
        ({1, 99}, [(5, 4, False)]),
        ({5}, [(5, 1, True), (6, 3, False)]),
        ({6, 8}, [(5, 1, False), (6, 1, True), (7, 1, False), (8, 1, True)]),
    ],
)
def test_a_run_is_cut_where_it_goes_in_and_out(inside: set[int], parts: list[tuple[int, int, bool]]) -> None:
    cut = [(part.first, part.size, wanted) for part, wanted in Run(5, 4, 2).parts(inside)]
    assert cut == parts
