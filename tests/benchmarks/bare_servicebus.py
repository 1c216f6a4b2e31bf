"""The vendor's client on Service Bus, used in its fastest public way: batches out; in, receivers side by side, each of
which takes a hundred and settles them one after the other, since several settlements at once on one receiver starve
each other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from leveler_servicebus.options import ServiceBusOptions
from leveler_servicebus.place import place_of

from leveler.errors import ConfigError
from tests.benchmarks.anew import made_anew
from tests.benchmarks.orders import Order
from tests.benchmarks.row import Handle

QUEUE: Final = "orders"
_RECEIVERS: Final = 8
_TAKEN: Final = 100


def url() -> str:
    """The namespace to measure on, with a policy and its key."""
    given = os.environ.get("LEVELER_TEST_SERVICEBUS_URL", "")
    if not given:
        raise ConfigError("set LEVELER_TEST_SERVICEBUS_URL to a namespace that is for tests, or to an emulator")
    return given


class BareServiceBus:
    """
    Args:
        folder: of the measurement.
    """

    def __init__(self, folder: Path) -> None:
        self._begun = folder / "begun"
        address, _, query = url().partition("?")
        self._place = place_of(address, ServiceBusOptions(insecure="insecure=true" in query))
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Order).decode

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[BareServiceBus]:
        if not self._begun.exists():
            await made_anew(url(), QUEUE)
            self._begun.touch()
        self._stopping = False
        self._sending = asyncio.Lock()
        async with (
            ServiceBusClient.from_connection_string(self._place.connection_string) as self._client,
            self._client.get_queue_sender(QUEUE) as self._sender,
        ):
            consumers = asyncio.gather(*([] if handle is None else [self._consume(handle) for _ in range(_RECEIVERS)]))
            try:
                yield self
            finally:
                self._stopping = True
                await consumers

    async def send(self, order: Order) -> None:
        async with self._sending:
            await self._sender.send_messages(self._message(order))

    async def send_many(self, orders: Sequence[Order]) -> None:
        batch = await self._sender.create_message_batch()
        for order in orders:
            message = self._message(order)
            try:
                batch.add_message(message)
            except ValueError:  # it is full
                await self._sender.send_messages(batch)
                batch = await self._sender.create_message_batch()
                batch.add_message(message)
        await self._sender.send_messages(batch)

    def _message(self, order: Order) -> ServiceBusMessage:
        name = uuid4().hex
        return ServiceBusMessage(
            self._encode(order),
            message_id=name,
            content_type="application/json",
            application_properties={
                "cloudEvents:specversion": "1.0",
                "cloudEvents:id": name,
                "cloudEvents:source": "/",
                "cloudEvents:type": "Order",
                "cloudEvents:time": datetime.now(UTC).isoformat(),
            },
        )

    async def _consume(self, handle: Handle) -> None:
        async with self._client.get_queue_receiver(QUEUE) as receiver:
            while not self._stopping:
                for message in await receiver.receive_messages(_TAKEN, max_wait_time=1.0):
                    await handle(self._decode(b"".join(_parts(message))))
                    await receiver.complete_message(message)


def _parts(message: Any) -> Any:
    return message.body
