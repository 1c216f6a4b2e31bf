"""What leveler_redis says of a server and of the way to it: one clear line, soon, and never a secret."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from leveler_redis import RedisAdapter, RedisOptions
from leveler_redis.errors import translate
from redis._parsers.hiredis import _AsyncHiredisParser

from leveler.adapter import Abandon, Adapter, Capabilities, DeadLetter, QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import (
    AccessDenied,
    BatchError,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    LevelerError,
    QueueNotFound,
)
from leveler.message import Death, Message
from tests.containers.find import server
from tests.containers.port import free_ports
from tests.containers.server import NoServer, Server

QUEUE = QueueSpec(name="orders", lease_seconds=2.0)
SECRET = "s3cr3t-canary"


@contextmanager
def process(**options: str) -> Iterator[Server]:
    try:
        mine = server("redis", "process", {key.replace("_", "-"): value for key, value in options.items()})
    except NoServer as error:
        pytest.skip(str(error))
    with mine:
        yield mine


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    """A server that tests may configure, and put back."""
    with process() as one:
        yield one


def opened(url: str, *, deadline_seconds: float = 5.0, **options: Any) -> Adapter:
    return find(url, clock=SystemClock(), deadline_seconds=deadline_seconds, extra_options=options)


async def declared(url: str, queue: QueueSpec = QUEUE, **options: Any) -> Capabilities:
    async with opened(url, **options) as adapter:
        return await adapter.declare(queue)


def refusal(url: str, kind: type[LevelerError], queue: QueueSpec = QUEUE, **options: Any) -> str:
    """What is said, in one line, in time, and without the secret."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        asyncio.run(declared(url, queue, **options))
    assert time.monotonic() - began < 10
    text = str(caught.value)
    assert "\n" not in text
    chain: BaseException | None = caught.value
    while chain is not None:
        assert SECRET not in f"{chain!r} {chain}"
        chain = chain.__cause__ or chain.__context__
    return text


def message(number: int = 1, **attributes: Any) -> Message:
    return Message(id=f"m-{number}", body=b"{}", time=SystemClock().now(), **attributes)


# -- the way to it


def test_a_closed_port() -> None:
    port = free_ports()
    assert f"redis://127.0.0.1:{port}/0" in refusal(f"redis://:{SECRET}@127.0.0.1:{port}", BrokerUnavailable)


def test_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        text = refusal(f"redis://user:{SECRET}@127.0.0.1:{port}", BrokerUnavailable, deadline_seconds=0.5)
    assert "no answer within the deadline" in text


def test_a_name_that_nobody_has() -> None:
    assert "nobody.invalid" in refusal(f"redis://:{SECRET}@nobody.invalid", BrokerUnavailable)


def test_a_wrong_password(plain: Server) -> None:
    url = plain.url.replace("//", f"//somebody:{SECRET}@")
    assert "correct the user and the password" in refusal(url, AccessDenied)


def test_a_password_that_is_missing() -> None:
    with process() as locked:
        locked.admin("config", "set", "requirepass", SECRET)
        given = locked.url.replace("//", f"//:{SECRET}@")
        assert asyncio.run(declared(given)).durable
        assert "password" in refusal(locked.url, AccessDenied)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@",
        f"redis://:{SECRET}@host:port",
        f"redis://:{SECRET}@host/orders",
        f"redis://:{SECRET}@[::1",
    ],
)
def test_a_url_that_means_no_server(url: str) -> None:
    assert "redis://[user:password@]host" in refusal(url, ConfigError)


def test_no_secret_is_in_any_representation() -> None:
    adapter = opened(f"redis://user:{SECRET}@127.0.0.1:1/0")
    assert isinstance(adapter, RedisAdapter)
    everything = [repr(value) for value in vars(adapter).values() if not isinstance(value, str)]
    assert SECRET not in f"{adapter!r} {adapter} {everything}"


# -- its settings


@pytest.fixture
def configured(plain: Server) -> Iterator[Any]:
    """Sets what is put back in the end."""
    before: dict[str, str] = {}

    def configure(name: str, value: str) -> None:
        before.setdefault(name, plain.admin("config", "get", name).splitlines()[1])
        plain.admin("config", "set", name, value)

    yield configure
    for name, value in before.items():
        plain.admin("config", "set", name, value)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_policy_that_throws_queues_away_is_refused_by_name(plain: Server, configured: Any, policy: str) -> None:
    configured("maxmemory-policy", policy)
    text = refusal(plain.url, ConfigError)
    assert "maxmemory-policy" in text
    assert policy in text
    assert "noeviction" in text


