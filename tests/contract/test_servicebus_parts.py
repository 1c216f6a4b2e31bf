"""What the Service Bus adapter decides before it asks anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from azure.servicebus import ServiceBusMessageBatch, ServiceBusReceivedMessage
from azure.servicebus import exceptions as sdk
from azure.servicebus._pyamqp.message import Message as RawMessage
from azure.servicebus._pyamqp.message import Properties
from leveler_servicebus.appetite import Appetite
from leveler_servicebus.clocks import Clocks
from leveler_servicebus.envelope import death_text, open_up, reason_and_description, seal, size
from leveler_servicebus.errors import Unanswered, translate
from leveler_servicebus.options import ServiceBusOptions
from leveler_servicebus.place import place_of
from leveler_servicebus.receipt import Receipt
from leveler_servicebus.settlement import settle

from leveler.cli.messages import dead_table
from leveler.errors import (
    AccessDenied,
    BrokerUnavailable,
    ConfigError,
    LeaseLost,
    LevelerError,
    MessageTooLarge,
    QueueFull,
    QueueNotFound,
)
from leveler.message import MAX_DETAIL_BYTES, Death, Message

NOW = datetime(2026, 11, 25, 18, 20, 0, 123456, UTC)


# Places


@pytest.mark.parametrize(
    ("url", "options", "host", "connection_string"),
    [
        ("servicebus://shop.servicebus.windows.net", {}, "shop.servicebus.windows.net", ""),
        (
            "servicebus://Root:a%2Bb%2F=@shop.servicebus.windows.net",
            {},
            "shop.servicebus.windows.net",
            "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=a+b/=;",
        ),
        (
            "servicebus://Root:k@127.0.0.1:5672",
            {"insecure": True},
            "127.0.0.1:5672",
            "Endpoint=sb://127.0.0.1:5672/;SharedAccessKeyName=Root;SharedAccessKey=k;UseDevelopmentEmulator=true;",
        ),
        (
            "servicebus://",
            {"connection_string": "Endpoint=sb://shop.example/;SharedAccessKeyName=Root;SharedAccessKey=a/b=="},
            "shop.example",
            "Endpoint=sb://shop.example/;SharedAccessKeyName=Root;SharedAccessKey=a/b==",
        ),
    ],
)
def test_a_url_means_a_namespace(url: str, options: dict[str, object], host: str, connection_string: str) -> None:
    place = place_of(url, ServiceBusOptions(**options))  # type: ignore[arg-type]
    assert (place.host, place.connection_string) == (host, connection_string)


@pytest.mark.parametrize("url", ["servicebus://", "servicebus://a:secret@h:port", "servicebus://secret@h"])
def test_a_url_without_a_namespace_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="servicebus://NAMESPACE") as caught:
        place_of(url, ServiceBusOptions())
    assert "secret" not in str(caught.value)


def test_a_connection_string_without_a_key_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="SharedAccessKeyName") as caught:
        place_of("servicebus://", ServiceBusOptions(connection_string="SharedAccessKey=secret"))
    assert "secret" not in str(caught.value)


def test_no_secret_is_shown() -> None:
    options = ServiceBusOptions(connection_string="Endpoint=sb://h/;SharedAccessKeyName=a;SharedAccessKey=secret")
    place = place_of("servicebus://", options)
    assert "secret" not in f"{options!r} {place!r} {place}"


def test_the_admin_api_of_an_emulator_is_beside_it() -> None:
    options = ServiceBusOptions(insecure=True, admin_port=5300)
    assert place_of("servicebus://a:k@127.0.0.1:5672", options).admin_url == "http://127.0.0.1:5300"
    text = "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=a;SharedAccessKey=k;UseDevelopmentEmulator=true;"
    options = ServiceBusOptions(connection_string=text, admin_port=5300)
    assert place_of("servicebus://", options).admin_url == "http://127.0.0.1:5300"


# Envelopes


def test_a_copy_is_no_duplicate_of_its_source_to_the_service() -> None:
    source = Message(id="42", body=b"{}", time=NOW, key="k")
    copy = source.copy(attempts=1, not_before=NOW + timedelta(seconds=5), failed_at=None)
    sealed = [seal(one, session=None, not_before=one.not_before) for one in (source, copy)]
    assert sealed[0].message_id == "42"
    assert sealed[1].message_id != "42"
    assert sealed[1].scheduled_enqueue_time_utc == copy.not_before


@pytest.mark.parametrize("headers", [{}, {"x-a": "ü" * 100}, {f"x-{number}": "v" * 50 for number in range(50)}])
def test_the_size_is_not_below_that_of_the_encoded_message(headers: dict[str, str]) -> None:
    one = Message(id="42", body=b"x" * 5000, time=NOW, key="k", type="Order", headers=headers)
    batch = ServiceBusMessageBatch(max_size_in_bytes=1024 * 1024)
    batch.add_message(seal(one, session="k", not_before=NOW))
    written = batch.size_in_bytes
    batch.add_message(seal(one, session="k", not_before=NOW))
    another = batch.size_in_bytes - written
    assert another <= size(one) + 16 <= another + 1024


def test_all_of_a_death_travels_in_its_description() -> None:
    death = Death(reason="exhausted", error_type="E", detail="ü\x00", attempts=5, queue="orders", last_failed_at=NOW)
    reason, description = reason_and_description(death)
    assert reason == "exhausted"
    assert _death({"DeadLetterReason": reason, "DeadLetterErrorDescription": description}) == death


def test_a_death_is_cut_to_what_the_service_takes() -> None:
    _, description = reason_and_description(Death(reason="exhausted", detail="\x00" * MAX_DETAIL_BYTES))
    assert len(description.encode()) <= 4096


def test_a_death_that_the_service_itself_brought_about_is_told_in_its_words() -> None:
    words = {"DeadLetterReason": "MaxDeliveryCountExceeded", "DeadLetterErrorDescription": "10 times"}
    assert _death(words) == Death(reason="MaxDeliveryCountExceeded", detail="10 times")


@pytest.mark.parametrize(
    "told",
    [
        b'{"reason":"x","last_failed_at":"2020-01-01T00:00:00"}',
        b'{"reason":"x","last_failed_at":"0001-01-01T00:00:00+14:00"}',
        b'{"reason":"x","attempts":1180591620717411303424}',
        b"[" * 5000,
        b"\xff\xfe",
    ],
)
def test_a_death_that_anybody_has_made_up_can_be_shown(told: bytes) -> None:
    forged: dict[str | bytes, Any] = {b"DeadLetterReason": b"x", b"DeadLetterErrorDescription": told}
    letter = _opened(Properties(), forged)
    assert letter.death is not None
    assert 0 <= letter.death.attempts <= 1_000_000
    assert "x" in dead_table([letter])


def test_texts_that_are_none_are_read_as_well_as_they_can_be() -> None:
    message = _opened(Properties(content_type=b"a\xff", subject=b"b\xff", group_id=b"c\xff"), {})
    assert (message.content_type, message.type, message.key) == ("a\ufffd", "b\ufffd", "c\ufffd")
    assert size(message) > 0
    seal(message, session=message.key, not_before=None)


def _opened(properties: Properties, headers: dict[str | bytes, Any]) -> Message:
    """What somebody else has sent."""
    raw = RawMessage(data=[b"x"], properties=properties, application_properties=headers, message_annotations={})
    return open_up(ServiceBusReceivedMessage(raw, receiver=None), NOW)


def _death(words: dict[str, str]) -> Death:
    return msgspec.json.decode(death_text(words), type=Death)


# How many to ask for


def test_one_asks_for_more_as_long_as_they_had_been_waiting() -> None:
    appetite, asked = Appetite(), []
    for _ in range(5):
        asked.append(appetite.ask(100))
        appetite.got(asked[-1], asked[-1], 0.2)
    assert asked == [1, 2, 4, 8, 16]


def test_one_asks_for_fewer_when_one_had_to_wait_for_the_last_ones() -> None:
    appetite = Appetite()
    appetite.got(64, 64, 0.2)
    assert appetite.ask(500) == 128
    appetite.got(128, 10, 0.2)
    assert appetite.ask(500) == 5
    appetite.got(5, 5, 0.001)
    assert appetite.ask(500) == 2


def test_one_never_asks_for_more_than_there_is_room_for() -> None:
    appetite = Appetite()
    appetite.got(64, 64, 0.2)
    assert appetite.ask(3) == 3
    appetite.got(3, 3, 0.2)
    assert appetite.ask(500) == 128, "little room says nothing about what is there"


# What the service's clock says


@pytest.mark.parametrize("ahead", [-30.0, 0.0, 30.0])
def test_a_lock_lasts_as_long_as_it_does_whatever_the_clock_here_says(ahead: float) -> None:
    clocks = Clocks()
    there = NOW + timedelta(seconds=ahead)
    assert clocks.lock_seen(there + timedelta(seconds=30), 30.0, NOW) == pytest.approx(30.0)
    lain_about = clocks.lock_seen(there + timedelta(seconds=30), 30.0, NOW + timedelta(seconds=7))
    assert lain_about == pytest.approx(23.0)


@pytest.mark.parametrize(("ahead", "shift"), [(-30.0, -30.0), (0.0, 0.0), (0.3, 0.0), (30.0, 30.0)])
def test_a_moment_of_ours_is_told_in_the_service_s_time_once_that_is_known(ahead: float, shift: float) -> None:
    clocks = Clocks()
    assert clocks.there(NOW) == NOW
    clocks.lock_seen(NOW + timedelta(seconds=ahead + 30), 30.0, NOW)
    assert clocks.there(NOW) == NOW + timedelta(seconds=shift)


# Settlements


def receipts(count: int) -> dict[int, Receipt]:
    return {place: Receipt(place, place, 1e9) for place in range(count)}


def test_a_hundred_are_settled_in_one_request() -> None:
    asked: list[list[int]] = []

    async def act(portion: Sequence[Receipt]) -> None:
        asked.append([one.token for one in portion])

    assert asyncio.run(settle(receipts(250), act)) == {}
    assert [len(portion) for portion in asked] == [100, 100, 50]


def test_one_that_is_lost_does_not_keep_the_others_from_being_settled() -> None:
    done: list[int] = []

    async def act(portion: Sequence[Receipt]) -> None:
        if any(one.token == 2 for one in portion):
            raise LeaseLost("2")
        done.extend(one.token for one in portion)

    failed = asyncio.run(settle(receipts(4), act))
    assert sorted(done) == [0, 1, 3]
    assert {place: type(error) for place, error in failed.items()} == {2: LeaseLost}


def test_what_is_not_there_any_more_after_a_lost_answer_has_been_settled() -> None:
    held = receipts(3)
    there = {0, 1, 2}

    async def act(portion: Sequence[Receipt]) -> None:
        """Two are settled before the connection ends; from then on it works."""
        if len(there) == 3:
            there.difference_update({0, 1})
            raise Unanswered("cut")
        if not {one.token for one in portion} <= there:
            raise LeaseLost("not there")
        there.difference_update(one.token for one in portion)

    assert set(asyncio.run(settle(held, act))) == {0, 1, 2}
    assert asyncio.run(settle(held, act)) == {}
    assert there == set()


def test_nobody_waits_again_for_what_does_not_answer() -> None:
    held, asked = receipts(300), 0

    async def act(portion: Sequence[Receipt]) -> None:
        nonlocal asked
        asked += 1
        raise Unanswered("away")

    assert set(asyncio.run(settle(held, act))) == set(held)
    assert set(asyncio.run(settle(held, act))) == set(held)
    assert asked == 2


# Errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sdk.MessageLockLostError(), LeaseLost),
        (sdk.MessagingEntityNotFoundError(), QueueNotFound),
        (sdk.ServiceBusAuthenticationError(), AccessDenied),
        (sdk.MessageSizeExceededError(), MessageTooLarge),
        (sdk.ServiceBusQuotaExceededError(), QueueFull),
        (sdk.ServiceBusServerBusyError(), BrokerUnavailable),
        (sdk.ServiceBusConnectionError(), Unanswered),
        (sdk.OperationTimeoutError(), Unanswered),
        (TimeoutError(), Unanswered),
        (AttributeError("'NoneType' object has no attribute '_link'"), Unanswered),
    ],
)
def test_what_the_client_says_is_an_error_of_levelers(error: Exception, kind: type[LevelerError]) -> None:
    assert type(translate(error, "orders")) is kind
