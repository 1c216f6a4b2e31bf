"""The endpoint: who may call it, how much it takes, and when it answers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from aiohttp import ClientSession, web
from cryptography.hazmat.primitives.asymmetric import rsa
from leveler_cloudtasks import CloudTasksAdapter, CloudTasksOptions, mounted
from leveler_cloudtasks.emulator import CloudTasksEmulator, EmulatorOptions, Served
from leveler_cloudtasks.keys import Keys, KeysUnavailable
from leveler_cloudtasks.push import Server, endpoint, server
from leveler_cloudtasks.verification import OidcGuard

from leveler.adapter import Abandon, Delivery, QueueSpec, Receiver
from leveler.clock import SystemClock
from leveler.errors import ConfigError
from leveler.message import Message
from leveler.testing import VirtualClock
from tests.containers.port import free_ports

ACCOUNT = "caller@p-1.iam.gserviceaccount.com"
AUDIENCE = "https://orders.example.com/tasks"
QUEUE = QueueSpec(name="orders", lease_seconds=15.0)


@dataclass
class Door:
    """An endpoint that listens, with one receiver behind it."""

    adapter: CloudTasksAdapter
    receiver: Receiver
    served: Served
    url: str
    handled: list[Message] = field(default_factory=list)

    async def work(self) -> None:
        """Complete whatever comes."""
        while True:
            deliveries = await self.receiver.receive(10, 5.0)
            self.handled += [delivery.message for delivery in deliveries]
            await self.receiver.complete(deliveries)

    def token(self, **changes: Any) -> str:
        claims = {**self.served.identity.claims(ACCOUNT, AUDIENCE), **changes}
        return self.served.identity.sign({name: value for name, value in claims.items() if value is not None})

    async def post(self, token: str | None = None, body: bytes = b"{}", path: str = "/orders", **more: Any) -> int:
        """The status of the answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        method = more.pop("method", "POST")
        async with (
            ClientSession() as session,
            session.request(method, self.url + path, data=io.BytesIO(body), headers=headers, **more) as response,
        ):
            return response.status


@asynccontextmanager
async def door(*, keys: str = "", working: bool = True, **options: Any) -> AsyncIterator[Door]:
    emulator = CloudTasksEmulator(EmulatorOptions(port=0, keys_port=0, shortest_deadline=0.1))
    port = free_ports()
    async with emulator.running() as served:
        chosen = {"service_account": ACCOUNT, "audience": AUDIENCE, "keys": keys or served.keys, **options}
        at = CloudTasksOptions(emulator=served.address, endpoint=f"http://127.0.0.1:{port}", **chosen)
        adapter = mounted("cloudtasks://p-1/here", at)
        assert adapter.endpoint is not None
        listening = Server("127.0.0.1", port, adapter.endpoint)
        await listening.start()
        async with adapter:
            await adapter.declare(QUEUE)
            receiver = adapter.receiver(QUEUE, capacity=10)
            await receiver.receive(1, 0)
            made = Door(adapter, receiver, served, f"http://127.0.0.1:{port}")
            work = asyncio.ensure_future(made.work()) if working else None
            try:
                yield made
            finally:
                if work is not None:
                    work.cancel()
                await receiver.close()
                await listening.stop()


def played(**options: Any) -> Callable[[Callable[[Door], Awaitable[None]]], Callable[[], None]]:
    def made(play: Callable[[Door], Awaitable[None]]) -> Callable[[], None]:
        async def main() -> None:
            async with door(**options) as d:
                await play(d)

        return lambda: asyncio.run(main())

    return made


# ---- who may call


@played()
async def _a_good_token(d: Door) -> None:
    for _ in range(3):
        assert await d.post(d.token()) == 200
    assert len(d.handled) == 3


def test_a_task_of_ours_is_handled() -> None:
    _a_good_token()


def _algorithm(name: str, key: str) -> Callable[[Door], str]:
    def sign(d: Door) -> str:
        headers = {"kid": d.served.identity.key_id}
        return jwt.encode(d.served.identity.claims(ACCOUNT, AUDIENCE), key, name, headers=headers)

    return sign


def _foreign_key(key_id: str | None = None) -> Callable[[Door], str]:
    def sign(d: Door) -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        headers = {"kid": key_id or d.served.identity.key_id}
        return jwt.encode(d.served.identity.claims(ACCOUNT, AUDIENCE), key, "RS256", headers=headers)

    return sign


def _changed(**changes: Any) -> Callable[[Door], str]:
    return lambda d: d.token(**changes)


