"""FastStream: a broker object, and a subscriber for each queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from faststream import AckPolicy
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from faststream.redis import RedisBroker, StreamSub
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.benchmarks import bare_rabbitmq, bare_redis
from tests.benchmarks.orders import Order
from tests.benchmarks.peers.begin import without_queue
from tests.benchmarks.row import Handle

_QUEUE: Final = "bench-faststream"
_GROUP: Final = "bench"
_COUNT: Final = 500
_CONNECTIONS: Final = 600
_AT_ONCE: Final = 50


class FastStream:
    """
    Args:
        broker: not started.
        source: the arguments of its subscriber.
        target: those of its `publish`.
    """

    def __init__(self, broker: Any, source: dict[str, Any], target: dict[str, Any]) -> None:
        self._broker = broker
        self._source = source
        self._target = target
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Order).decode

    @asynccontextmanager
    async def running(self, handle: Handle | None) -> AsyncIterator[FastStream]:
        if handle is not None:

            async def decode(message: Any) -> Order:
                return self._decode(message.body)

            async def take(order: Any) -> None:
                await handle(order)

            self._broker.subscriber(**self._source, decoder=decode, ack_policy=AckPolicy.NACK_ON_ERROR)(take)
        try:
            await self._broker.start()
            yield self
        finally:
            await self._broker.stop()

    async def send(self, order: Order) -> None:
        await self._broker.publish(self._encode(order), **self._target)

    async def send_many(self, orders: Sequence[Order]) -> None:
        """Not all of them at once: on Redis, each takes a connection of its own."""
        for start in range(0, len(orders), _AT_ONCE):
            await asyncio.gather(*map(self.send, orders[start : start + _AT_ONCE]))


class OnRabbitMQ:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[FastStream]:
        await without_queue(self._folder, _QUEUE)
        channel = Channel(prefetch_count=bare_rabbitmq.PREFETCH)
        broker = RabbitBroker(
            bare_rabbitmq.url(), default_channel=channel, apply_types=False, graceful_timeout=5, logger=None
        )
        queue = RabbitQueue(_QUEUE, queue_type=QueueType.QUORUM, durable=True)
        target = {"queue": _QUEUE, "persist": True, "content_type": "application/json"}
        async with FastStream(broker, {"queue": queue}, target).running(handle) as sending:
            await broker.declare_queue(queue)
            yield sending


class OnRedis:
    def __init__(self, folder: Path) -> None:
        self._stream = bare_redis.prefix(folder) + "faststream"

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[FastStream]:
        # FastStream would begin with what comes after its own start.
        async with Redis.from_url(bare_redis.url()) as client:
            with suppress(ResponseError):  # it is there already
                await client.xgroup_create(self._stream, _GROUP, "0", mkstream=True)
        # As many connections as sends at once: with the client's 100 the other sends would fail.
        broker = RedisBroker(
            bare_redis.url(), apply_types=False, graceful_timeout=5, logger=None, max_connections=_CONNECTIONS
        )
        source = StreamSub(self._stream, group=_GROUP, consumer="me", max_records=_COUNT)
        async with FastStream(broker, {"stream": source}, {"stream": self._stream}).running(handle) as sending:
            yield sending


def on_rabbitmq(folder: Path) -> OnRabbitMQ:
    return OnRabbitMQ(folder)


def on_redis(folder: Path) -> OnRedis:
    return OnRedis(folder)
