"""What the Storage Queue adapter decides before it asks anybody."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime

import pytest
from aiohttp import ClientConnectorError, ServerDisconnectedError
from aiohttp.client_reqrep import ConnectionKey
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from hypothesis import given
from hypothesis import strategies as st
from leveler_storagequeue.account import account_of
from leveler_storagequeue.errors import Gone, Unanswered, translate
from leveler_storagequeue.letter import MOST_BYTES, Returned, read, size_of, text_of, text_of_dead
from leveler_storagequeue.looking import Looking
from leveler_storagequeue.options import StorageQueueOptions

from leveler.errors import (
    AccessDenied,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    LeaseLost,
    LevelerError,
    MessageTooLarge,
    QueueNotFound,
)
from leveler.message import MAX_DETAIL_BYTES, Death, Message

NOW = datetime(2026, 11, 25, 18, 20, 0, 123456, UTC)
XML_LEGAL = re.compile("[\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def back(text: str | None, *, count: int = 1, base64_of_others: bool = False) -> tuple[Message, Returned]:
    return read(text, received_at=NOW, native_id="n-1", dequeue_count=count, base64_of_others=base64_of_others)


def message(body: bytes = b"{}", **attributes: str) -> Message:
    return Message(id="42", body=body, time=NOW, **attributes)  # type: ignore[arg-type]


# Letters


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: json.dumps(text, ensure_ascii=False).encode()))
def test_any_body_comes_out_as_it_went_in_and_stands_in_xml(body: bytes) -> None:
    text = text_of(message(body))
    assert XML_LEGAL.fullmatch(text)
    assert back(text) == (message(body), Returned())


def test_what_xml_would_change_is_written_in_base64() -> None:
    body = b'{"a":\r\n"\xef\xbf\xbe"}'
    assert base64.b64decode(text_of(message(body)), validate=True).startswith(b"{")


def test_what_xml_makes_longer_than_base64_is_written_in_base64() -> None:
    body = json.dumps("<&>" * 1000).encode()
    assert size_of(text_of(message(body))) <= 4 * (len(body) + 400) / 3


@given(st.text(max_size=50))
def test_the_size_is_that_of_the_text_in_the_request(text: str) -> None:
    text = "".join(XML_LEGAL.findall(text))
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert size_of(text) == len(escaped.encode())


def test_an_uncounted_give_back_is_remembered_and_leaves_the_message_as_it_is() -> None:
    once = Returned().again(1)
    twice = back(text_of(message(), once), count=2)[1].again(2)
    assert back(text_of(message(b"\xff"), twice), count=3) == (message(b"\xff"), Returned(2, 2))


@pytest.mark.parametrize("said", ["9/5", "5/9", "-1/1", "1", "999999999/1", "", "1/1/1", "x/y"])
def test_nobody_gains_attempts_by_what_he_writes(said: str) -> None:
    text = text_of(message())[:-1] + f',"levelerreturned":"{said}"}}'
    assert back(text, count=6)[1] == Returned()


def test_what_is_said_of_more_deliveries_than_there_were_is_not_believed() -> None:
    text = text_of(message(), Returned(5, 5))
    assert back(text, count=5)[1] == Returned()
    assert back(text, count=6)[1] == Returned(5, 5)


@pytest.mark.parametrize("text", ["hello", "", "[1]", '{"a": 1}', "aGVsbG8=", "{", "a<b>\n"])
def test_what_others_wrote_is_a_message(text: str) -> None:
    found, _ = back(text)
    assert (found.id, found.body, found.time) == ("n-1", text.encode(), NOW)


def test_nothing_at_all_is_an_empty_message() -> None:
    assert back(None)[0].body == b""


def test_what_others_wrote_in_base64_is_decoded_where_that_is_said() -> None:
    assert back("aGVsbG8=", base64_of_others=True)[0].body == b"hello"
    assert back("no base64", base64_of_others=True)[0].body == b"no base64"


def test_a_dead_letter_keeps_as_much_of_its_detail_as_there_is_room_for() -> None:
    death = Death(reason="exhausted", detail="\x00" * MAX_DETAIL_BYTES)
    large = message(b"\xff" * 40_000)
    assert size_of(text_of(large.dead(death))) > MOST_BYTES
    dead, _ = back(text_of_dead(large, death))
    assert dead.body == large.body
    assert dead.death is not None
    assert 200 < len(dead.death.detail) < MAX_DETAIL_BYTES


@pytest.mark.parametrize(
    "text", ["x" * MOST_BYTES, '{"a":"' + "y" * 60_000 + '"}', '{"specversion":"1.0","id":"1"}' * 2000]
)
def test_a_message_of_others_without_room_for_an_envelope_dies_as_it_came(text: str) -> None:
    """Or it would be delivered until the service throws it away."""
    foreign, _ = back(text)
    letter = text_of_dead(foreign, Death(reason="undecodable"))
    assert back(letter)[0].body == foreign.body == text.encode()


def test_a_dead_letter_for_which_there_is_no_room_is_refused() -> None:
    with pytest.raises(MessageTooLarge, match="'42'"):
        text_of_dead(message(b"\xff" * 50_000), Death(reason="exhausted"))


# Accounts


def account(url: str, **options: object) -> str:
    found = account_of(url, StorageQueueOptions(**options))  # type: ignore[arg-type]
    return f"{found.endpoint} {found.name} {found.key or found.sas_token or 'entra'}"


@pytest.mark.parametrize(
    ("url", "options", "means"),
    [
        ("azurequeue://shop.queue.core.windows.net", {}, "https://shop.queue.core.windows.net shop entra"),
        (
            "azurequeue://shop:a%2Bb%2F==@shop.queue.core.windows.net/",
            {},
            "https://shop.queue.core.windows.net shop a+b/==",
        ),
        ("azurequeue://dev:k@127.0.0.1:1/dev", {"insecure": True}, "http://127.0.0.1:1/dev dev k"),
        ("azurequeue://[::1]:1/dev", {"sas_token": "?sv=1&sig=2"}, "https://[::1]:1/dev dev sv=1&sig=2"),
        (
            "azurequeue://",
            {
                "connection_string": "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=a/b==;"
                "EndpointSuffix=e.net"
            },
            "https://shop.queue.e.net shop a/b==",
        ),
        (
            "azurequeue://",
            {"connection_string": "QueueEndpoint=http://127.0.0.1:1/dev/;SharedAccessSignature=sv=1&sig=2"},
            "http://127.0.0.1:1/dev  sv=1&sig=2",
        ),
    ],
)
def test_a_url_means_an_account(url: str, options: dict[str, object], means: str) -> None:
    assert account(url, **options) == means


@pytest.mark.parametrize("url", ["azurequeue://", "azurequeue://secret@", "azurequeue://a:secret@h:port"])
def test_a_url_without_an_account_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="azurequeue://ACCOUNT") as caught:
        account(url)
    assert "secret" not in str(caught.value)


def test_a_connection_string_without_an_account_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="AccountName") as caught:
        account("azurequeue://", connection_string="AccountKey=secret")
    assert "secret" not in str(caught.value)


def test_no_secret_is_shown() -> None:
    options = StorageQueueOptions(sas_token="secret-1")
    found = account_of("azurequeue://a:secret-2@h", options)
    other = StorageQueueOptions(connection_string="AccountName=a;AccountKey=secret-3")
    assert "secret" not in f"{options!r} {other!r} {found!r} {found} {account_of('azurequeue://', other)!r}"


def test_only_what_is_plain_and_far_away_crosses_a_network() -> None:
    plain = StorageQueueOptions(insecure=True)
    assert account_of("azurequeue://a:k@10.0.0.1/a", plain).is_plain_to_another_host
    assert not account_of("azurequeue://a:k@127.0.0.1/a", plain).is_plain_to_another_host
    assert not account_of("azurequeue://a:k@10.0.0.1/a", StorageQueueOptions()).is_plain_to_another_host


@pytest.mark.parametrize(
    "options",
    [{"poll_seconds": 0.0}, {"poll_seconds": 61}, {"connections": 0}, {"connection_string": "a", "sas_token": "b"}],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        StorageQueueOptions(**options)  # type: ignore[arg-type]


# Pauses


def test_an_empty_queue_is_looked_at_less_and_less_often_until_something_comes() -> None:
    looking = Looking(0.3)
    assert [looking.pause() for _ in range(5)] == [0.05, 0.1, 0.2, 0.3, 0.3]
    looking.saw(0)
    assert looking.pause() == 0.3
    looking.saw(1)
    assert looking.pause() == 0.05


# Errors


class Refusal(HttpResponseError):
    def __init__(self, status: int, code: str) -> None:
        super().__init__("no")
        self.status_code = status
        self.error_code = code


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "PopReceiptMismatch", LeaseLost),
        (404, "MessageNotFound", Gone),
        (404, "QueueNotFound", QueueNotFound),
        (409, "QueueBeingDeleted", BrokerUnavailable),
        (503, "ServerBusy", BrokerUnavailable),
        (500, "InternalError", Unanswered),
        (403, "AuthenticationFailed", AccessDenied),
        (413, "RequestBodyTooLarge", MessageTooLarge),
        (400, "InvalidQueryParameterValue", ConfigError),
        (409, "Whatever", BrokerError),
    ],
)
def test_what_the_service_answers_is_an_error_of_levelers(status: int, code: str, kind: type[LevelerError]) -> None:
    assert type(translate(Refusal(status, code), "orders")) is kind


def test_what_did_not_go_out_was_not_done_and_what_did_may_have_been() -> None:
    key = ConnectionKey("h", 1, False, True, None, None, None)
    refused = ServiceRequestError("no", error=ClientConnectorError(key, OSError("refused")))
    ended = ServiceRequestError("no", error=ServerDisconnectedError())
    assert type(translate(refused, "orders")) is BrokerUnavailable
    assert type(translate(ended, "orders")) is Unanswered
    assert type(translate(TimeoutError(), "orders")) is Unanswered
