"""What some broker could not carry is refused before it is sent, in words that say what to use."""

from __future__ import annotations

from typing import Any

import pytest

from leveler.checks import MAX_HEADER_BYTES, check_headers, check_queue_name, check_token
from leveler.errors import InvalidMessage


@pytest.mark.parametrize("name", ["abc", "orders", "new-orders", "a1-2b-3", "x" * 58])
def test_a_legal_queue_name_is_given_back(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "x" * 59,
        "Orders",
        "1orders",
        "orders-",
        "-orders",
        "a--b",
        "a_b",
        "a.b",
        "orders\n",
        "größe",
        "orders-dead",
    ],
)
def test_a_queue_name_that_some_broker_refuses_is_refused_here(name: str) -> None:
    with pytest.raises(InvalidMessage, match="queue name"):
        check_queue_name(name)


@pytest.mark.parametrize("token", ["", "two words", "x" * 129, "ü", "a\n", "\x7f"])
def test_an_id_or_key_that_some_broker_refuses_is_refused(token: str) -> None:
    with pytest.raises(InvalidMessage, match="message id"):
        check_token("message id", token)


def test_headers_of_the_senders_own_are_allowed() -> None:
    headers = {"x-shop": "größer", "a": "", "b.c_d-e": "x" * 1000}
    assert check_headers(headers) is headers


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("X-Shop", "7", "lower case"),
        ("", "7", "use up to 64"),
        ("a" * 65, "7", "use up to 64"),
        ("a b", "7", "use up to 64"),
        ("a\n", "7", "use up to 64"),
        ("levelerattempts", "0", "reserved"),
        ("leveler-attempt", "0", "reserved"),
        ("ce-id", "7", "reserved"),
        ("x-death", "7", "reserved"),
        ("content-type", "7", "reserved"),
        ("traceparent", "7", "reserved"),
        ("shop", "a\r\nhost: evil", "control character"),
        ("shop", "\x00", "control character"),
        ("shop", "\ud800", "valid Unicode"),
        (7, "7", "a header's name is 7: expected text, such as '7'"),
        ("shop", 7, "must be text, not int"),
        ("shop", None, "must be text, not NoneType"),
        ("shop", "x" * MAX_HEADER_BYTES, "put large data into the body"),
    ],
)
def test_a_header_that_some_broker_refuses_is_refused_by_name(name: Any, value: Any, said: str) -> None:
    with pytest.raises(InvalidMessage, match=said):
        check_headers({name: value})
