"""A scene for Cloud Tasks: the emulator, a worker that answers as it is told, and google-cloud-tasks' own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
from aiohttp import web
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from leveler_cloudtasks.emulator import CloudTasksEmulator, EmulatorOptions, Served

from leveler.clock import Clock, SystemClock

PARENT = "projects/p-1/locations/here"
QUEUE = f"{PARENT}/queues/orders"


class Call(NamedTuple):
    """One request that came to the worker."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class Worker:
    """Answers 200, or what `answers` says, one after another."""

    def __init__(self, clock: Clock) -> None:
        self.calls: list[Call] = []
        self.answers: list[int | web.Response | Callable[[], Awaitable[object]]] = []
        self.url = ""
        self.running = self.most_running = 0
        self._clock = clock
        self._came = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Call(request.method, request.path, headers, body, self._clock.monotonic()))
        self._came.set()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            answer = self.answers.pop(0) if self.answers else 200
            if callable(answer) and not isinstance(answer, web.Response):
                await answer()
                answer = 200
            return web.Response(status=answer) if isinstance(answer, int) else answer
        finally:
            self.running -= 1

    async def wait(self, count: int, within: float = 10.0) -> list[Call]:
        """The first `count` calls, once there are so many."""
        async with asyncio.timeout(within):
            while len(self.calls) < count:
                self._came.clear()
                await self._came.wait()
        return self.calls[:count]


class Scene(NamedTuple):
    #: google-cloud-tasks' own, which takes dictionaries for its messages and does not say so in its types.
    client: Any
    worker: Worker
    served: Served
    clock: Clock

    async def queue(self, name: str = QUEUE, **fields: Any) -> str:
        made = await self.client.create_queue(parent=PARENT, queue={"name": name, **fields})
        return str(made.name)

    async def send(self, queue: str = QUEUE, *, request: dict[str, Any] | None = None, **fields: Any) -> Any:
        http = {"url": f"{self.worker.url}/work", "body": b"{}", **(request or {})}
        return await self.client.create_task(parent=queue, task={"http_request": http, **fields})

    async def wait(self, count: int = 1) -> list[Call]:
        return await self.worker.wait(count)

    async def gone(self, queue: str = QUEUE) -> None:
        """Wait until the queue has no task."""
        async with asyncio.timeout(10):
            while [task async for task in await self.client.list_tasks(parent=queue)]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@asynccontextmanager
async def scene(*, clock: Clock | None = None, **options: Any) -> AsyncIterator[Scene]:
    """All of it, in this process; speed and the like are the emulator's options."""
    emulator = CloudTasksEmulator(EmulatorOptions(port=0, keys_port=0, **options), clock=clock)
    async with emulator.running() as served, working(served) as (client, worker):
        yield Scene(client, worker, served, clock or SystemClock())


@asynccontextmanager
async def working(served: Served) -> AsyncIterator[tuple[CloudTasksAsyncClient, Worker]]:
    """A client and a worker for an emulator that runs."""
    worker = Worker(SystemClock())
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", worker.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    worker.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with grpc.aio.insecure_channel(served.address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        try:
            yield CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel)), worker
        finally:
            await runner.cleanup()


async def code_of(call: Awaitable[object]) -> str:
    """The code that the call is refused with; "OK" if it is not."""
    try:
        await call
    except GoogleAPICallError as error:
        return str(error.grpc_status_code.name) if error.grpc_status_code is not None else "none"
    return "OK"
