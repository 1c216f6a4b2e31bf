"""Tasks per second through the endpoint of Cloud Tasks, against a bare ASGI handler behind the same emulator.

    python -m tests.benchmarks.endpoint [--rounds 5] [--tasks 2000]

Both decode the same orders and do nothing with them, each in a process of its own, in turn. The tasks stand in paused
queues, four because the service dispatches at most 500 in a second from one; what is timed is from the moment at which
they are resumed until the last one is handled. `direct` is the same without the emulator, whose own work hides what an
endpoint costs: one client with 32 connections calls as fast as it can.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

import aiohttp
import msgspec
from leveler_cloudtasks.push.exchange import REFUSED

from leveler import Leveler, QueueSettings
from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from tests.benchmarks.orders import Order, orders
from tests.containers.port import free_ports
from tests.contract.cloudtasks_process import emulated

QUEUES: Final = [f"orders-{number}" for number in range(4)]
_CONCURRENCY: Final = 64
#: Of the client that calls directly: fewer than there is room for, since a refusal would have to be repeated.
_AGAIN_SECONDS: Final = 0.01
_CALLERS: Final = 32
_LEASE_SECONDS: Final = 60.0
_SPEC: Final = {name: QueueSpec(name=name, lease_seconds=_LEASE_SECONDS) for name in QUEUES}


class Count:
    """Says on stdout whenever so many more orders were handled."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._handled = 0

    def one(self) -> None:
        self._handled += 1
        if self._handled % self._each == 0:
            print("done", flush=True)


async def leveler(port: int, url: str, each: int) -> None:
    """The row of ours."""
    count = Count(each)
    settings = QueueSettings(lease_seconds=_LEASE_SECONDS, timeout_seconds=30.0)
    app = Leveler(url, queues=dict.fromkeys(QUEUES, settings))
    for name in QUEUES:

        @app.consumer(name, concurrency=_CONCURRENCY)
        async def handle(order: Order) -> None:
            count.one()

    async with app.working():
        while not app.health().ready:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        print("ready", flush=True)
        await asyncio.Event().wait()


async def bare(port: int, url: str, each: int) -> None:
    """An ASGI handler on the same server: it reads the body, decodes it, and answers."""
    import uvicorn

    count, decode = Count(each), msgspec.json.Decoder(Order).decode

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        decode(body)
        count.one()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(handle, port=port, http="httptools", lifespan="off", log_level="error", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    print("ready", flush=True)
    await serving


ROWS: Final = {"bare": bare, "leveler": leveler}


@contextmanager
def worker(row: str, port: int, url: str, each: int) -> Iterator[Any]:
    """The row in a process of its own, ready; its stdout."""
    command = [sys.executable, "-m", "tests.benchmarks.endpoint", "--worker", row, str(port), url, str(each)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process.stdout
        finally:
            process.kill()


async def emulated_rate(row: str, port: int, url: str, tasks: int) -> float:
    async with find(url, clock=SystemClock(), deadline_seconds=30.0) as adapter:
        client: Any = adapter._client  # type: ignore[attr-defined]
        for name in QUEUES:
            await adapter.declare(_SPEC[name])
            await client.pause_queue(name)
        with worker(row, port, url, tasks) as said:
            for number, name in enumerate(QUEUES):
                await adapter.sender(_SPEC[name]).send([_message(order) for order in _orders(tasks // 4, number)])
            began = time.perf_counter()
            for name in QUEUES:
                await client._client.resume_queue(name=client.place.queue(name))
            assert await asyncio.to_thread(said.readline) == "done\n"
            return tasks / (time.perf_counter() - began)


async def direct_rate(row: str, port: int, url: str, tasks: int) -> float:
    with worker(row, port, url, tasks) as said:
        left = iter([msgspec.json.encode(order) for order in orders(tasks)])
        headers = {"ce-specversion": "1.0", "ce-type": "Order", "ce-source": "/", "content-type": "application/json"}
        began = time.perf_counter()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def post(body: bytes, headers: Mapping[str, str]) -> int:
                async with session.post(f"http://127.0.0.1:{port}/{QUEUES[0]}", data=body, headers=headers) as answer:
                    assert answer.status in (200, REFUSED), answer.status
                    return answer.status

            async def call() -> None:
                for number, body in enumerate(left):
                    own = {**headers, "ce-id": f"m-{number}-{id(body)}"}
                    # It starts slowly: what it refuses is offered again, as the service does.
                    while await post(body, own) == REFUSED:  # noqa: ASYNC110
                        await asyncio.sleep(_AGAIN_SECONDS)

            await asyncio.gather(*(call() for _ in range(_CALLERS)))
        assert await asyncio.to_thread(said.readline) == "done\n"
        return tasks / (time.perf_counter() - began)


def _orders(count: int, number: int) -> list[Order]:
    return list(orders(count))


def _message(order: Order) -> Any:
    from leveler.message import Message, new_ids

    return Message(id=new_ids(1)[0], body=msgspec.json.encode(order), type="Order", time=SystemClock().now())


async def compare(rounds: int, tasks: int) -> None:
    port = free_ports()
    with emulated("--no-quotas") as running:
        url = f"{running.url}&endpoint=http://127.0.0.1:{port}&listen_first=false"
        for name, rate in (("emulated", emulated_rate), ("direct", direct_rate)):
            ratios, rates = [], []
            for _ in range(rounds):
                pair = [await rate(row, port, url, tasks) for row in ROWS]
                ratios.append(pair[1] / pair[0])
                rates.append(pair)
            middle = [median(pair[at] for pair in rates) for at in range(2)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(
                f"{name}: bare {middle[0]:,.0f}/s, leveler {middle[1]:,.0f}/s, "
                f"ratio {median(ratios):.2f} ({spread}, {rounds} rounds)"
            )


def main() -> None:
    words = argparse.ArgumentParser(prog="python -m tests.benchmarks.endpoint", description=__doc__)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--tasks", type=int, default=2000)
    words.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.worker is None:
        asyncio.run(compare(given.rounds, given.tasks))
    else:
        row, port, url, each = given.worker
        asyncio.run(ROWS[row](int(port), url, int(each)))


if __name__ == "__main__":
    main()
