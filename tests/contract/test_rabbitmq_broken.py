"""The RabbitMQ adapter when something dies: a worker, the broker, its memory; and when nobody can be trusted."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from leveler.adapter import Abandon, Adapter, Delivery, QueueSpec, Receiver
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import BatchError, BrokerUnavailable, ConfigError, LevelerError, ReceiverLost, SendUnknown
from leveler.message import Message
from tests.containers.find import server
from tests.containers.keeper import Kept
from tests.containers.port import free_ports
from tests.containers.server import NoServer, Server

#: Takes some messages, says which, and never ends.
_HOLDER = """
import asyncio, sys
from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find

async def main(url, name, count):
    async with find(url, clock=SystemClock(), deadline_seconds=5.0) as adapter:
        receiver = adapter.receiver(QueueSpec(name=name), capacity=count)
        got = []
        while len(got) < count:
            got += await receiver.receive(count - len(got), 5.0)
        print(*(delivery.message.id for delivery in got), flush=True)
        await asyncio.sleep(3600)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that may be broken."""
    try:
        with server("rabbitmq", "any") as running:
            yield running
    except NoServer as missing:
        pytest.skip(str(missing))


@asynccontextmanager
async def queue(url: str, deadline: float = 5.0, *, dropped: bool = True) -> AsyncIterator[tuple[Adapter, QueueSpec]]:
    async with find(url, clock=SystemClock(), deadline_seconds=deadline) as adapter:
        spec = QueueSpec(name=f"broken-{uuid.uuid4().hex[:12]}")
        await _declared(adapter, spec)
        await asyncio.sleep(1.0)  # a server killed sooner has forgotten the queue's messages: RabbitMQ's own ways
        yield adapter, spec
        if dropped:
            await adapter.drop(spec)


async def _declared(adapter: Adapter, spec: QueueSpec) -> None:
    """A server too busy to make a quorum queue in five seconds says INTERNAL_ERROR. A worker asks again then."""
    for _ in range(2):
        try:
            await adapter.declare(spec)
        except BrokerUnavailable as error:
            if "INTERNAL_ERROR" not in str(error):
                raise
        else:
            return
    await adapter.declare(spec)


def messages(count: int) -> list[Message]:
    return [Message(id=uuid.uuid4().hex, body=b"{}", time=SystemClock().now()) for _ in range(count)]


async def take(receiver: Receiver, count: int, seconds: float = 10.0) -> list[Delivery]:
    got: list[Delivery] = []
    async with asyncio.timeout(seconds):
        while len(got) < count:
            got += await receiver.receive(count - len(got), 1.0)
    return got


def test_what_a_killed_worker_held_comes_at_once_and_counted(rabbitmq: Kept) -> None:
    async def run() -> None:
        async with queue(rabbitmq.url) as (adapter, spec):
            sent = messages(5)
            await adapter.sender(spec).send(sent)
            words = [sys.executable, "-c", _HOLDER, rabbitmq.url, spec.name, "3"]
            holder = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
            assert holder.stdout is not None
            held = set((await holder.stdout.readline()).decode().split())
            assert len(held) == 3
            holder.kill()
            await holder.wait()
            came = await take(adapter.receiver(spec, capacity=5), 5)
            assert {one.message.id for one in came} == {message.id for message in sent}
            assert {one.message.id for one in came if one.attempt == 2} == held

    asyncio.run(run())


def test_consumption_goes_on_when_a_killed_broker_is_back(own: Server) -> None:
    async def run() -> None:
        # RabbitMQ dead-letters nothing any more, and says INTERNAL_ERROR to whoever makes a delay queue, once one has
        # been deleted just when it came up.
        async with queue(own.url, dropped=False) as (adapter, spec):
            sent = messages(20)
            await adapter.sender(spec).send(sent)
            receiver = adapter.receiver(spec, capacity=5)
            held = await take(receiver, 5)
            await receiver.complete(held[:2])
            await asyncio.to_thread(own.kill)
            for verb in (receiver.receive(1, 5.0), receiver.complete(held[2:]), receiver.hold(3)):
                with pytest.raises(ReceiverLost):
                    await verb
            with pytest.raises(BatchError) as refused:
                await adapter.sender(spec).send(messages(1))
            assert isinstance(refused.value.failed[0], BrokerUnavailable | SendUnknown)
            await receiver.close()
            await asyncio.to_thread(own.start)
            back_at = time.monotonic()
            got = await take(await _again(adapter, spec), 18, 10.0)
            assert time.monotonic() - back_at < 10.0
            done = {delivery.message.id for delivery in held[:2]}
            assert {one.message.id for one in got} == {message.id for message in sent} - done

    asyncio.run(run())


async def _again(adapter: Adapter, spec: QueueSpec) -> Receiver:
    """As the core does it: declare, and make a new receiver, until it works."""
    while True:
        try:
            await adapter.declare(spec)
            receiver = adapter.receiver(spec, capacity=100)
            await receiver.hold(100)
        except LevelerError:
            await asyncio.sleep(0.1)
        else:
            return receiver


def test_a_broker_without_memory_takes_no_messages_but_settlements(own: Server) -> None:
    async def run() -> None:
        async with queue(own.url, deadline=2.0) as (adapter, spec):
            sender = adapter.sender(spec)
            await sender.send(messages(3))
            receiver = adapter.receiver(spec, capacity=20)
            done, back, kept = await take(receiver, 3)
            await asyncio.to_thread(own.admin, "set_vm_memory_high_watermark", "0.0000001")
            try:
                failures = [await _failure(sender.send(messages(1))) for _ in range(2)]
                assert isinstance(failures[0], SendUnknown)
                assert isinstance(failures[1], BrokerUnavailable)
                assert "memory" in str(failures[1])
                await receiver.complete([done])
                assert isinstance(await _failure(receiver.abandon([Abandon(back, 0.1)])), BrokerUnavailable)
                await receiver.extend([back, kept])
            finally:
                await asyncio.to_thread(own.admin, "set_vm_memory_high_watermark", "0.6")
            await _until(lambda: sender.send(messages(1)))
            await receiver.abandon([Abandon(back, 0.1)])
            assert back.message.id in {one.message.id for one in await take(receiver, 3)}

    asyncio.run(run())


async def _until(verb: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(10):
        while True:
            if await _failure(verb()) is None:
                return
            await asyncio.sleep(0.1)


async def _failure(verb: Awaitable[None]) -> LevelerError | None:
    try:
        await verb
    except BatchError as error:
        return error.failed[0]
    except LevelerError as error:
        return error
    return None


def test_a_broker_that_stands_still_is_noticed(own: Server) -> None:
    async def run() -> None:
        async with queue(f"{own.url}?heartbeat_seconds=1") as (adapter, spec):
            receiver = adapter.receiver(spec, capacity=3)
            assert await receiver.receive(1, 0.1) == []
            own.freeze()
            try:
                with pytest.raises(ReceiverLost, match="heartbeat"):
                    await asyncio.wait_for(receiver.receive(1, 30.0), 10.0)
            finally:
                own.thaw()
            await receiver.close()
            await _again(adapter, spec)

    asyncio.run(run())


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a server with TLS, and the file of who has signed its certificate."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    port = free_ports()
    options = {
        "listeners.ssl.default": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": str(folder / "ca.pem"),
        "ssl_options.certfile": str(folder / "cert.pem"),
        "ssl_options.keyfile": str(folder / "key.pem"),
    }
    try:
        with server("rabbitmq", "process", options):
            yield port, folder / "ca.pem"
    except NoServer as missing:
        pytest.skip(str(missing))


def test_tls_is_verified(tls: tuple[int, Path]) -> None:
    port, ca_file = tls

    async def run(host: str, query: str) -> None:
        async with queue(f"amqps://guest:guest@{host}:{port}/{query}") as (adapter, spec):
            await adapter.sender(spec).send(messages(1))
            await take(adapter.receiver(spec, capacity=1), 1)

    asyncio.run(run("localhost", f"?ca_file={ca_file}"))
    for host, query, told in (
        ("localhost", "", "ca_file"),
        ("127.0.0.1", f"?ca_file={ca_file}", "certificate cannot be trusted"),
        ("localhost", f"?ca_file={ca_file}.missing", "TLS files"),
    ):
        with pytest.raises(ConfigError, match=told) as refused:
            asyncio.run(run(host, query))
        assert not isinstance(refused.value, ssl.SSLError)


def stall(server: Server, process: str, *, seconds: int) -> None:
    """As a slow disk does: whoever asks that process of the server's for something waits so long."""
    later = f"spawn(fun() -> timer:sleep({seconds * 1000}), sys:resume({process}) end)"
    server.admin("eval", f"sys:suspend({process}), {later}.")


