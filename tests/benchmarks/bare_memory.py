"""The raw limit in memory: an asyncio queue of encoded orders, and one loop that takes, decodes, handles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tests.benchmarks.orders import Order
from tests.benchmarks.row import Handle


class BareMemory:
    def __init__(self, folder: Path) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Order).decode

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[BareMemory]:
        if handle is None:
            yield self
            return
        consumer = asyncio.create_task(self._consume(handle))
        try:
            yield self
            await self._queue.join()
        finally:
            consumer.cancel()

    async def send(self, order: Order) -> None:
        await self._queue.put(self._encode(order))

    async def send_many(self, orders: Sequence[Order]) -> None:
        queue, encode = self._queue, self._encode
        for order in orders:
            await queue.put(encode(order))

    async def _consume(self, handle: Handle) -> None:
        queue, decode = self._queue, self._decode
        while True:
            body = await queue.get()
            await handle(decode(body))
            queue.task_done()
