"""What the RabbitMQ adapter decides without a broker: tags, confirms, delays, addresses, headers, settings."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from leveler_rabbitmq import delays, tables, topology
from leveler_rabbitmq.address import address_of
from leveler_rabbitmq.envelope import id_of, open_up, seal
from leveler_rabbitmq.errors import ChannelClosed, refused
from leveler_rabbitmq.tags import Tags
from leveler_rabbitmq.windows import REFUSED, RETURNED, Fate, Name, Windows
from pamqp import commands, header

from leveler.adapter import QueueSpec
from leveler.errors import BrokerUnavailable, ConfigError, InvalidMessage, LevelerError, QueueNotFound
from leveler.message import Message

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


# ---- acknowledgements


@given(st.data())
def test_acknowledgements_settle_exactly_what_is_done(data: st.DataObject) -> None:
    """Against a broker that does what RabbitMQ does: a multiple ack takes all up to its tag, which must be there."""
    tags, at_the_broker, next_tag = Tags(), set[int](), 1
    for _ in range(data.draw(st.integers(1, 8))):
        for _ in range(data.draw(st.integers(0, 6))):
            tags.add(next_tag)
            at_the_broker.add(next_tag)
            next_tag += 1
        one_goes_back: bool = data.draw(st.booleans())
        if at_the_broker and one_goes_back:
            back = data.draw(st.sampled_from(sorted(at_the_broker)))
            tags.discard(back)
            at_the_broker.discard(back)
        done = data.draw(st.lists(st.sampled_from(sorted(at_the_broker) or [0]), unique=True)) if at_the_broker else []
        left = at_the_broker - set(done)
        upto, singly = tags.complete(done)
        if upto:
            assert upto in at_the_broker
            at_the_broker = {tag for tag in at_the_broker if tag > upto}
        assert set(singly) <= at_the_broker
        at_the_broker -= set(singly)
        assert at_the_broker == left == set(tags)


def test_one_acknowledgement_is_enough_for_all_that_came_first() -> None:
    tags = Tags()
    for tag in range(1, 7):
        tags.add(tag)
    assert tags.complete([2, 1, 3, 5]) == (3, [5])
    assert tags.complete([6, 4]) == (6, [])


def test_what_is_settled_already_is_not_acknowledged_again() -> None:
    tags = Tags()
    tags.add(1)
    tags.complete([1])
    assert tags.complete([1, 1, 7]) == (0, [])


# ---- confirms


@given(st.data())
def test_every_window_closes_when_its_last_message_is_answered_for(data: st.DataObject) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        windows, expected = Windows(), list[tuple[range, asyncio.Future[dict[int, Fate]]]]()
        first = 1
        for size in data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6)):
            closed: asyncio.Future[dict[int, Fate]] = loop.create_future()
            windows.open([Name("q", f"m{number}") for number in range(first, first + size)], closed)
            expected.append((range(first, first + size), closed))
            first += size
        waiting, refused = set(range(1, first)), set[int]()
        while waiting:
            tag, multiple, accepted = data.draw(
                st.tuples(st.sampled_from(sorted(waiting)), st.booleans(), st.booleans())
            )
            answered = {one for one in waiting if one == tag or (multiple and one < tag)}
            waiting -= answered
            refused |= set() if accepted else answered
            windows.confirm(tag, multiple=multiple, accepted=accepted)
            for numbers, closed in expected:
                assert closed.done() == waiting.isdisjoint(numbers)
        for numbers, closed in expected:
            assert closed.result() == {one - numbers[0]: REFUSED for one in numbers if one in refused}

    asyncio.run(run())


def test_a_returned_message_is_told_from_its_neighbours() -> None:
    async def run() -> None:
        windows, closed = Windows(), asyncio.get_running_loop().create_future()
        windows.open([Name("q", "a"), Name("gone", "b"), Name("q", "b")], closed)
        windows.give_back(Name("gone", "b"))
        windows.confirm(3, multiple=True, accepted=True)
        assert closed.result() == {1: RETURNED}

    asyncio.run(run())


# ---- delays


@given(st.floats(0.001, 10 * 365 * 86400))
def test_a_wait_is_never_too_short_and_hardly_too_long(seconds: float) -> None:
    left, stays = seconds, 0
    while True:
        wait = delays.wait_of(left)
        stays += 1
        left -= wait.length_ms / 1000
        if not wait.waits_on:
            break
        assert left > 0
    assert -delays.LATE_SECONDS - 1e-6 <= left <= 1e-6
    assert stays <= 90  # ten years; a day takes at most eight
    assert seconds > 86400 or stays <= 8


def test_there_are_few_lengths_and_their_queues_have_names_of_their_own() -> None:
    names = {room.name for room in delays.rooms_of("orders")}
    assert len(names) == len(delays.LENGTHS_MS) + 3 == 85
    assert max(map(len, names)) < 255


# ---- addresses


@pytest.mark.parametrize(
    ("url", "nodes", "user", "password", "vhost", "tls"),
    [
        ("amqp://", ["localhost:5672"], "guest", "guest", "/", False),
        ("amqps://u:p@one", ["one:5671"], "u", "p", "/", True),
        ("amqp://u:p%40%2F@one:1,two:2/a%2Fb", ["one:1", "two:2"], "u", "p@/", "a/b", False),
        ("amqp://u:p@ss/w,rd@[::1]:5/v", ["[::1]:5"], "u", "p@ss/w,rd", "v", False),
        ("amqp://u@one/%2F", ["one:5672"], "u", "", "/", False),
    ],
)
def test_a_url_has_nodes_credentials_and_a_vhost(
    url: str, nodes: list[str], user: str, password: str, vhost: str, tls: bool
) -> None:
    address = address_of(url)
    assert ([*map(str, address.nodes)], *address[1:]) == (nodes, user, password, vhost, tls)
    assert password == "" or password == "guest" or password not in repr(address)


@pytest.mark.parametrize(
    "url", ["amqp://u:secret@one:x", "amqp://u:secret@one:1:2/", "amqp://u:secret@,/", "amqp://u:secret@o e"]
)
def test_a_url_that_is_none_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="host1:5672,host2:5672") as refused:
        address_of(url)
    assert "secret" not in str(refused.value)


# ---- headers

HEADERS = st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True), st.text(max_size=40), max_size=5)


@given(HEADERS, st.binary(max_size=50), st.integers(0, 9), st.integers(0, 99), st.text(max_size=10))
def test_what_is_sealed_comes_out_as_it_was(
    headers: dict[str, str], body: bytes, priority: int, attempts: int, kind: str
) -> None:
    headers = {name: text for name, text in headers.items() if not name.startswith(("x-", "leveler"))}
    message = Message(
        id="42", body=body, time=NOW, type=kind, headers=headers, priority=priority, attempts=attempts, key="k"
    )
    try:
        properties = seal(message)
    except InvalidMessage:
        return
    assert open_up(properties, body, NOW) == (message, 0, False)
    assert id_of(properties) == "42"


def test_pamqp_reads_what_is_sealed() -> None:
    message = Message(id="42", body=b"{}", time=NOW, type="Order", priority=7, headers={"x-tenant": "t1"})
    found = header.ContentHeader()
    found.unmarshal(b"\0\x3c\0\0" + bytes(8) + seal(message))
    assert found.properties is not None
    assert found.properties.delivery_mode == 2
    assert found.properties.priority == 7
    assert found.properties.content_type == "application/json"
    assert found.properties.message_id == "42"
    assert found.properties.headers == {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": "42",
        "cloudEvents:source": "/",
        "cloudEvents:type": "Order",
        "cloudEvents:time": "2026-11-25T12:00:00Z",
        "cloudEvents:levelerpriority": "7",
        "x-tenant": "t1",
    }


def raw(properties: commands.Basic.Properties) -> bytes:
    """As another client would send them."""
    return header.ContentHeader(0, 0, properties).marshal()[12:]


def test_a_foreign_message_can_be_read() -> None:
    properties = commands.Basic.Properties(
        content_type="text/plain", content_encoding="gzip", correlation_id="c", reply_to="r", expiration="60000",
        message_id="m-1", timestamp=NOW, message_type="Order", user_id="guest", app_id="shop", priority=3,
        headers={
            "tenant": "t1", "tries": 3, "big": 2**40, "ratio": 0.5, "on": True, "none": None, "raw": bytearray(b"\xff"),
            "x-death": [{"count": 1, "reason": "expired", "time": NOW}], "x-first-death-queue": "q",
            "x-delivery-count": 2, "CC": ["other"], "nested": {"a": 1},
        },
    )  # fmt: skip
    message, delivered_before, waits_on = open_up(raw(properties), b"hello", NOW + timedelta(hours=1))
    assert (message.id, message.body, message.type, message.time) == ("m-1", b"hello", "Order", NOW)
    assert message.content_type == "text/plain"
    assert message.headers == {
        "tenant": "t1", "tries": "3", "big": str(2**40), "ratio": "0.5", "on": "true",
        "content-encoding": "gzip", "correlation-id": "c", "reply-to": "r",
    }  # fmt: skip
    assert (delivered_before, waits_on) == (2, False)


@given(st.binary(max_size=200))
def test_no_properties_are_so_wrong_that_they_cannot_be_read(data: bytes) -> None:
    message, delivered_before, _ = open_up(data, b"body", NOW)
    assert message.body == b"body"
    assert message.id
    assert 0 <= delivered_before <= 1_000_000


def test_what_the_broker_wrote_down_is_not_sent_again() -> None:
    properties = commands.Basic.Properties(
        headers={"x-death": [], "x-last-death-reason": "expired", "x-acquired-count": 4, "BCC": ["b"], "keep": "1"}
    )
    again = seal(open_up(raw(properties), b"", NOW).message)
    found, _ = tables.read(again, 2 + 1)
    assert {name for name in found if not name.startswith("cloudEvents:")} == {"keep"}


@example(b"\xff" * 255)
@given(st.binary(min_size=1, max_size=255))
def test_a_name_that_is_no_text_can_be_sent_again(name: bytes) -> None:
    table = tables.table(b"%c%bS\0\0\0\1v" % (len(name), name))
    message = open_up(b"\x20\0" + table, b"body", NOW).message
    assert tables.read(seal(message), 2 + 1 + len(message.content_type))[0]


def test_what_amqp_cannot_carry_is_refused_by_name() -> None:
    message = msgspec.structs.replace(Message(id="42", body=b"", time=NOW), headers={"n" * 256: "v"})
    with pytest.raises(InvalidMessage, match="'42'"):
        seal(message)


# ---- queues of others

SPEC = QueueSpec(name="orders", max_deliveries=8)


def complaint(arg: str, received: str, current: str) -> ChannelClosed:
    text = f"inequivalent arg '{arg}' for queue 'orders' in vhost '/': received {received} but current is {current}"
    return ChannelClosed(406, f"PRECONDITION_FAILED - {text}")


@pytest.mark.parametrize(
    ("version", "arg", "received", "current", "refused"),
    [
        ((3, 10), "x-queue-type", "the value 'quorum' of type 'longstr'", "none", "is a classic queue"),
        ((4, 0), "x-queue-type", "'quorum'", "'stream'", "is a stream queue"),
        ((4, 0), "x-delivery-limit", "'1000000000'", "'7'", "x-delivery-limit is 7.*max_deliveries is 8"),
        ((4, 0), "x-delivery-limit", "'1000000000'", "'8'", None),
        ((4, 0), "x-delivery-limit", "'1000000000'", "'-1'", None),
        ((3, 10), "x-delivery-limit", "'1000000000'", "'-1'", "x-delivery-limit is 0"),
        ((4, 0), "x-delivery-limit", "the value '1000000000' of type 'signedint'", "none", None),
        ((3, 10), "x-delivery-limit", "the value '1000000000' of type 'signedint'", "none", None),
        ((4, 0), "x-message-ttl", "none", "the value '60000' of type 'unsignedshort'", "60000 and should be not set"),
        ((4, 0), "x-max-length", "'7'", "'5'", "x-max-length is 5 and should be 7"),
        ((4, 0), "x-single-active-consumer", "none", "the value 'true' of type 'bool'", "one consumer of one worker"),
        ((4, 0), "durable", "'true'", "'false'", "durable is false"),
        ((4, 0), "x-dead-letter-exchange", "none", "the value 'dlx' of type 'longstr'", None),
        ((4, 0), "x-queue-leader-locator", "none", "the value 'balanced' of type 'longstr'", None),
    ],
)  # fmt: skip
def test_a_queue_of_others_is_used_or_refused_by_name(
    version: tuple[int, ...], arg: str, received: str, current: str, refused: str | None
) -> None:
    found = topology.difference_of(complaint(arg, received, current))
    assert found is not None
    assert found.name == arg
    if refused is None:
        topology.reconcile(SPEC, "orders", found, version)
        return
    with pytest.raises(ConfigError, match=refused):
        topology.reconcile(SPEC, "orders", found, version)


def test_dead_letters_may_be_looked_at_for_ever() -> None:
    found = topology.difference_of(complaint("x-delivery-limit", "'1000000000'", "none"))
    assert found is not None
    with pytest.raises(ConfigError, match="each look at a dead letter counts"):
        topology.reconcile(SPEC, "orders-dead", found, (4, 0))
    topology.reconcile(SPEC, "orders-dead", found, (3, 10))


def test_what_is_adopted_is_declared_as_the_queue_has_it() -> None:
    arguments = topology.arguments_of(SPEC)
    for name, current in (
        ("x-dead-letter-exchange", "the value 'dlx' of type 'longstr'"),
        ("x-delivery-limit", "none"),
    ):
        found = topology.difference_of(complaint(name, "none", current))
        assert found is not None
        arguments = topology.adopt(arguments, found)
    assert arguments == {"x-queue-type": "quorum", "x-dead-letter-exchange": "dlx"}


# ---- refusals


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("no queue 'orders' in vhost '/'", QueueNotFound),
        ("home node 'rabbit@one' of durable queue 'orders' in vhost '/' is down or inaccessible", BrokerUnavailable),
        ("failed to perform operation on queue 'orders' in vhost '/' due to timeout", BrokerUnavailable),
    ],
)
def test_a_queue_that_cannot_be_had_now_is_not_one_that_does_not_exist(said: str, meant: type[LevelerError]) -> None:
    """Two workers that declare a new queue at the same moment hear it, too."""
    error = refused(ChannelClosed(404, f"NOT_FOUND - {said}"), "queue 'orders'")
    assert type(error) is meant
    assert "'orders'" in str(error)
