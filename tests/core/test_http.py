"""The answer of an HTTP downstream becomes the right outcome, whichever client has got it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from leveler import Outcome, Reject, Retry, Throttled, http

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class _Answers(BaseHTTPRequestHandler):
    """What the query asks for: a status, and headers."""

    def do_GET(self) -> None:
        headers = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.send_response_only(int(headers.pop("status")))
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def by_httpx(url: str, **query: str) -> list[Outcome | None]:
    response = httpx.get(url, params=query)
    try:
        response.raise_for_status()
    except httpx.HTTPStatusError as error:
        return [http.outcome_of(response), http.outcome_of(error)]
    return [http.outcome_of(response)]


def by_requests(url: str, **query: str) -> list[Outcome | None]:
    response = requests.get(url, params=query, timeout=10)
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        return [http.outcome_of(response), http.outcome_of(error)]
    return [http.outcome_of(response)]


def by_aiohttp(url: str, **query: str) -> list[Outcome | None]:
    async def ask() -> list[Outcome | None]:
        async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
            outcome = http.outcome_of(response)
            try:
                response.raise_for_status()
            except aiohttp.ClientResponseError as error:
                return [outcome, http.outcome_of(error)]
            return [outcome]

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [by_httpx, by_requests, by_aiohttp])
@pytest.mark.parametrize(
    ("query", "kind", "after_seconds"),
    [
        ({"status": "200"}, None, None),
        ({"status": "204"}, None, None),
        ({"status": "429"}, Throttled, None),
        ({"status": "429", "retry-after": "7"}, Throttled, 7.0),
        ({"status": "503", "RETRY-AFTER": " 120 "}, Throttled, 120.0),
        ({"status": "500"}, Retry, None),
        ({"status": "502", "Retry-After": "3"}, Retry, 3.0),
        ({"status": "404"}, Retry, None),
        ({"status": "409"}, Retry, None),
        ({"status": "400"}, Reject, None),
        ({"status": "422"}, Reject, None),
    ],
)
def test_every_client_s_answer_and_its_error_become_the_same_outcome(
    ask: Any, query: dict[str, str], kind: type[Outcome] | None, after_seconds: float | None, url: str
) -> None:
    for outcome in ask(url, **query):
        assert (type(outcome) if outcome is not None else None) is kind
        assert getattr(outcome, "after_seconds", None) == after_seconds


class Response:
    def __init__(self, status_code: int, headers: dict[str, str] | None = None) -> None:
        self.status_code = status_code
        self.headers = headers


def test_check_raises_it_and_names_the_downstream() -> None:
    http.check(Response(200))
    with pytest.raises(Throttled) as raised:
        http.check(Response(429, {"retry-after": "5"}), downstream="mail")
    assert (raised.value.after_seconds, raised.value.downstream) == (5.0, "mail")
    with pytest.raises(Reject, match="HTTP 400"):
        http.check(Response(400))


@given(st.integers(400, 599))
def test_every_error_has_an_outcome_and_none_completes(status: int) -> None:
    assert isinstance(http.outcome_of(Response(status)), Throttled | Retry | Reject)


@given(seconds=st.integers(-1000, 10**6))
def test_a_date_is_as_far_away_as_its_server_s_clock_says(seconds: int) -> None:
    at = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert http.retry_after_seconds({"retry-after": at}, NOW) == max(0, seconds)
    date = format_datetime(NOW, usegmt=True)
    assert http.retry_after_seconds({"Retry-After": at, "Date": date}) == max(0, seconds)


def test_a_date_without_a_server_s_clock_is_ours() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert http.retry_after_seconds({"retry-after": at}) == pytest.approx(60, abs=2)


@given(st.text(max_size=40))
def test_whatever_it_says_nothing_breaks(words: str) -> None:
    after = http.retry_after_seconds({"retry-after": words}, NOW)
    assert after is None or after >= 0


@pytest.mark.parametrize("words", ["", "soon", "-5", "1.5", "1e3", "9" * 400, "²", "Thu, 99 Nov 2026 99:99:99 GMT"])
def test_what_makes_no_sense_is_as_if_it_were_not_there(words: str) -> None:
    assert http.retry_after_seconds({"retry-after": words}, NOW) is None
