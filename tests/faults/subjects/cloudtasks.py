"""Cloud Tasks: the emulator with its state in a file, and a proxy between it and the workers' endpoint."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc
from google.cloud.tasks_v2 import CloudTasksAsyncClient, Task
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from tests.containers.port import free_ports
from tests.faults.doubt import Doubt
from tests.faults.load import QUEUE
from tests.faults.subjects.served import _cuts, _of_the_way
from tests.faults.subjects.subject import Fault, Notes, Place, Subject
from tests.faults.wire.http import REPLY, HttpConversation
from tests.faults.wire.proxy import Proxy

#: What the service asks for: it knows one request only.
_DELIVERY: Final = "delivery"
_OPERATIONS: Final = {"a delivery": _DELIVERY, "an answer": _DELIVERY + REPLY}
#: The service counts it from the dispatch and we from the arrival, which on a busy machine is not the same.
_LEASE_SECONDS: Final = 5
_DUPLICATES: Final = 5
_OPPORTUNITY_SECONDS: Final = 8.0


class Emulator:
    """The process. Its port stays the same while it is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports()
        self._words = [sys.executable, "-m", "leveler", "emulate", "cloudtasks", "--port", str(self.port)]
        self._words += ["--keys-port", str(self.port + 1), "--file", str(folder / "tasks.db"), "--no-quotas"]
        self._words += ["--shortest-deadline", str(_LEASE_SECONDS)]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if "ready" not in self._process.stdout.readline():
            raise RuntimeError("the emulator does not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def cloudtasks(place: Place) -> Iterator[Subject]:
    emulator, worker_port = Emulator(place.folder), free_ports()
    with Proxy(free_ports(), worker_port, partial(HttpConversation, lambda request: _DELIVERY)) as proxy:
        emulator.start()
        try:
            url = f"cloudtasks://local/here?emulator=127.0.0.1:{emulator.port}&shortest_lease={_LEASE_SECONDS}"
            url += f"&longest_backoff=1&endpoint=http://127.0.0.1:{proxy.port}&listen=127.0.0.1:{worker_port}"
            faults = [
                Fault("emulator restarted from its file", partial(_killed, emulator), 4.0),
                Fault("duplicate dispatch", partial(_dispatched_twice, emulator, worker_port), 1.0),
                *_of_the_way(proxy),
                *_cuts(proxy, _OPERATIONS),
            ]
            yield Subject(
                "cloudtasks",
                "cloudtasks (emulated, state in a file)",
                url,
                url,
                faults,
                doubt=Doubt(copies=True, answers_seconds=1.5 * _LEASE_SECONDS + 1.0),
                lease_seconds=_LEASE_SECONDS,
                timeout_seconds=_LEASE_SECONDS * 0.8,
            )
        finally:
            emulator.kill()


def _killed(emulator: Emulator, notes: Notes) -> None:
    notes.strike()
    emulator.kill()
    emulator.start()
    notes.back()


def _dispatched_twice(emulator: Emulator, worker_port: int, notes: Notes) -> None:
    """What is being dispatched now comes a second time, beside the first."""

    async def main() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{emulator.port}") as channel:
            client = CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
            listing: dict[str, Any] = {
                "parent": f"projects/local/locations/here/queues/{QUEUE}",
                "response_view": Task.View.FULL,
            }
            running: list[Task] = []
            give_up_at = time.monotonic() + _OPPORTUNITY_SECONDS
            while time.monotonic() < give_up_at:
                tasks = [task async for task in await client.list_tasks(request=listing)]
                running = [task for task in tasks if "dispatch_time" in task.last_attempt]
                running = [task for task in running if "response_time" not in task.last_attempt][:_DUPLICATES]
                if running:
                    break
            if running:
                notes.strike("wire")
                async with aiohttp.ClientSession() as session:
                    await asyncio.gather(*(_again(session, worker_port, task) for task in running))
                notes.back()

    asyncio.run(main())


async def _again(session: aiohttp.ClientSession, port: int, task: Task) -> None:
    headers = dict(task.http_request.headers)
    headers["X-CloudTasks-TaskName"] = task.name.rpartition("/")[2]
    headers["X-CloudTasks-TaskRetryCount"] = str(task.dispatch_count - 1)
    headers["X-CloudTasks-TaskExecutionCount"] = str(task.dispatch_count - 1)
    url = f"http://127.0.0.1:{port}/{QUEUE}"
    try:
        async with session.post(url, data=task.http_request.body, headers=headers) as answer:
            await answer.read()
    except aiohttp.ClientError:
        return  # a killer's process is gone
