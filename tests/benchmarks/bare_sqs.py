"""The raw client on SQS: aiobotocore, requests of ten, as many pollers as ours, the same document as ours.

A poller receives ten, handles them and deletes them, and there are ten of them. No retries, no delays, and no lease is
looked after.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from leveler.errors import ConfigError
from tests.benchmarks.orders import Order
from tests.benchmarks.row import Handle

_QUEUE: Final = "bench-bare"
#: What SQS takes in one request.
_BATCH: Final = 10
#: As leveler has by default.
POLLERS: Final = 10


class Event(msgspec.Struct):
    data: Order


def url() -> str:
    """The service to measure on, or an emulator."""
    given = os.environ.get("LEVELER_TEST_SQS_URL", "")
    if not given:
        raise ConfigError("set LEVELER_TEST_SQS_URL to an SQS that is for tests, and has nothing else to do")
    return given


class BareSQS:
    """
    Args:
        folder: of the measurement: each begins with no queue.
    """

    def __init__(self, folder: Path) -> None:
        self._begun = folder / "begun"
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Event).decode
        self._turn = asyncio.Semaphore(POLLERS)

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[BareSQS]:
        region, _, query = url().removeprefix("sqs://").partition("?")
        endpoint = query.partition("endpoint_url=")[2].partition("&")[0] or None
        config = AioConfig(max_pool_connections=2 * POLLERS)
        async with AioSession().create_client(
            "sqs", region_name=region or None, endpoint_url=endpoint, config=config
        ) as self._client:
            await self._declare()
            self._stopping = False
            pollers = [] if handle is None else [asyncio.create_task(self._consume(handle)) for _ in range(POLLERS)]
            try:
                yield self
            finally:
                self._stopping = True
                await asyncio.gather(*pollers)

    async def send(self, order: Order) -> None:
        await self._client.send_message(QueueUrl=self._url, MessageBody=self._body(order))

    async def send_many(self, orders: Sequence[Order]) -> None:
        await asyncio.gather(*map(self._send_batch, _batches(orders)))

    async def _send_batch(self, orders: Sequence[Order]) -> None:
        entries = [{"Id": str(place), "MessageBody": self._body(order)} for place, order in enumerate(orders)]
        async with self._turn:
            answer = await self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        assert not answer.get("Failed")

    def _body(self, order: Order) -> str:
        event = {
            "specversion": "1.0",
            "id": uuid.uuid4().hex,
            "source": "/",
            "type": "Order",
            "time": datetime.now(UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": order,
        }
        return self._encode(event).decode()

    async def _declare(self) -> None:
        if not self._begun.exists():
            with suppress(self._client.exceptions.QueueDoesNotExist):
                found = await self._client.get_queue_url(QueueName=_QUEUE)
                await self._client.delete_queue(QueueUrl=found["QueueUrl"])
            self._begun.touch()
        self._url: str = (await self._client.create_queue(QueueName=_QUEUE))["QueueUrl"]

    async def _consume(self, handle: Handle) -> None:
        while not self._stopping:
            found: Any = await self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=_BATCH, WaitTimeSeconds=1, VisibilityTimeout=30
            )
            entries = []
            for place, message in enumerate(found.get("Messages", ())):
                await handle(self._decode(message["Body"].encode()).data)
                entries.append({"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]})
            if entries:
                await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)


def _batches(orders: Sequence[Order]) -> Iterator[Sequence[Order]]:
    return (orders[start : start + _BATCH] for start in range(0, len(orders), _BATCH))
