"""The raw client on RabbitMQ: aio-pika, tuned as well as it can be. The same queue, headers and promises as ours.

A plain connection, a quorum queue, persistent and mandatory messages, a window of confirms at a time, prefetch 200, no
object that need not be there. With `multiple`, one acknowledgement stands for all that were handled since the last.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import aio_pika
import msgspec
from aio_pika.abc import AbstractIncomingMessage, DeliveryMode

from tests.benchmarks.orders import Order
from tests.benchmarks.row import Handle

PREFETCH: Final = 200


def url() -> str:
    """The server that is measured."""
    found = os.environ.get("LEVELER_TEST_RABBITMQ_URL")
    if not found:
        raise SystemExit("set LEVELER_TEST_RABBITMQ_URL to the server that is to be measured")
    return found


class BareRabbitMQ:
    def __init__(self, folder: Path, *, multiple: bool = False) -> None:
        self._begun = folder / "begun"
        self._multiple = multiple
        self._queue = "bench-bare-multiple" if multiple else "bench-bare"
        self._last: AbstractIncomingMessage | None = None
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Order).decode

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[BareRabbitMQ]:
        async with await aio_pika.connect(url()) as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            self._exchange = channel.default_exchange
            if not self._begun.exists():
                await channel.queue_delete(self._queue)
                self._begun.touch()
            await channel.declare_queue(self._queue, durable=True, arguments={"x-queue-type": "quorum"})
            if handle is None:
                yield self
                return
            consuming = await connection.channel(publisher_confirms=False)
            await consuming.set_qos(prefetch_count=PREFETCH)
            queue = await consuming.get_queue(self._queue, ensure=False)
            self._handle, self._last, self._due, self._acking = handle, None, False, asyncio.Lock()
            await queue.consume(self._take_many if self._multiple else self._take)
            yield self
            await asyncio.sleep(0)
            await self._ack_all()

    async def send(self, order: Order) -> None:
        await self._exchange.publish(self._message(order), routing_key=self._queue, mandatory=True)

    async def send_many(self, orders: Sequence[Order]) -> None:
        await asyncio.gather(*map(self.send, orders))

    def _message(self, order: Order) -> aio_pika.Message:
        name = uuid4().hex
        return aio_pika.Message(
            self._encode(order),
            headers={
                "cloudEvents:specversion": "1.0",
                "cloudEvents:id": name,
                "cloudEvents:source": "/",
                "cloudEvents:type": "Order",
                "cloudEvents:time": datetime.now(UTC).isoformat(),
            },
            content_type="application/json",
            delivery_mode=DeliveryMode.PERSISTENT,
            priority=4,
            message_id=name,
        )

    async def _take(self, message: AbstractIncomingMessage) -> None:
        await self._handle(self._decode(message.body))
        await message.ack()

    async def _take_many(self, message: AbstractIncomingMessage) -> None:
        """Handled in the order of their tags, as each task runs to its end at once: one ack may stand for all."""
        await self._handle(self._decode(message.body))
        self._last = message
        if not self._due:
            self._due = True
            await asyncio.sleep(0)
            await self._ack_all()

    async def _ack_all(self) -> None:
        self._due = False
        async with self._acking:
            if (last := self._last) is not None:
                self._last = None
                await last.ack(multiple=True)


def bare(folder: Path) -> BareRabbitMQ:
    return BareRabbitMQ(folder)


def bare_multiple(folder: Path) -> BareRabbitMQ:
    return BareRabbitMQ(folder, multiple=True)
