"""The parts of the SQS adapter that decide, one by one: no server is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientConnectionResetError, ClientConnectorDNSError, ClientOSError
from aiohttp.client_reqrep import ConnectionKey
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
)
from leveler_sqs import SQSAdapter, SQSOptions, policy
from leveler_sqs.background import Background
from leveler_sqs.envelope import opened, seal
from leveler_sqs.errors import TooLong, Unanswered, of_entry, translate
from leveler_sqs.gathering import Gathering
from leveler_sqs.giving_back import unseen, way_back
from leveler_sqs.location import location_of
from leveler_sqs.polls import Polls
from leveler_sqs.post import Letter, portions

from leveler.adapter import Abandon, Delivery, QueueSpec
from leveler.clock import SystemClock
from leveler.errors import (
    AccessDenied,
    BrokerUnavailable,
    ConfigError,
    InvalidMessage,
    LeaseLost,
    LevelerError,
    QueueNotFound,
    Unsupported,
)
from leveler.message import Message
from leveler.testing import VirtualClock

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ANYWHERE = ConnectionKey("sqs.x", 443, True, True, None, None, None)
SPEC = QueueSpec(name="orders", lease_seconds=30.0, max_deliveries=8)


def message(body: bytes = b'{"a":1}', **attributes: Any) -> Message:
    return Message(**{"id": "42", "time": NOW, "type": "Order", **attributes}, body=body)


def raw(body: str, **more: Any) -> dict[str, Any]:
    return {"MessageId": "m-1", "ReceiptHandle": "r-1", "Body": body, **more}


# The envelope


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"a": "\xc3\xbc"}', b"\x00\x01\xff", b"plain", '{"a":"\ufffe\uffff"}'.encode(), b'["\\u0000"]'],
)
def test_any_body_travels_in_characters_that_xml_can_carry(body: bytes) -> None:
    sent = message(body, headers={"x-odd": "\ufffe ü \uffff"}, key="k")
    text, size = seal(sent)
    legal = [c for c in text if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"]
    assert "".join(legal) == text
    assert size == len(text.encode())
    assert opened(raw(text), NOW) == (sent, 1)


def test_json_travels_as_json_and_other_bytes_as_base64() -> None:
    assert json.loads(seal(message(b'{"a":1}')).text)["data"] == {"a": 1}
    assert json.loads(seal(message(b"\xff")).text)["data_base64"] == "/w=="


def test_what_cannot_be_written_is_said() -> None:
    with pytest.raises(InvalidMessage, match="'42'"):
        seal(message(headers={"x": "\ud800"}))


def test_a_foreign_message_is_a_message() -> None:
    attributes = {
        "Tenant": {"DataType": "String", "StringValue": "7"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x01"},
    }
    system = {"SentTimestamp": "1795608000000", "ApproximateReceiveCount": "3", "MessageGroupId": "g"}
    found, count = opened(raw('{"total": 1}', MessageAttributes=attributes, Attributes=system), NOW)
    assert (found.id, found.body, found.key, count) == ("m-1", b'{"total": 1}', "g", 3)
    assert found.headers == {"tenant": "7", "blob": "AQ=="}
    assert found.time == datetime.fromtimestamp(1795608000, UTC)


@pytest.mark.parametrize("system", [{}, {"SentTimestamp": "soon", "ApproximateReceiveCount": "-1"}])
def test_what_the_service_says_may_be_missing_or_odd(system: dict[str, str]) -> None:
    found, count = opened(raw("x", Attributes=system), NOW)
    assert (found.time, count) == (NOW, 1)


def test_a_message_without_a_key_has_none_when_it_comes_back() -> None:
    found, _ = opened(raw(seal(message()).text, Attributes={"MessageGroupId": "42"}), NOW)
    assert found.key is None


# Where it is


def test_a_region_is_the_host_of_the_url() -> None:
    assert location_of("sqs://eu-central-1", SQSOptions()).region == "eu-central-1"
    assert location_of("sqs://", SQSOptions()).region is None


@pytest.mark.parametrize("url", ["sqs://AKIA:secret@eu-central-1", "sqs://host:4566", "sqs://eu-central-1/orders"])
def test_more_than_a_region_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        location_of(url, SQSOptions())
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("endpoint", "plain"),
    [
        ("http://127.0.0.1:4566", False),
        ("http://localhost:4566", False),
        ("https://vpce-1.sqs.eu-central-1.vpce.amazonaws.com", False),
        ("http://emulator:4566", True),
        ("", False),
    ],
)
def test_plain_text_to_another_host_is_noticed(endpoint: str, plain: bool) -> None:
    assert location_of("sqs://", SQSOptions(endpoint_url=endpoint)).is_plain_to_another_host == plain


@pytest.mark.parametrize(
    "options",
    [{"pollers": 0}, {"pollers": 65}, {"account": "12"}, {"prefix": "a.b"}, {"endpoint_url": "http://me:pw@host"}],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        SQSOptions(**options)
    assert "pw" not in str(refused.value)


# What a queue is like


def redrive(receives: object, target: str = "orders-dead") -> dict[str, str]:
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:eu-central-1:123456789012:{target}", "maxReceiveCount": receives}
    return {"RedrivePolicy": json.dumps(policy)}


@pytest.mark.parametrize("receives", [1, 7, "7"])
def test_a_redrive_policy_that_comes_first_is_refused_with_both_values(receives: object) -> None:
    with pytest.raises(ConfigError, match=rf"maxReceiveCount {receives}.* 8 times.*set maxReceiveCount to 8"):
        policy.check_redrive(SPEC, "orders", redrive(receives))


def test_our_own_backstop_comes_after_us_and_is_no_weakness() -> None:
    for most in (1, 8, 90, 999):
        queue = QueueSpec(name="orders", max_deliveries=most)
        made = policy.backstop(queue, "arn:aws:sqs:eu-central-1:123456789012:orders-dead")
        policy.check_redrive(queue, "orders", made)
        assert policy.weaknesses("orders", "orders-dead", made) == []


def test_what_is_weaker_is_said() -> None:
    [missing] = policy.weaknesses("orders", "orders-dead", {})
    [other] = policy.weaknesses("orders", "orders-dead", redrive(100, "elsewhere"))
    short = policy.weaknesses("orders", "orders-dead", {**redrive(100), "MessageRetentionPeriod": "345600"})
    assert "no redrive policy" in missing
    assert "'elsewhere'" in other
    assert "4 days" in short[0]


def test_the_smaller_of_both_queues_bounds_a_message() -> None:
    small, large = {"MaximumMessageSize": "262144"}, {"MaximumMessageSize": "1048576"}
    assert policy.most_bytes("orders", large, small) == 262144
    with pytest.raises(ConfigError, match="MaximumMessageSize is 1024"):
        policy.most_bytes("orders", large, {"MaximumMessageSize": "1024"})


@pytest.mark.parametrize(
    "spec",
    [{"lease_seconds": 0.5}, {"lease_seconds": 43_201}, {"dedup_seconds": 301}, {"max_depth": 5}],
)
def test_what_sqs_cannot_keep_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'orders'"):
        policy.check(QueueSpec(name="orders", **spec))


def test_a_lease_is_a_second_longer_there_up_to_the_most() -> None:
    assert [policy.visibility_seconds(lease) for lease in (1, 2.5, 30, 43_200)] == [2, 3, 31, 43_200]


# Requests


def letters(*sizes: int) -> list[Letter]:
    return [Letter(place, message(), {}, size) for place, size in enumerate(sizes)]


def test_a_request_has_up_to_ten_messages_and_a_mebibyte() -> None:
    many = [len(portion) for portion in portions(letters(*[100] * 25))]
    large = [[one.place for one in portion] for portion in portions(letters(600_000, 400_000, 600_000, 10))]
    assert many == [10, 10, 5]
    assert large == [[0, 1], [2, 3]]


def test_settlements_that_come_within_a_moment_share_a_request() -> None:
    calls: list[list[int]] = []

    async def call(items: Sequence[int]) -> dict[int, LevelerError]:
        calls.append(list(items))
        return {index: LeaseLost(str(item)) for index, item in enumerate(items) if item % 7 == 0}

    async def story() -> list[dict[int, LevelerError]]:
        gathering = Gathering(call, SystemClock())
        return await asyncio.gather(*(gathering.put(range(start, start + 3)) for start in range(1, 22, 3)))

    answers = asyncio.run(story())
    assert [len(one) for one in calls] == [10, 10, 1]
    assert {start * 3 + 1 + place for start, failed in enumerate(answers) for place in failed} == {7, 14, 21}


def test_a_settlement_waits_a_moment_for_company_and_no_longer() -> None:
    calls: list[list[int]] = []

    async def call(items: Sequence[int]) -> dict[int, LevelerError]:
        calls.append(list(items))
        return {}

    async def story() -> None:
        clock = VirtualClock()
        gathering = Gathering(call, clock)
        puts = [asyncio.ensure_future(gathering.put([1]))]
        await clock.advance(0.01)
        puts.append(asyncio.ensure_future(gathering.put([2])))
        await clock.advance(0.005)
        assert calls == []
        await clock.advance(0.02)
        assert calls == [[1, 2]]
        await asyncio.gather(*puts)

    asyncio.run(story())


def test_ten_settlements_wait_for_nobody() -> None:
    calls: list[int] = []

    async def call(items: Sequence[int]) -> dict[int, LevelerError]:
        calls.append(len(items))
        return {}

    asyncio.run(asyncio.wait_for(Gathering(call, VirtualClock()).put(range(20)), 10))
    assert calls == [10, 10]


def test_a_request_that_fails_fails_all_that_share_it() -> None:
    async def call(items: Sequence[int]) -> dict[int, LevelerError]:
        raise BrokerUnavailable("away")

    async def story() -> list[dict[int, LevelerError]]:
        gathering = Gathering(call, SystemClock())
        return list(await asyncio.gather(gathering.put([1]), gathering.put([2, 3])))

    assert [sorted(failed) for failed in asyncio.run(story())] == [[0], [0, 1]]


def polled(answers: list[int], room: int, rounds: int) -> list[list[int]]:
    """For how many each round of polls asked, when each poll brings the next number of `answers`."""
    asked: list[list[int]] = []

    async def ask(count: int, wait_seconds: int) -> list[Delivery]:
        asked[-1].append(count)
        return [Delivery(message(), 1, 0.0, None)] * min(count, answers.pop(0) if answers else 0)

    async def story() -> None:
        background = Background()
        polls = Polls(ask, SystemClock(), background, 4, on_answer=lambda came, failure: None)
        for _ in range(rounds):
            asked.append([])
            polls.start(room, 0)
            await background.finish(1.0)

    asyncio.run(story())
    return asked


def test_polls_multiply_while_they_come_back_full_and_no_further_than_allowed() -> None:
    assert [len(one) for one in polled([10] * 99, 1000, 5)] == [1, 2, 4, 4, 4]


def test_one_poll_is_left_when_they_come_back_empty() -> None:
    assert [len(one) for one in polled([10, 10, 10, 0], 1000, 4)] == [1, 2, 4, 1]


def test_nobody_asks_twice_for_few() -> None:
    assert polled([10] * 99, 13, 3) == [[10], [10], [10]]
    assert polled([10] * 99, 4, 2) == [[4], [4]]


# The way back


def delivery(attempt: int = 3, **attributes: Any) -> Delivery:
    return Delivery(message(**attributes), attempt, 0.0, None)


def way(item: Abandon, held_seconds: float = 0.0, *, fifo: bool = False, dead: bool = False) -> int | Message:
    return way_back(item, NOW, held_seconds=held_seconds, fifo=fifo, dead=dead)


def test_a_delay_is_never_shorter_than_asked() -> None:
    assert way(Abandon(delivery(), 0.2)) == 1
    assert way(Abandon(delivery(), 0.0)) == 0
    assert way(Abandon(delivery(), 7.0)) == 7


def test_uncounted_is_a_copy_with_one_attempt_less_and_its_delay() -> None:
    copy = way(Abandon(delivery(), 20.0, counted=False))
    assert isinstance(copy, Message)
    assert (copy.generation, copy.attempts, copy.not_before) == (1, 2, NOW + timedelta(seconds=20))


def test_beyond_twelve_hours_a_copy_takes_over_and_keeps_the_count() -> None:
    copy = way(Abandon(delivery(), 3600.0), 43_000.0)
    assert isinstance(copy, Message)
    assert (copy.attempts, copy.not_before, copy.failed_at) == (3, NOW + timedelta(hours=1), NOW)


def test_a_fifo_queue_has_no_copies() -> None:
    with pytest.raises(Unsupported, match="FIFO"):
        way(Abandon(delivery(), counted=False), fifo=True)
    assert way(Abandon(delivery(), 3600.0), 43_000.0, fifo=True) == 200


def test_dead_letters_go_back_whatever_is_asked() -> None:
    assert way(Abandon(delivery(), counted=False), dead=True) == 0


def test_what_nobody_has_seen_has_its_count_and_its_delay_again() -> None:
    later = NOW + timedelta(hours=1)
    copy = unseen(delivery(not_before=later))
    assert (copy.attempts, copy.not_before, copy.generation) == (2, later, 1)


# Errors


def client_error(code: str, status: int = 400, text: str = "something") -> ClientError:
    said: Any = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "ReceiveMessage")


def unreachable(cause: Exception) -> EndpointConnectionError:
    """As aiobotocore calls whatever happens to a connection."""
    return EndpointConnectionError(endpoint_url="https://sqs.x", error=cause)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (client_error("AWS.SimpleQueueService.NonExistentQueue"), QueueNotFound, "region"),
        (client_error("QueueDoesNotExist"), QueueNotFound, "declare"),
        (client_error("AccessDenied", 403, "not authorized to perform: sqs:SendMessage"), AccessDenied, "policy"),
        (client_error("InvalidClientTokenId", 403), AccessDenied, "credentials"),
        (client_error("SignatureDoesNotMatch", 403, "Signature expired: it is late"), AccessDenied, "clock"),
        (client_error("RequestThrottled", 403), BrokerUnavailable, "for now"),
        (client_error("OverLimit", 403), BrokerUnavailable, "for now"),
        (client_error("InternalFailure", 500), Unanswered, "InternalFailure"),
        (client_error("503", 503), Unanswered, "503"),
        (client_error("BatchRequestTooLong"), TooLong, ""),
        (client_error("ReceiptHandleIsInvalid"), LeaseLost, ""),
        (client_error("InvalidParameterValue", 400, "The receipt handle has expired"), LeaseLost, ""),
        (NoCredentialsError(), AccessDenied, "AWS_ACCESS_KEY_ID"),
        (NoRegionError(), ConfigError, "sqs://"),
        (EndpointConnectionError(endpoint_url="https://sqs.x"), BrokerUnavailable, "region exists"),
        (unreachable(ClientConnectorDNSError(ANYWHERE, OSError("no such host"))), BrokerUnavailable, "region exists"),
        (unreachable(ClientOSError(104, "Connection reset by peer")), Unanswered, "reset by peer"),
        (unreachable(ClientConnectionResetError("Cannot write to closing transport")), Unanswered, "closing"),
        (ReadTimeoutError(endpoint_url="https://sqs.x"), Unanswered, ""),
        (ConnectionClosedError(endpoint_url="https://sqs.x"), Unanswered, ""),
        (TimeoutError(), Unanswered, "deadline"),
    ],
)
def test_every_error_becomes_one_of_ours_and_says_what_to_do(error: Exception, kind: type, says: str) -> None:
    found = translate(error, "SQS in eu-central-1", "send to queue 'orders'")
    assert type(found) is kind
    assert says in str(found)
    assert "\n" not in str(found)


def test_a_request_that_did_not_leave_is_no_unknown_outcome() -> None:
    for error in (EndpointConnectionError(endpoint_url="https://sqs.x"), client_error("ThrottlingException")):
        assert not isinstance(translate(error, "SQS", "send"), Unanswered)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"Code": "ReceiptHandleIsInvalid", "SenderFault": True}, LeaseLost),
        ({"Code": "InternalError", "SenderFault": False}, Unanswered),
        ({"Code": "InvalidMessageContents", "SenderFault": True}, InvalidMessage),
    ],
)
def test_so_does_the_error_of_one_entry(entry: dict[str, Any], kind: type) -> None:
    assert type(of_entry(entry, "SQS", "send")) is kind


def test_the_adapter_does_nothing_before_it_is_entered() -> None:
    adapter = SQSAdapter("sqs://eu-central-1", SQSOptions(), clock=SystemClock(), deadline_seconds=1.0)
    assert repr(adapter) == "<SQSAdapter sqs://eu-central-1>"