def test_a_server_too_slow_to_make_a_queue_is_unavailable_and_makes_it_when_asked_again(own: Server) -> None:
    async def run() -> None:
        async with find(own.url, clock=SystemClock(), deadline_seconds=20.0) as adapter:
            spec = QueueSpec(name=f"slow-{uuid.uuid4().hex[:12]}")
            stall(own, "ra_log_meta", seconds=8)
            with pytest.raises(BrokerUnavailable, match="INTERNAL_ERROR"):
                await adapter.declare(spec)
            await adapter.declare(spec)
            await adapter.sender(spec).send(messages(1))
            receiver = adapter.receiver(spec, capacity=1)
            await receiver.complete(await take(receiver, 1))
            await receiver.close()
            await adapter.drop(spec)

    asyncio.run(run())


# ---- a queue that has lost its leader


def lose_leader(server: Server, name: str) -> None:
    """As a queue has none whose server was killed half a second after its declaration."""
    assert "ok" in server.admin("eval", f"ra:stop_server(quorum_queues, {{'%2F_{name}', node()}}).")


def test_when_a_delay_queue_does_not_confirm_the_next_one_is_used(own: Server) -> None:
    async def run() -> None:
        async with queue(own.url, deadline=5.0) as (adapter, spec):
            receiver = adapter.receiver(spec, capacity=10)
            for room in ("DELAY-100", "DELAY-200"):
                await adapter.sender(spec).send(messages(1))
                [delivery] = await take(receiver, 1, 30.0)
                await receiver.abandon([Abandon(delivery, 0.1)])  # it is there from now on
                [delivery] = await take(receiver, 1, 30.0)
                lose_leader(own, f"{spec.name}-{room}")
                with pytest.raises(BatchError, match=r"no confirmation in time|could not take it"):
                    await receiver.abandon([Abandon(delivery, 0.1)])
                await receiver.abandon([Abandon(delivery, 0.1)])
                [delivery] = await take(receiver, 1, 30.0)
                await receiver.complete([delivery])
            await receiver.close()

    asyncio.run(run())


def test_when_the_queue_of_marked_messages_does_not_confirm_the_next_one_is_used(own: Server) -> None:
    async def run() -> None:
        async with queue(own.url, deadline=5.0) as (adapter, spec):
            receiver = adapter.receiver(spec, capacity=10)
            await adapter.sender(spec).send(messages(1))
            [delivery] = await take(receiver, 1, 30.0)
            await receiver.mark_solo([delivery])
            lose_leader(own, f"{spec.name}-SOLO")
            await receiver.abandon([Abandon(delivery, counted=False)])
            [delivery] = await take(receiver, 1, 30.0)
            with pytest.raises(BatchError, match=r"no confirmation in time|could not take it"):
                await receiver.mark_solo([delivery])
            await receiver.mark_solo([delivery])
            assert delivery.message.solos == 0
            await receiver.complete([delivery])
            await receiver.close()

    asyncio.run(run())
