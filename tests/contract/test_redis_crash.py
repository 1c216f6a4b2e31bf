"""The Redis adapter loses nothing: servers are killed, frozen and cut off, askers cancelled, workers killed."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Self, TypeVar

import pytest
from leveler_redis.command import pack
from leveler_redis.session import Unanswered
from leveler_redis.wire import Wire

from leveler.adapter import Abandon, Adapter, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import BatchError, BrokerError, BrokerUnavailable, LeaseLost, SendUnknown
from leveler.message import Death, Message
from tests.containers.find import server
from tests.containers.server import NoServer, Server

R = TypeVar("R")
QUEUE = QueueSpec(name="orders", lease_seconds=30.0)


@pytest.fixture(scope="module")
def broker() -> Iterator[Server]:
    """What it has accepted is on the disk."""
    try:
        mine = server("redis", "process", {"appendfsync": "always"})
    except NoServer as error:
        pytest.skip(str(error))
    with mine:
        yield mine


@asynccontextmanager
async def on(broker: Server, queue: QueueSpec = QUEUE) -> AsyncIterator[Adapter]:
    async with find(broker.url, clock=SystemClock(), deadline_seconds=2.0) as adapter:
        await adapter.drop(queue)
        await adapter.declare(queue)
        yield adapter


def run(play: Coroutine[object, object, R]) -> R:
    """Nothing may hang."""

    async def bounded() -> R:
        async with asyncio.timeout(60):
            return await play

    return asyncio.run(bounded())


def message(number: int) -> Message:
    return Message(id=f"m-{number}", body=b"{}", time=SystemClock().now())


async def insist(
    verb: Callable[[], Awaitable[R]], *, seconds: float = 10.0, but: tuple[type[BrokerError], ...] = ()
) -> R:
    """As the core does: again, until the server is back."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            return await verb()
        except but:
            raise
        except BrokerError:
            if time.monotonic() > give_up:
                raise
        await asyncio.sleep(0.05)


async def settle(receiver: Receiver, deliveries: Sequence[Delivery]) -> None:
    """Complete them; one whose answer was lost may be gone by the second try."""
    with suppress(BatchError):
        await receiver.complete(deliveries)


def test_a_server_that_is_killed_while_it_works_loses_nothing(broker: Server) -> None:
    """Ten times, at whatever moment: what was accepted comes, and at most what was in flight comes twice."""

    async def play() -> tuple[list[str], list[str], float]:
        accepted: list[str] = []
        done: list[str] = []
        killing = True
        async with on(broker) as adapter:
            sender, receiver = adapter.sender(QUEUE), adapter.receiver(QUEUE, capacity=200)

            async def send() -> None:
                number = 0
                while killing:
                    batch = [message(number + step) for step in range(20)]
                    number += 20
                    with suppress(BatchError):
                        await sender.send(batch)
                        accepted.extend(one.id for one in batch)
                    await asyncio.sleep(0.01)

            async def consume() -> None:
                while killing or set(accepted) - set(done):
                    deliveries = await insist(partial(receiver.receive, 50, 1.0))
                    await insist(partial(settle, receiver, deliveries))
                    done.extend(one.message.id for one in deliveries)

            sending, consuming = asyncio.create_task(send()), asyncio.create_task(consume())
            worst = 0.0
            for round_number in range(10):
                await asyncio.sleep(0.05 + 0.037 * round_number)
                await asyncio.to_thread(broker.kill)
                await asyncio.to_thread(broker.start)
                back, before = time.monotonic(), len(done)
                while len(done) == before:
                    await asyncio.sleep(0.01)
                    assert time.monotonic() - back < 10, "nothing is consumed though the server is back"
                worst = max(worst, time.monotonic() - back)
            killing = False
            await sending
            await asyncio.wait_for(consuming, 30)
            assert (await adapter.depth(QUEUE))[:3] == (0, 0, 0)
            await receiver.close()
        return accepted, done, worst

    accepted, done, worst = run(play())
    assert set(accepted) <= set(done)
    assert len(accepted) > 100
    assert len(done) - len(set(done)) <= 10 * 200, "more came twice than can have been in flight"
    assert worst < 10


def test_what_was_read_by_an_answer_that_got_lost_comes_again_at_once_and_uncounted(broker: Server) -> None:
    """Long before its lease is over: nobody has seen it."""

    async def play() -> None:
        async with on(broker) as there, Proxy(broker.url) as proxy:  # noqa: SIM117  # the URL comes from it
            async with find(proxy.url, clock=SystemClock(), deadline_seconds=2.0) as adapter:
                receiver = adapter.receiver(QUEUE, capacity=10)
                await receiver.receive(1, 0.0)
                reading = asyncio.ensure_future(receiver.receive(5, 5.0))
                await asyncio.sleep(0.05)
                proxy.swallows = True
                await there.sender(QUEUE).send([message(1)])
                await asyncio.sleep(0.1)
                assert (await there.depth(QUEUE)).leased == 1
                proxy.swallows = False
                proxy.cut()
                with pytest.raises(BrokerUnavailable):
                    await reading
                [delivery] = await receiver.receive(5, 1.0)
                assert (delivery.message.id, delivery.attempt) == ("m-1", 1)
                await receiver.complete([delivery])
                await receiver.close()

    run(play())


