"""The vendor's client on Storage Queue, used as fast as it goes: as many requests at once as leveler has under way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from azure.storage.queue.aio import QueueClient
from leveler_storagequeue.account import account_of
from leveler_storagequeue.options import StorageQueueOptions

from leveler.errors import ConfigError
from tests.benchmarks.anew import made_anew
from tests.benchmarks.orders import Order
from tests.benchmarks.row import Handle

_T = TypeVar("_T")

QUEUE: Final = "orders"
_AT_ONCE: Final = 32


def url() -> str:
    """The account to measure on, with its key."""
    given = os.environ.get("LEVELER_TEST_STORAGEQUEUE_URL", "")
    if not given:
        raise ConfigError("set LEVELER_TEST_STORAGEQUEUE_URL to an account that is for tests, or to an emulator")
    return given


class BareStorageQueue:
    """
    Args:
        folder: of the measurement.
    """

    def __init__(self, folder: Path) -> None:
        self._begun = folder / "begun"
        address, _, query = url().partition("?")
        self._account = account_of(address, StorageQueueOptions(insecure="insecure=true" in query))
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Order).decode

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[BareStorageQueue]:
        if not self._begun.exists():
            await made_anew(url(), QUEUE)
            self._begun.touch()
        self._stopping = False
        async with QueueClient(self._account.endpoint, QUEUE, credential=self._account.credential()) as self._queue:
            consumer = None if handle is None else asyncio.create_task(self._consume(handle))
            try:
                yield self
            finally:
                self._stopping = True
                if consumer is not None:
                    await consumer

    async def send(self, order: Order) -> None:
        await self._queue.send_message(self._encode(order).decode(), time_to_live=-1)

    async def send_many(self, orders: Sequence[Order]) -> None:
        await _each(orders, self.send)

    async def _consume(self, handle: Handle) -> None:
        """Two looks at once: the next one is under way while what the last one brought is removed."""
        await asyncio.gather(self._take(handle), self._take(handle))

    async def _take(self, handle: Handle) -> None:
        while not self._stopping:
            pages = self._queue.receive_messages(messages_per_page=32, max_messages=32, visibility_timeout=30)
            messages = [message async for message in pages]
            for message in messages:
                await handle(self._decode(message.content))
            await _each(messages, self._remove)
            if not messages:
                await asyncio.sleep(0.05)

    async def _remove(self, message: Any) -> None:
        await self._queue.delete_message(message.id, message.pop_receipt)


async def _each(items: Sequence[_T], do: Callable[[_T], Awaitable[None]]) -> None:
    left = iter(items)

    async def work() -> None:
        for item in left:
            await do(item)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
