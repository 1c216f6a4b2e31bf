"""An emulator in the test's own loop, and the vendor's client to it."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from azure.servicebus.aio import ServiceBusClient
from leveler_servicebus.emulator import (
    EmulatorClock,
    FileStore,
    Listening,
    Namespace,
    Policy,
    QueueSettings,
    Server,
    Signatures,
)
from leveler_servicebus.emulator.amqp.encoder import encode
from leveler_servicebus.emulator.amqp.message import parse

NAME, KEY = "RootManageSharedAccessKey", "a key of the tests"

#: No retries of the client's own: a test wants the first answer.
ONCE: dict[str, Any] = {"retry_total": 0, "retry_backoff_factor": 0.01}

#: As long as an answer may take on a slow machine; nothing waits for it.
LIMIT_SECONDS = 60.0


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, LIMIT_SECONDS))


def at(time: datetime | None) -> datetime:
    """A time that the client has."""
    assert time is not None
    return time


async def until(happened: Callable[[], object]) -> None:
    """Wait for what another task brings about."""
    while not happened():  # noqa: ASYNC110 - what happens on a wire tells nobody
        await asyncio.sleep(0.01)


def connection_string(port: int, *, key: str = KEY, name: str = NAME) -> str:
    return (
        f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName={name};SharedAccessKey={key};UseDevelopmentEmulator=true;"
    )


@dataclass
class Rig:
    """One emulator that serves."""

    server: Server

    @property
    def namespace(self) -> Namespace:
        return self.server.namespace

    def client(self, *, port: int | None = None, **options: Any) -> ServiceBusClient:
        return ServiceBusClient.from_connection_string(
            connection_string(port or self.server.port, key=options.pop("key", KEY), name=options.pop("name", NAME)),
            **{**ONCE, **options},
        )

    def put(self, *bodies: str, queue: str = "q", session_id: str | None = None, **properties: Any) -> None:
        """Messages that are there already: put into the queue without the expense of a client."""
        fields = [properties.get("message_id"), *[None] * 9, session_id]
        section = b"\x00\x53\x73" + encode(fields)
        contents = [parse(section + b"\x00\x53\x75" + encode(body.encode())) for body in bodies]
        self.namespace.find(queue).send(contents, self.namespace.clock.now_ms())
        self.server.move_clock(0)  # whoever waits for them gets them

    async def control(self, name: str, **said: Any) -> tuple[int, Any]:
        """Tell the emulator something, as a test in another language would."""
        url = f"http://127.0.0.1:{self.server.admin_port}/$emulator/{name}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(said).encode(), headers, method="POST")
        return await asyncio.to_thread(_open, request)


def _open(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@asynccontextmanager
async def emulator(
    *,
    queues: dict[str, QueueSettings] | None = None,
    file: Path | None = None,
    clock: EmulatorClock | None = None,
    listening: Listening | None = None,
    policies: list[Policy] | None = None,
    **options: Any,
) -> AsyncIterator[Rig]:
    """One with these queues, or with one called ``q``."""
    signatures = Signatures(policies or [Policy(name=NAME, key=KEY)], trust_bearers=options.pop("trust_bearers", False))
    store = FileStore(file) if file else None
    namespace = Namespace(clock=clock or EmulatorClock(), signatures=signatures, store=store)
    for name, settings in (queues or {"q": QueueSettings()}).items():
        namespace.ensure(name, settings)
    async with Server(namespace, listening or Listening(admin_port=0), **options) as server:
        yield Rig(server)