STRANGERS: list[Any] = [
    pytest.param(lambda d: None, 401, id="no token"),
    pytest.param(lambda d: "garbage", 401, id="no JWT"),
    pytest.param(lambda d: "x" * 10_000, 401, id="a token without end"),
    pytest.param(_changed(aud="https://orders.example.com/other"), 401, id="another audience"),
    pytest.param(_changed(aud=AUDIENCE + "/"), 401, id="nearly the audience"),
    pytest.param(_changed(aud=None), 401, id="no audience"),
    pytest.param(_changed(exp=1_000_000), 401, id="expired"),
    pytest.param(_changed(exp=None), 401, id="never expires"),
    pytest.param(_changed(iat=9_000_000_000), 401, id="issued in the future"),
    pytest.param(_changed(iss="https://evil.example.com"), 401, id="another issuer"),
    pytest.param(_changed(email="other@p-1.iam.gserviceaccount.com"), 403, id="another service account"),
    pytest.param(_changed(email_verified=False), 403, id="a mail address that nobody has verified"),
    pytest.param(_changed(email_verified="true"), 403, id="a word for true"),
    pytest.param(_algorithm("none", ""), 401, id="alg none"),
    pytest.param(_algorithm("HS256", "s" * 32), 401, id="alg HS256"),
    pytest.param(_foreign_key(), 401, id="another key of the same name"),
    pytest.param(_foreign_key("unknown"), 401, id="a key that is not published"),
]


@pytest.mark.parametrize(("token", "status"), STRANGERS)
def test_a_stranger_is_refused_before_the_body_is_read(token: Callable[[Door], str | None], status: int) -> None:
    """A megabyte is announced and never sent: whoever waited for it would not answer."""

    @played()
    async def play(d: Door) -> None:
        made = token(d)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(d.url.rpartition(":")[2]))
        authorization = "" if made is None else f"Authorization: Bearer {made}\r\n"
        writer.write(f"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n{authorization}\r\n".encode())
        answer = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        assert int(answer.split()[1]) == status
        assert d.handled == []

    play()


def test_an_outage_of_the_keys_fails_closed() -> None:
    @played(keys="http://127.0.0.1:9/keys")
    async def play(d: Door) -> None:
        assert await d.post(d.token()) == 503
        assert await d.post() == 401
        assert d.handled == []

    play()


def test_keys_are_kept_for_a_while_and_fetched_anew_for_one_that_is_new() -> None:
    clock, asked = VirtualClock(), 0
    published = [{"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"}]

    def fetch(url: str) -> Any:
        nonlocal asked
        asked += 1
        if not published:
            raise OSError("nobody there")
        return {"keys": [*published]}

    async def main() -> None:
        keys = Keys("https://keys", clock, fetch)
        assert await keys.get("one") is not None
        assert await keys.get("one") is not None
        assert asked == 1
        assert await keys.get("two") is None  # too soon to ask again
        await clock.advance(11)
        published.append({**published[0], "kid": "two"})
        assert await keys.get("two") is not None
        assert asked == 2
        published.clear()
        await clock.advance(1800)
        assert await keys.get("one") is not None  # an outage that is shorter than the keys are good for
        await clock.advance(1801)
        with pytest.raises(KeysUnavailable):
            await keys.get("one")

    asyncio.run(main())


def test_keys_are_not_fetched_from_where_they_were_not_said_to_be() -> None:
    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound(str(request.query["to"]))

    @played()
    async def play(d: Door) -> None:
        app = web.Application()
        app.router.add_get("/keys", redirect)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        keys = Keys(f"http://127.0.0.1:{runner.addresses[0][1]}/keys?to={d.served.keys}", SystemClock())
        with pytest.raises(KeysUnavailable):
            await keys.get(d.served.identity.key_id)
        await runner.cleanup()

    play()


def test_a_token_that_was_checked_is_refused_once_it_has_expired() -> None:
    @played()
    async def play(d: Door) -> None:
        clock = VirtualClock()
        guard = OidcGuard(Keys(d.served.keys, SystemClock()), ACCOUNT, AUDIENCE, clock)
        claims = d.served.identity.claims(ACCOUNT, AUDIENCE)
        headers = {"authorization": f"Bearer {d.served.identity.sign(claims)}"}
        assert await guard.check(headers) == 0
        assert list(guard._checked.values()) == [claims["exp"]]

    play()


def test_strangers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @played()
    async def play(d: Door) -> None:
        clock = VirtualClock()
        guard = OidcGuard(Keys(d.served.keys, SystemClock()), ACCOUNT, AUDIENCE, clock)
        for seconds in (0, 0, 9, 2):
            await clock.advance(seconds)
            for number in range(25):
                assert await guard.check({"authorization": f"Bearer garbage-{number}"}) == 401

    play()
    said = [record.getMessage().rpartition(" (")[2] for record in caplog.records]
    assert said == ["1 refused by now)", "76 refused by now)"]


@pytest.mark.parametrize(
    "options",
    [
        {"listen": "0.0.0.0:8080"},
        {"listen": "10.0.0.1:8080"},
        {"listen": "orders.example.com:8080"},
        {"listen": "[::]:80"},
    ],
)
def test_without_verification_it_listens_on_the_loopback_address_only(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="service_account"):
        CloudTasksOptions(**options).address()
    assert CloudTasksOptions(service_account=ACCOUNT, **options).address()


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_the_loopback_address_needs_no_verification(listen: str) -> None:
    assert CloudTasksOptions(listen=listen).address()[1] == 8080


@pytest.mark.parametrize(
    ("name", "url"), [("endpoint", "http://orders.example.com"), ("keys", "http://keys.example.com")]
)
def test_neither_tasks_nor_keys_travel_in_the_clear(name: str, url: str) -> None:
    given: dict[str, Any] = {name: url}
    with pytest.raises(ConfigError, match="https"):
        CloudTasksOptions(**given)