class Proxy:
    """Stands before a server, and can keep its answers and cut its connections."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("redis://").removesuffix("/0").split(":")
        self._server = host, int(port)
        self._writers: list[asyncio.StreamWriter] = []
        self.swallows = False

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        self.cut()
        await asyncio.sleep(0.05)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(*self._server)
        self._writers += (writer, ours)
        await asyncio.gather(self._pass(reader, ours, False), self._pass(theirs, writer, True))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, is_answer: bool) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if not (is_answer and self.swallows):
                    target.write(data)
        target.close()


def test_a_send_whose_answer_is_lost_says_so(broker: Server) -> None:
    async def play() -> None:
        async with on(broker) as adapter:
            sender = adapter.sender(QUEUE)
            await sender.send([message(1)])
            broker.freeze()
            try:
                began = time.monotonic()
                with pytest.raises(BatchError) as caught:
                    await sender.send([message(2)])
                assert isinstance(caught.value.failed[0], SendUnknown)
                assert time.monotonic() - began < 4
            finally:
                broker.thaw()
            await insist(lambda: sender.send([message(3)]))

    run(play())


def test_a_command_whose_asker_is_cancelled_gives_its_answer_to_nobody_else(broker: Server) -> None:
    """CVE-2023-28858 and 28859, a thousand times."""

    async def play() -> None:
        async with on(broker) as adapter:
            wire: Wire = adapter._opened  # type: ignore[attr-defined]
            for number in range(1000):
                cancelled = asyncio.ensure_future(wire.ask([pack(("ECHO", f"cancelled-{number}"))]))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                other = asyncio.ensure_future(wire.ask([pack(("ECHO", f"other-{number}"))]))
                await asyncio.sleep(0)
                cancelled.cancel()
                assert await other == [b"other-%d" % number]

    run(play())


def test_an_ask_that_takes_too_long_ends_its_session_and_the_next_one_has_a_new_one(broker: Server) -> None:
    async def play() -> None:
        async with on(broker) as adapter:
            wire: Wire = adapter._opened  # type: ignore[attr-defined]
            broker.freeze()
            try:
                late = [asyncio.ensure_future(wire.ask([pack(("ECHO", str(number)))])) for number in range(3)]
                ended = await asyncio.gather(*late, return_exceptions=True)
                assert all(isinstance(one, Unanswered) for one in ended), ended
            finally:
                broker.thaw()
            assert await wire.ask([pack(("ECHO", "new"))]) == [b"new"]

    run(play())


_WORKER = """
    import asyncio, sys
    from leveler import Leveler

    app = Leveler(sys.argv[1])

    @app.consumer("orders")
    async def slow(order: dict) -> None:
        print("started", flush=True)
        await asyncio.sleep(60)

    app.run()
"""


def test_a_worker_that_is_killed_gives_its_message_to_another_and_it_counts(broker: Server) -> None:
    queue = QueueSpec(name="orders", lease_seconds=1.0)

    async def play() -> None:
        async with on(broker, queue) as adapter:
            await adapter.sender(queue).send([message(1)])
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", textwrap.dedent(_WORKER), broker.url),
                env={**os.environ, "LEVELER_QUEUES__ORDERS__LEASE": "1s"},
                stdout=asyncio.subprocess.PIPE,
            )
            assert worker.stdout is not None
            assert await worker.stdout.readline() == b"started\n"
            await asyncio.sleep(1.5)  # longer than its lease, which it renews
            receiver = adapter.receiver(queue, capacity=1)
            assert await receiver.receive(1, 0.3) == []
            worker.kill()
            await worker.wait()
            [delivery] = await receiver.receive(1, 3.0)
            assert (delivery.message.id, delivery.attempt) == ("m-1", 2)
            assert delivery.message.failed_at is not None
            await receiver.complete([delivery])
            await receiver.close()

    run(play())


def test_an_entry_that_a_server_without_memory_has_given_to_somebody_else_is_not_touched(broker: Server) -> None:
    """After a failover to a server that never heard of it, an id may be given for the second time."""

    async def play() -> None:
        async with on(broker) as there, Proxy(broker.url) as proxy:  # noqa: SIM117  # the URL comes from it
            async with find(proxy.url, clock=SystemClock(), deadline_seconds=2.0) as adapter:
                receiver = adapter.receiver(QUEUE, capacity=10)
                await there.sender(QUEUE).send([message(number) for number in range(4)])
                held = await receiver.receive(4, 1.0)
                # What the new master does not know: they wait there as other messages, under the same ids.
                broker.admin("xgroup", "setid", "leveler:{orders}", "leveler", "0")
                broker.admin("xack", "leveler:{orders}", "leveler", *(one.receipt.entry.decode() for one in held))
                proxy.cut()
                with pytest.raises(BatchError) as caught:
                    await insist(partial(receiver.complete, held[:1]), but=(BatchError,))
                assert isinstance(caught.value.failed[0], LeaseLost)
                for verb in (
                    partial(receiver.extend, held[1:2]),
                    partial(receiver.abandon, [Abandon(held[2])]),
                    partial(receiver.dead_letter, [DeadLetter(held[3], Death(reason="rejected"))]),
                ):
                    with pytest.raises(BatchError):
                        await insist(verb, but=(BatchError,))
                assert (await there.depth(QUEUE))[:4] == (4, 0, 0, 0)
                await receiver.close()

    run(play())


@pytest.mark.parametrize("after_seconds", [0.0, 0.02])
def test_stopping_ends_a_wait_at_once(broker: Server, after_seconds: float) -> None:
    """Not when its poll is over: SIGTERM waits for the receive under way."""

    async def play() -> None:
        async with find(f"{broker.url}?poll_seconds=5", clock=SystemClock(), deadline_seconds=2.0) as adapter:
            await adapter.drop(QUEUE)
            await adapter.declare(QUEUE)
            receiver = adapter.receiver(QUEUE, capacity=10)
            await receiver.receive(1, 0.0)
            waiting = asyncio.ensure_future(receiver.receive(1, 5.0))
            await asyncio.sleep(after_seconds)
            began = time.monotonic()
            await receiver.hold(0)
            assert await waiting == []
            assert time.monotonic() - began < 2.5
            await receiver.close()

    run(play())