def test_a_policy_that_only_takes_what_expires_is_fine(plain: Server, configured: Any) -> None:
    """No key of ours ever expires."""
    configured("maxmemory-policy", "volatile-lru")
    asyncio.run(declared(plain.url))
    keys = plain.admin("--scan", "--pattern", "leveler:{orders}*").split()
    assert keys
    assert {plain.admin("ttl", key).strip() for key in keys} == {"-1"}


@pytest.mark.parametrize(
    ("name", "value", "durable", "said"),
    [
        ("appendonly", "no", False, "appendonly is no"),
        ("appendfsync", "everysec", True, "appendfsync is everysec"),
        ("appendfsync", "no", True, "appendfsync is no"),
    ],
)
def test_weak_persistence_is_degraded(
    plain: Server, configured: Any, name: str, value: str, durable: bool, said: str
) -> None:
    configured(name, value)
    can = asyncio.run(declared(plain.url))
    assert can.durable is durable
    assert any(said in line for line in can.degraded)


def test_the_strongest_persistence_is_not_degraded(plain: Server, configured: Any) -> None:
    configured("appendfsync", "always")
    can = asyncio.run(declared(plain.url))
    assert (can.durable, can.degraded) == (True, ())


@pytest.mark.parametrize("rules", ["-config -info", "-@dangerous"])
def test_credentials_that_may_not_look_are_degraded_and_not_refused(plain: Server, rules: str) -> None:
    plain.admin("acl", "setuser", "worker", "reset", "on", f">{SECRET}", "~leveler:*", "+@all", *rules.split())
    url = plain.url.replace("//", f"//worker:{SECRET}@")

    async def works() -> Capabilities:
        async with opened(url) as adapter:
            can = await adapter.declare(QUEUE)
            await adapter.sender(QUEUE).send([message()])
            receiver = adapter.receiver(QUEUE, capacity=10)
            await receiver.complete(await receiver.receive(1, 1.0))
            await receiver.close()
            await adapter.drop(QUEUE)
            return can

    can = asyncio.run(works())
    assert any("may not run INFO and CONFIG GET" in line for line in can.degraded)
    assert not can.durable


def test_credentials_that_may_not_write_are_denied(plain: Server) -> None:
    plain.admin("acl", "setuser", "reader", "reset", "on", f">{SECRET}", "~*", "+@read", "+@connection")
    text = refusal(plain.url.replace("//", f"//reader:{SECRET}@"), AccessDenied)
    assert "ACL" in text


def test_a_replica_is_refused(plain: Server) -> None:
    host, port = plain.url.removeprefix("redis://").removesuffix("/0").split(":")
    with process(replicaof=f"{host} {port}") as replica:
        assert "is a replica" in refusal(replica.url, ConfigError)


def test_a_queue_that_is_not_there_and_may_not_be_created(plain: Server) -> None:
    missing = QueueSpec(name="nowhere", declare="verify")
    assert "'nowhere'" in refusal(plain.url, QueueNotFound, missing)


def test_another_lease_is_refused_where_it_may_only_be_verified(plain: Server) -> None:
    asyncio.run(declared(plain.url))
    text = refusal(plain.url, ConfigError, QueueSpec(name="orders", lease_seconds=7.0, declare="verify"))
    assert "7 s" in text
    assert "2 s" in text


def test_a_server_without_memory_takes_nothing_and_gives_out_what_it_has(plain: Server, configured: Any) -> None:
    async def play() -> None:
        async with at(plain) as adapter:
            await adapter.sender(QUEUE).send([message(number) for number in range(3)])
            configured("maxmemory", "1")
            with pytest.raises(BatchError, match="maxmemory"):
                await adapter.sender(QUEUE).send([message(9)])
            with pytest.raises(BatchError, match="maxmemory"):
                await adapter.sender(QUEUE).send([message(9, priority=9)])
            receiver = adapter.receiver(QUEUE, capacity=10)
            first, second, third = await receiver.receive(3, 1.0)
            await receiver.complete([first])
            await receiver.abandon([Abandon(second)])
            await receiver.dead_letter([DeadLetter(third, Death(reason="rejected"))])
            [again] = await receiver.receive(3, 1.0)
            assert (again.message.id, again.attempt) == (second.message.id, 2)
            await receiver.complete([again])
            await receiver.close()

    asyncio.run(play())


# -- TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a server with TLS, and the file of the authority that signed its certificate (for localhost only)."""
    folder = tmp_path_factory.mktemp("tls")
    _openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem", folder)
    _openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr", folder)
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    _openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
        folder,
    )
    port = free_ports()
    files = {"tls_cert_file": "server.pem", "tls_key_file": "server.key", "tls_ca_cert_file": "ca.pem"}
    with process(tls_port=str(port), tls_auth_clients="no", **{key: str(folder / name) for key, name in files.items()}):
        yield f"rediss://localhost:{port}/0", folder / "ca.pem"