def test_what_is_mounted_must_be_able_to_tell_who_calls() -> None:
    with pytest.raises(ConfigError, match="service_account"):
        mounted("cloudtasks://p-1/here", CloudTasksOptions(endpoint=AUDIENCE))


# ---- how much it takes


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"body": b"x" * (1024 * 1024 + 1)}, 413),
        ({"method": "GET", "body": b""}, 405),
        ({"path": "/invoices"}, 429),
        ({"path": "/orders-dead"}, 429),
        ({"path": "/"}, 429),
    ],
)
def test_what_is_not_taken_is_refused_without_counting_as_a_try(more: dict[str, Any], status: int) -> None:
    @played()
    async def play(d: Door) -> None:
        assert await d.post(d.token(), **more) == status
        assert d.handled == []

    play()


@played()
async def _a_body_without_a_length(d: Door) -> None:
    chunk = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
    head = (
        f"POST /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {d.token()}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert (await _says(d, head.encode() + 20 * chunk)).split()[1] == b"413"
    assert d.handled == []


def test_a_body_that_does_not_say_how_long_it_is_ends_at_the_limit() -> None:
    _a_body_without_a_length()


async def _says(d: Door, sent: bytes, within: float = 5.0) -> bytes:
    """What the endpoint answers to these bytes until it closes, or has answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(d.url.rpartition(":")[2]))
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.readline(), within)
    finally:
        writer.close()


def test_who_dawdles_with_the_headers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)

    @played()
    async def play(d: Door) -> None:
        assert await _says(d, b"") == b""
        assert await _says(d, b"POST /orders HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b""
        assert await d.post(d.token()) == 200

    play()


def test_as_many_headers_as_the_service_takes_are_taken_in_any_pieces() -> None:
    @played()
    async def play(d: Door) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(d.url.rpartition(":")[2]))
        head = f"POST /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {d.token()}\r\nContent-Length: 0\r\n"
        writer.write(head.encode())
        for number in range(79):
            writer.write(f"X-{number}: {'v' * 1000}\r\n".encode())
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"\r\n")
        answer = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        assert answer.split()[1] == b"200"

    play()


def test_headers_without_end_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 60.0)

    @played()
    async def play(d: Door) -> None:
        lines = b"a: b\r\n" * 100_000
        with suppress(ConnectionError):
            assert await _says(d, b"POST /orders HTTP/1.1\r\nHost: x\r\n" + lines) == b""
        assert await d.post(d.token()) == 200

    play()


def test_who_dawdles_with_the_headers_of_a_second_request_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)

    @played()
    async def play(d: Door) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(d.url.rpartition(":")[2]))
        writer.write(b"GET /orders HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.write(b"GET /orders HTTP/1.1\r\nHost: ")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()

    play()


def test_who_dawdles_with_the_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BODY_SECONDS", 0.2)

    @played()
    async def play(d: Door) -> None:
        head = f"POST /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {d.token()}\r\nContent-Length: 10\r\n\r\n12"
        assert (await _says(d, head.encode())).split()[1] == b"408"
        assert d.handled == []

    play()


# ---- when it answers


@played(working=False)
async def _settled_by_hand(d: Door) -> None:
    """200, 500, 429 and a copy with 200: each once the receiver has said so, and no sooner."""
    settlements: list[tuple[Callable[[Delivery], Awaitable[None]], int]] = [
        (lambda one: d.receiver.complete([one]), 200),
        (lambda one: d.receiver.abandon([Abandon(one)]), 500),
        (lambda one: d.receiver.abandon([Abandon(one, counted=False)]), 429),
        (lambda one: d.receiver.abandon([Abandon(one, 60.0)]), 200),
    ]
    for settle, status in settlements:
        asking = asyncio.ensure_future(d.post(d.token()))
        [delivery] = await d.receiver.receive(1, 5.0)
        await asyncio.sleep(0.1)
        assert not asking.done()
        await settle(delivery)
        assert await asking == status
    assert (await d.adapter.depth(QUEUE)).delayed == 1  # the copy


def test_the_answer_is_the_settlement() -> None:
    _settled_by_hand()


@played(working=False)
async def _stopped(d: Door) -> None:
    await d.receiver.hold(0)
    assert await d.post(d.token()) == 429
    await d.receiver.hold(10)
    asking = asyncio.ensure_future(d.post(d.token()))
    assert len(await d.receiver.receive(1, 5.0)) == 1
    await d.receiver.close()
    assert await asking == 500  # handed out and not settled: as after a crash
    assert await d.post(d.token()) == 429


def test_a_receiver_that_is_stopped_refuses_and_one_that_is_closed_gives_up() -> None:
    _stopped()


@played(working=False)
async def _nobody_takes_it(d: Door) -> None:
    """It is parked, for a moment, and then goes back uncounted."""
    assert await d.post(d.token()) == 429


def test_what_nobody_takes_is_refused_and_not_kept() -> None:
    _nobody_takes_it()
