"""The raw client on Redis: redis-py with hiredis, pipelines of 500, one stream and one group, the same fields as ours.

Consuming reads 500, handles them, and removes them in one pipeline. The overlapped row has the next read under way
meanwhile, which is the best that this client can do; neither has retries, delays or leases that are looked after.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from leveler.errors import ConfigError
from tests.benchmarks.orders import Order
from tests.benchmarks.row import Handle

_COUNT: Final = 500
_BLOCK_MS: Final = 100
_GROUP: Final = "bare"


def url() -> str:
    """The server to measure on."""
    given = os.environ.get("LEVELER_TEST_REDIS_URL", "")
    if not given:
        raise ConfigError("set LEVELER_TEST_REDIS_URL to a Redis server that is for tests, and has nothing else to do")
    return given


def prefix(folder: Path) -> str:
    """Of all keys of one measurement."""
    return f"bench:{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}:"


def clear(folder: Path) -> None:
    """Remove what a measurement has left."""
    with BlockingRedis.from_url(url()) as client:
        for key in client.scan_iter(match=prefix(folder) + "*", count=1000):
            client.unlink(key)


class BareRedis:
    """
    Args:
        folder: of the measurement.
        overlapped: read the next batch while this one is handled.
    """

    def __init__(self, folder: Path, *, overlapped: bool = False) -> None:
        self._stream = prefix(folder) + "orders"
        self._overlapped = overlapped
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Order).decode

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[BareRedis]:
        self._client: Any = Redis.from_url(url(), protocol=2)
        self._group: list[Order] = []
        self._stopping = False
        with suppress(ResponseError):  # it is there already
            await self._client.xgroup_create(self._stream, _GROUP, "0", mkstream=True)
        consume = self._consume_overlapped if self._overlapped else self._consume
        consumer = None if handle is None else asyncio.create_task(consume(handle))
        try:
            yield self
        finally:
            self._stopping = True
            if consumer is not None:
                await consumer
            await self._client.aclose()

    async def send(self, order: Order) -> None:
        """One pipeline for all that are sent in one turn of the loop."""
        if not self._group:
            self._sent = asyncio.ensure_future(self._send_group())
        self._group.append(order)
        await self._sent

    async def send_many(self, orders: Sequence[Order]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for order in orders:
            pipeline.xadd(self._stream, self._fields(order))
        await pipeline.execute()

    async def _send_group(self) -> None:
        await asyncio.sleep(0)
        group, self._group = self._group, []
        if len(group) == 1:
            await self._client.xadd(self._stream, self._fields(group[0]))
        else:
            await self.send_many(group)

    def _fields(self, order: Order) -> dict[str, str | bytes]:
        return {
            "specversion": "1.0",
            "id": uuid.uuid4().hex,
            "source": "/",
            "type": "Order",
            "time": datetime.now(UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": self._encode(order),
        }

    async def _consume(self, handle: Handle) -> None:
        while not self._stopping:
            ids = await self._handle(await self._read(), handle)
            if ids:
                await self._remove(ids)

    async def _consume_overlapped(self, handle: Handle) -> None:
        """Two connections: one always has a read under way, the other removes what is done."""
        reading = asyncio.create_task(self._read())
        removing: asyncio.Task[None] | None = None
        while True:
            entries = await reading
            if self._stopping and not entries:
                break
            reading = asyncio.create_task(self._read())
            ids = await self._handle(entries, handle)
            if removing is not None:
                await removing
            removing = asyncio.create_task(self._remove(ids)) if ids else None
        if removing is not None:
            await removing

    async def _read(self) -> Any:
        """Without a wait while there is more: what is blocked is slow to wake."""
        streams = {self._stream: ">"}
        found = await self._client.xreadgroup(_GROUP, "me", streams, count=_COUNT)
        if not found and not self._stopping:
            found = await self._client.xreadgroup(_GROUP, "me", streams, count=_COUNT, block=_BLOCK_MS)
        return found

    async def _handle(self, found: Any, handle: Handle) -> list[bytes]:
        ids: list[bytes] = []
        for _, entries in found:
            for identity, fields in entries:
                await handle(self._decode(fields[b"data"]))
                ids.append(identity)
        return ids

    async def _remove(self, ids: Sequence[bytes]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xack(self._stream, _GROUP, *ids)
        pipeline.xdel(self._stream, *ids)
        await pipeline.execute()


def overlapped(folder: Path) -> BareRedis:
    return BareRedis(folder, overlapped=True)