def test_a_certificate_that_is_signed_by_a_known_authority_is_taken(tls: tuple[str, Path]) -> None:
    url, authority = tls
    assert asyncio.run(declared(url, tls_ca_file=str(authority))).durable


def test_a_certificate_of_an_unknown_authority_is_refused(tls: tuple[str, Path]) -> None:
    assert "tls_ca_file" in refusal(tls[0].replace("//", f"//:{SECRET}@"), BrokerUnavailable)


def test_a_certificate_for_another_host_is_refused(tls: tuple[str, Path]) -> None:
    url, authority = tls
    text = refusal(url.replace("localhost", "127.0.0.1"), BrokerUnavailable, tls_ca_file=str(authority))
    assert "certificate" in text.lower()


def test_an_old_protocol_is_refused(tls: tuple[str, Path]) -> None:
    url, authority = tls
    adapter = opened(url, tls_ca_file=str(authority))
    assert isinstance(adapter, RedisAdapter)
    connection: Any = adapter._location.connection(RedisOptions(tls_ca_file=str(authority)))
    context = connection.ssl_context.get()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_plain_text_to_another_host_is_said() -> None:
    said = [opened(url) for url in ("redis://10.0.0.7", "redis://127.0.0.1", "redis://localhost", "rediss://10.0.0.7")]
    plain = [adapter._location.is_plain_to_another_host for adapter in said if isinstance(adapter, RedisAdapter)]
    assert plain == [True, False, False, False]


# -- what is underneath


