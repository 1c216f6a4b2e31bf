"""Entries of Redis streams as messages: ours come out as they went in, and anybody else's can be consumed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as client
from hypothesis import given
from hypothesis import strategies as st
from leveler_redis.entry import fields_of, read, size
from leveler_redis.tending import UNKNOWN, tending_of
from msgspec.structs import replace

from leveler.adapter import Abandon, DeadLetter, QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.message import Death, Message
from tests.containers.keeper import Kept

NOW = datetime(2026, 11, 25, 18, 20, 0, 123456, UTC)
PLAIN = Message(id="5f3a", body=b"{}", type="Order", time=NOW)

_texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20)
_moments = st.none() | st.datetimes(timezones=st.just(UTC))
_messages = st.builds(
    Message,
    id=st.from_regex(r"\A[!-~]{1,128}\Z"),
    body=st.binary(max_size=50),
    type=_texts,
    source=_texts.map(lambda text: text or "/"),
    time=st.datetimes(timezones=st.just(UTC)) | st.just(NOW.astimezone()),
    content_type=_texts,
    key=st.none() | st.from_regex(r"\A[!-~]{1,128}\Z"),
    headers=st.dictionaries(st.from_regex(r"\A[a-z0-9][a-z0-9_.-]{0,20}\Z"), _texts, max_size=4),
    priority=st.integers(0, 9),
    not_before=_moments,
    expires_at=_moments,
    traceparent=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    generation=st.integers(0, 1000),
    attempts=st.integers(0, 1000),
    ready_at=_moments,
    failed_at=_moments,
    replays=st.integers(0, 1000),
    death=st.none() | st.builds(Death, reason=_texts, detail=_texts),
)


def written(message: Message) -> list[bytes]:
    return [field if isinstance(field, bytes) else str(field).encode() for field in fields_of(message)]


@given(_messages)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    assert read((b"1764094800123-0", written(message))) == (message, 0, b"")


def test_the_usual_message_takes_the_short_way_to_the_same_end() -> None:
    fields = written(PLAIN)
    assert read((b"1-0", fields))[0] == PLAIN
    unusual = [b"x-other", b"1", *fields]  # which goes the long way, and is ignored there
    assert read((b"1-0", unusual))[0] == PLAIN
    assert dict(zip(fields[::2], fields[1::2], strict=True)) == {
        name.encode(): text.encode() for name, text in PLAIN.attributes().items()
    } | {b"data": b"{}"}


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"id", b"with space"), (b"id", b""), (b"time", b"yesterday"), (b"time", b"2026-11-25"), (b"type", b"\xff")],
)
def test_what_somebody_has_spoilt_is_read_as_well_as_it_can_be(name: bytes, value: bytes) -> None:
    fields = written(PLAIN)
    fields[fields.index(name) + 1] = value
    message = read((b"1764094800123-0", fields))[0]
    assert message.body == b"{}"
    assert message.id
    assert message.time.tzinfo is not None


def test_more_headers_than_fields_are_good_for_stand_in_one() -> None:
    message = replace(PLAIN, headers={f"x-{number}": "ü" for number in range(2000)})
    fields = written(message)
    assert len(fields) < 100
    assert read((b"1-0", fields))[0] == message


def test_the_size_counts_what_the_sender_chose() -> None:
    message = replace(PLAIN, body=b"x" * 100, headers={"x-a": "ü"}, key="k")
    assert size(message) == 100 + len("5f3a") + len("Order") + len("/") + 1 + len("x-a") + 2


@pytest.mark.parametrize(
    ("fields", "body", "content_type"),
    [
        ({"data": '{"total": 1}'}, b'{"total": 1}', ""),
        ({"payload": "text"}, b"text", ""),
        ({"data": b"\xff\x00"}, b"\xff\x00", ""),
        ({"total": "9.5"}, b'{"total":"9.5"}', "application/json"),
        ({"id": "42", "total": "9.5"}, b'{"id":"42","total":"9.5"}', "application/json"),
    ],
)
def test_an_entry_of_somebody_elses_is_a_message(
    redis: Kept, fields: dict[str, Any], body: bytes, content_type: str
) -> None:
    """Also after it has been given back, now and later, and under the same id each time."""
    queue = QueueSpec(name="foreign", lease_seconds=1.0)

    async def play() -> None:
        url = f"{redis.url}?prefix=foreign-{abs(hash(str(fields)))}:"
        async with find(url, clock=SystemClock(), deadline_seconds=5.0) as adapter:
            stream = f"{url.partition('=')[2]}{{foreign}}"
            with client.Redis.from_url(redis.url) as theirs:
                first = theirs.xadd(stream, fields)  # before anybody has declared it
                await adapter.declare(queue)
                theirs.xadd(stream, fields)
            receiver = adapter.receiver(queue, capacity=10)
            one, two = await receiver.receive(10, 1.0)
            assert (one.message.body, one.message.content_type) == (body, content_type)
            assert one.message.id == first.decode()
            assert one.message.id != two.message.id
            assert abs((one.message.time - datetime.now(UTC)).total_seconds()) < 60
            await receiver.complete([two])
            for attempt, delay in enumerate((0.0, 0.2), 2):
                await receiver.abandon([Abandon(one, delay)])
                [one] = await receiver.receive(10, 2.0)
                assert (one.message.id, one.message.body, one.attempt) == (first.decode(), body, attempt)
            await asyncio.sleep(1.2)
            [one] = await receiver.receive(10, 2.0)
            assert (one.message.id, one.message.body, one.attempt) == (first.decode(), body, 4)
            await receiver.complete([one])
            await receiver.close()
            await adapter.drop(queue)

    asyncio.run(play())


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(
    "forged",
    [
        {"leveler:deliveries": "9999999999"},
        {"leveler:deliveries": "1e999"},
        {"leveler:deliveries": "nan"},
        {"leveler:deliveries": "-1000000"},
        [("leveler:deliveries", "0"), ("leveler:deliveries", "0")],
        {"leveler:line": "no place"},
        {"leveler:line": "k\0nobody's"},
        {"leveler:lane": "x", "leveler:failed": "x", "leveler:entry": "x"},
        {f"leveler:{number}": "x" for number in range(4000)},
    ],
    ids=lambda forged: str(forged)[:40],
)
def test_bookkeeping_that_somebody_has_made_up_neither_loses_a_message_nor_gives_it_attempts(
    redis: Kept, forged: Any, ordered: bool
) -> None:
    queue = QueueSpec(name="forged", lease_seconds=30.0, ordered=ordered)
    pairs = list(forged.items()) if isinstance(forged, dict) else forged

    async def play() -> None:
        prefix = f"forged-{abs(hash(str(forged)))}-{ordered}:"
        async with find(f"{redis.url}?prefix={prefix}", clock=SystemClock(), deadline_seconds=5.0) as adapter:
            await adapter.declare(queue)
            with client.Redis.from_url(redis.url) as theirs:
                fields = [text for pair in [("data", "poison"), *pairs] for text in pair]
                theirs.execute_command("XADD", f"{prefix}{{forged}}", "*", *fields)
            receiver = adapter.receiver(queue, capacity=10)
            attempts: list[int] = []
            for delay in (0.0, 0.05, 0.05):
                [one] = await receiver.receive(10, 5.0)
                attempts.append(one.attempt)
                await receiver.abandon([Abandon(one, delay)])
            [one] = await receiver.receive(10, 5.0)
            assert one.attempt > max(attempts) or one.attempt > 1_000_000
            await receiver.dead_letter([DeadLetter(one, Death(reason="rejected"))])
            [dead] = await adapter.peek(queue, 10, dead=True)
            assert dead.body == one.message.body
            await receiver.close()
            await adapter.drop(queue)

    asyncio.run(play())


def test_an_event_in_the_structured_mode_is_read(redis: Kept) -> None:
    event = replace(PLAIN, headers={"x-a": "b"}, key="k")
    assert read((b"1-0", [b"data", event.to_json()]))[0] == event


def test_an_entry_with_thousands_of_fields_can_be_given_back(redis: Kept) -> None:
    """More than a script can hand on as they are."""
    queue = QueueSpec(name="wide", lease_seconds=1.0)
    fields: dict[Any, Any] = {f"f-{number}": str(number) for number in range(6000)}

    async def play() -> None:
        async with find(f"{redis.url}?prefix=wide:", clock=SystemClock(), deadline_seconds=5.0) as adapter:
            await adapter.declare(queue)
            with client.Redis.from_url(redis.url) as theirs:
                theirs.xadd("wide:{wide}", fields)
            receiver = adapter.receiver(queue, capacity=10)
            for attempt in (1, 2, 3):
                [one] = await receiver.receive(1, 2.0)
                assert one.attempt == attempt
                assert json.loads(one.message.body) == fields
                await receiver.abandon([Abandon(one)])
            await receiver.close()
            await adapter.drop(queue)

    asyncio.run(play())


def test_the_memory_of_a_queue_that_is_worked_off_is_given_back(redis: Kept) -> None:
    """Nothing of ten thousand messages stays on the server, given back and delayed ones included."""
    queue = QueueSpec(name="bounded", lease_seconds=30.0)

    async def play() -> None:
        async with find(f"{redis.url}?prefix=bounded:", clock=SystemClock(), deadline_seconds=5.0) as adapter:
            await adapter.declare(queue)
            sender, receiver = adapter.sender(queue), adapter.receiver(queue, capacity=1000)
            soon = NOW.now(UTC) + timedelta(seconds=1)
            for start in range(0, 10_000, 500):
                await sender.send(
                    [
                        replace(PLAIN, id=f"m-{start + step}", not_before=soon if step % 50 == 0 else None)
                        for step in range(500)
                    ]
                )
            done = 0
            while done < 10_000:
                deliveries = await receiver.receive(500, 1.0)
                back = [one for one in deliveries if one.attempt == 1][::10]
                await receiver.abandon([Abandon(one, 0.01) for one in back])
                rest = [one for one in deliveries if one not in back]
                await receiver.complete(rest)
                done += len(rest)
            assert (await adapter.depth(queue))[:4] == (0, 0, 0, 0)
            with client.Redis.from_url(redis.url) as theirs:
                left = {key: theirs.memory_usage(key) for key in theirs.scan_iter(match="bounded:*", count=1000)}
                assert sum(size or 0 for size in left.values()) < 20_000, left
            await receiver.close()
            await adapter.drop(queue)
            with client.Redis.from_url(redis.url) as theirs:
                assert list(theirs.scan_iter(match="bounded:*", count=1000)) == []

    asyncio.run(play())


# -- which lane to read how much from


def test_one_lane_is_read_without_asking_what_is_in_it() -> None:
    tending = tending_of([1000, 30_000, 2000, 0])
    assert (tending.shares(100), tending.lanes, tending.seconds_left()) == ([(12, 100)], (12,), 1.0)


def test_higher_lanes_are_served_first_and_no_more_is_read_than_wanted() -> None:
    tending = tending_of([1000, 30_000, 2000, 0, 2, 3, 11, 4, 12, 50, 20, 7])
    assert tending.shares(2) == [(2, 2)]
    assert tending.shares(5) == [(2, 3), (11, 2)]
    assert tending.shares(60) == [(2, 3), (11, 4), (12, 50), (20, 3)]
    assert sum(count for _, count in tending.shares(1000)) == 1000
    assert not tending.is_empty


def test_where_nothing_waits_the_usual_lane_is_tried() -> None:
    tending = tending_of([1000, 30_000, 2000, 1, 2, 0, 12, 0])
    assert tending.shares(10) == [(12, 10)]
    assert tending.is_empty
    assert tending.more
    assert UNKNOWN.shares(10) == [(12, 10)]
