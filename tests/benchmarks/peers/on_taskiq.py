"""Taskiq: a task for the handler, and a receiver that runs in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from taskiq.receiver import Receiver
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue
from taskiq_redis import RedisStreamBroker

from tests.benchmarks import bare_rabbitmq, bare_redis
from tests.benchmarks.orders import Order
from tests.benchmarks.peers.begin import without_queue
from tests.benchmarks.row import Handle

_QUEUE: Final = "bench-taskiq"
_DEAD: Final = "bench-taskiq-dead"
_COUNT: Final = 500
_BLOCK_MS: Final = 100


class Taskiq:
    """
    Args:
        broker: not started.
    """

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    @asynccontextmanager
    async def running(self, handle: Handle | None) -> AsyncIterator[Taskiq]:
        async def run(order: Any) -> None:
            if handle is not None:
                await handle(msgspec.convert(order, Order))

        self._task = self._broker.register_task(run, task_name="order")
        self._broker.is_worker_process = handle is not None
        await self._broker.startup()
        over = asyncio.Event()
        with ThreadPoolExecutor(1) as executor:
            receiver = Receiver(
                self._broker, executor, validate_params=False, max_async_tasks=100, max_prefetch=bare_rabbitmq.PREFETCH
            )
            receiving = asyncio.create_task(receiver.listen(over)) if handle is not None else None
            try:
                yield self
            finally:
                over.set()
                if receiving is not None:
                    await receiving
                await self._broker.shutdown()

    async def send(self, order: Order) -> None:
        await self._task.kiq(msgspec.to_builtins(order))

    async def send_many(self, orders: Sequence[Order]) -> None:
        await asyncio.gather(*map(self.send, orders))


class OnRabbitMQ:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[Taskiq]:
        await without_queue(self._folder, _QUEUE, _DEAD)
        broker = AioPikaBroker(
            bare_rabbitmq.url(),
            qos=bare_rabbitmq.PREFETCH,
            exchange=Exchange(name=_QUEUE),
            task_queues=[Queue(name=_QUEUE)],
            dead_letter_queue=Queue(name=_DEAD),
        )
        async with Taskiq(broker).running(handle) as sending:
            yield sending


class OnRedis:
    def __init__(self, folder: Path) -> None:
        self._stream = bare_redis.prefix(folder) + "taskiq"

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[Taskiq]:
        broker = RedisStreamBroker(
            bare_redis.url(), queue_name=self._stream, consumer_id="0", xread_count=_COUNT, xread_block=_BLOCK_MS
        )
        async with Taskiq(broker).running(handle) as sending:
            yield sending


def on_rabbitmq(folder: Path) -> OnRabbitMQ:
    return OnRabbitMQ(folder)


def on_redis(folder: Path) -> OnRedis:
    return OnRedis(folder)