def test_a_server_that_is_emptied_is_set_up_again_and_it_is_said(
    plain: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        async with at(plain) as adapter:
            receiver = adapter.receiver(QUEUE, capacity=10)
            await adapter.sender(QUEUE).send([message(1)])
            [held] = await receiver.receive(1, 1.0)
            plain.admin("flushall")
            with pytest.raises(BatchError, match="lease of message"):
                await receiver.complete([held])
            await adapter.sender(QUEUE).send([message(2)])
            [delivery] = await receiver.receive(10, 5.0)
            assert delivery.message.id == "m-2"
            plain.admin("flushall")
            waiting = asyncio.ensure_future(receiver.receive(10, 5.0))
            await asyncio.sleep(0.5)
            await adapter.sender(QUEUE).send([message(3, priority=9)])
            assert [one.message.id for one in await waiting] == ["m-3"]
            await receiver.close()
            assert adapter.remade == {"orders": 2}

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    assert sum("was gone from the server" in text for text in caplog.messages) == 2


def test_a_group_that_is_gone_is_made_again_from_the_start(plain: Server, caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        async with at(plain) as adapter:
            receiver = adapter.receiver(QUEUE, capacity=10)
            await adapter.sender(QUEUE).send([message(number) for number in range(3)])
            [first, second] = await receiver.receive(2, 1.0)
            await receiver.complete([first])
            plain.admin("xgroup", "destroy", "leveler:{orders}", "leveler")
            with pytest.raises(BatchError):
                await receiver.extend([second])
            again, _ = found = await receiver.receive(10, 1.0)
            assert [one.message.id for one in found] == ["m-1", "m-2"]
            plain.admin("xgroup", "destroy", "leveler:{orders}", "leveler")
            await receiver.complete([again])  # it is done, whoever else may have been given it meanwhile
            assert [one.message.id for one in await receiver.receive(10, 1.0)] == ["m-2"]
            await receiver.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    assert any("lost its consumer group" in text for text in caplog.messages)


def test_settings_of_a_queue_that_are_gone_are_written_again(plain: Server) -> None:
    async def play() -> None:
        async with at(plain) as adapter:
            receiver = adapter.receiver(QUEUE, capacity=10)
            await adapter.sender(QUEUE).send([message(number, priority=number) for number in (0, 4, 9)])
            plain.admin("del", "leveler:{orders}:queue")
            found = [one.message.id for one in await receiver.receive(10, 1.0)]
            assert sorted(found) == ["m-0", "m-4", "m-9"]
            await adapter.sender(QUEUE).send([message(9, priority=9)])
            assert [one.message.id for one in await receiver.receive(10, 1.0)] == ["m-9"]
            await receiver.close()

    asyncio.run(play())


def test_a_queue_that_somebody_else_dropped_is_said_where_it_may_not_be_created(plain: Server) -> None:
    async def play() -> None:
        verified = QueueSpec(name="orders", lease_seconds=2.0, declare="verify")
        async with at(plain) as adapter, opened(plain.url) as other:
            await other.declare(verified)
            receiver = other.receiver(verified, capacity=10)
            await receiver.receive(1, 0.0)
            await adapter.drop(QUEUE)
            with pytest.raises(QueueNotFound, match="'orders'"):
                await receiver.receive(1, 1.0)
            with pytest.raises(BatchError, match="nothing was queued"):
                await other.sender(verified).send([message()])
            await receiver.close()

    asyncio.run(play())


def test_scripts_that_the_server_has_forgotten_are_sent_again(plain: Server) -> None:
    async def play() -> None:
        async with at(plain) as adapter:
            receiver = adapter.receiver(QUEUE, capacity=10)
            for number in range(3):
                plain.admin("script", "flush")
                await adapter.sender(QUEUE).send([message(number, priority=number)])
                [delivery] = await receiver.receive(1, 1.0)
                plain.admin("script", "flush")
                await receiver.extend([delivery])
                plain.admin("script", "flush")
                await receiver.complete([delivery])
            assert (await adapter.depth(QUEUE))[:3] == (0, 0, 0)
            await receiver.close()

    asyncio.run(play())


@asynccontextmanager
async def at(place: Server, queue: QueueSpec = QUEUE) -> AsyncIterator[Any]:
    async with opened(place.url) as adapter:
        await adapter.drop(queue)
        await adapter.declare(queue)
        yield adapter
        await adapter.drop(queue)


def _openssl(words: str, folder: Path) -> None:
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)


def test_a_master_that_has_become_a_replica_is_left_and_used_again_when_it_is_one_no_more(plain: Server) -> None:
    async def play() -> None:
        async with at(plain) as adapter:
            sender, receiver = adapter.sender(QUEUE), adapter.receiver(QUEUE, capacity=10)
            await sender.send([message(1)])
            [held] = await receiver.receive(1, 1.0)
            plain.admin("replicaof", "127.0.0.1", "1")
            refused: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda: sender.send([message(2)]),
                lambda: sender.send([message(2, priority=9)]),
                lambda: receiver.receive(1, 0.5),
                lambda: receiver.complete([held]),
            )
            for verb in refused:
                with pytest.raises((BatchError, BrokerUnavailable), match="replica"):
                    await verb()
            plain.admin("replicaof", "no", "one")
            await receiver.complete([held])
            await sender.send([message(3)])
            assert [one.message.id for one in await receiver.receive(1, 1.0)] == ["m-3"]
            await receiver.close()

    try:
        asyncio.run(play())
    finally:
        plain.admin("replicaof", "no", "one")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ("LOADING Redis is loading the dataset in memory", BrokerUnavailable, "reading its data"),
        ("READONLY You can't write against a read only replica.", BrokerUnavailable, "replica"),
        ("MASTERDOWN Link with MASTER is down", BrokerUnavailable, "lost its master"),
        ("CLUSTERDOWN Hash slot not served", BrokerUnavailable, "majority"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", BrokerUnavailable, "moving"),
        ("BUSY Redis is busy running a script.", BrokerUnavailable, "SCRIPT KILL"),
        ("OOM command not allowed when used memory > 'maxmemory'.", BrokerUnavailable, "maxmemory"),
        ("MISCONF Redis is configured to save RDB snapshots", BrokerUnavailable, "disk"),
        ("NOREPLICAS Not enough good replicas to write.", BrokerUnavailable, "min-replicas-to-write"),
        ("ERR max number of clients reached", BrokerUnavailable, "max number of clients"),
        ("NOSCRIPT No matching script.", BrokerUnavailable, "forgotten"),
        ("UNBLOCKED client unblocked via CLIENT UNBLOCK", BrokerUnavailable, "ended the wait"),
        ("MOVED 3999 127.0.0.1:6381", ConfigError, "Redis Cluster"),
        ("ASK 3999 127.0.0.1:6381", ConfigError, "Redis Cluster"),
        ("CROSSSLOT Keys in request don't hash to the same slot", ConfigError, "Redis Cluster"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", ConfigError, "prefix"),
        ("NOGROUP No such key 'x' or consumer group 'leveler'", QueueNotFound, "declare"),
        ("NOAUTH Authentication required.", AccessDenied, "password"),
        ("WRONGPASS invalid username-password pair or user is disabled.", AccessDenied, "password"),
        ("NOPERM this user has no permissions to run the 'xadd' command", AccessDenied, "xadd"),
        ("NOGROUP the consumer group of x is gone script: 5f, on @user_script:3.", QueueNotFound, "declare"),
        ("ERR DB index is out of range", ConfigError, "at the end of the URL"),
        ("ERR something new", BrokerError, "something new"),
    ],
)
def test_every_answer_has_its_error(answer: str, kind: type[LevelerError], said: str) -> None:
    parse: Callable[[str], Exception] = _AsyncHiredisParser.parse_error
    error = translate(parse(answer), "redis://here:6379/0")
    assert type(error) is kind
    assert said in str(error)
    assert "redis://here:6379/0" in str(error)


def test_an_old_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.__version__", "4.5.2")
    assert "CVE-2023-28858" in refusal("redis://127.0.0.1:1", ConfigError)
