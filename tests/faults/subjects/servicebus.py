"""Azure Service Bus: leveler's emulator, which keeps its queues in a file."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from tests.containers.server import Server
from tests.faults.doubt import Doubt
from tests.faults.load import QUEUE
from tests.faults.subjects.served import served
from tests.faults.subjects.subject import Place, Subject
from tests.faults.wire import amqp1

_OPERATIONS: Final = {
    "a send": amqp1.SEND,
    "the reply to a send": amqp1.SEND_REPLY,
    "a delivery": amqp1.DELIVERY,
    "a settlement": amqp1.SETTLE,
    "the reply to a settlement": amqp1.SETTLE_REPLY,
    "a renewal": amqp1.RENEW,
    "the reply to a renewal": amqp1.RENEW_REPLY,
}


@contextmanager
def servicebus(place: Place) -> Iterator[Subject]:
    with served(
        "servicebus",
        place,
        conversation=amqp1.Amqp1Conversation,
        operations=_OPERATIONS,
        alarm=_alarm,
        also={"links detached by force": _detach},
        delete=_delete,
        options={"file": str(place.folder / "queues.db")},
        query="silence_seconds=2",  # so that half-open connections are noticed while a run lasts
        doubt=Doubt(copies=True),
    ) as subject:
        yield subject


def _alarm(server: Server, on: bool) -> None:
    """It is busy, and takes nothing and gives nothing."""
    _tell(server, "busy", seconds=60.0 if on else 0.0)


def _delete(server: Server) -> None:
    async def drop() -> None:
        async with find(server.url, clock=SystemClock(), deadline_seconds=10.0) as adapter:
            await adapter.drop(QueueSpec(name=QUEUE))

    asyncio.run(drop())


def _detach(server: Server) -> None:
    """Every link is detached, as the service does with idle ones, and when it moves a queue."""
    _tell(server, "detach")


def _tell(server: Server, control: str, **said: object) -> None:
    """What only an emulator can be told."""
    port = parse_qs(urlsplit(server.url).query)["admin_port"][0]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/$emulator/{control}",
        data=json.dumps(said).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=5.0).close()
