"""leveler as its users have it: the defaults, with retries and lease renewal on, at least once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from leveler_memory import MemoryAdapter, MemoryOptions

from leveler import Adaptive, BreakerPolicy, ConsumerSettings, Leveler, LimitSettings, Settings
from leveler.adapter import Adapter, QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from tests.benchmarks import bare_redis
from tests.benchmarks.bare_rabbitmq import url as rabbitmq_url
from tests.benchmarks.bare_servicebus import url as servicebus_url
from tests.benchmarks.bare_sqs import url as sqs_url
from tests.benchmarks.bare_storagequeue import url as storagequeue_url
from tests.benchmarks.orders import Order
from tests.benchmarks.row import Handle, Row

_QUEUE: Final = "orders"


class Ours:
    """
    Args:
        broker: what a user would write, or an adapter that keeps its queues from one `open` to the next.
        settings: besides.
    """

    def __init__(self, broker: str | Adapter, settings: Settings | None = None) -> None:
        self._broker = broker
        self._settings = settings

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[Sending]:
        app = Leveler(self._broker, settings=self._settings)
        if handle is not None:
            app.consumer(_QUEUE)(handle)
        async with app.working() if handle is not None else app:
            yield Sending(app)


class OnServer(Ours):
    """On a server that outlives a measurement: each begins with no queue.

    Args:
        url: of the server.
        folder: of the measurement.
    """

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url)
        self._url = url
        self._begun = folder / "begun"

    @asynccontextmanager
    async def open(self, handle: Handle | None = None) -> AsyncIterator[Sending]:
        if not self._begun.exists():
            async with find(self._url, clock=SystemClock(), deadline_seconds=10.0) as adapter:
                await adapter.drop(QueueSpec(name=_QUEUE))
            self._begun.touch()
        async with super().open(handle) as sending:
            yield sending


class Sending:
    def __init__(self, app: Leveler) -> None:
        self._app = app

    async def send(self, order: Order) -> None:
        await self._app.send(_QUEUE, order)

    async def send_many(self, orders: Sequence[Order]) -> None:
        await self._app.send_many(_QUEUE, orders)


def on_memory(folder: Path) -> Row:
    return Ours(_memory())


def with_every_limiter(folder: Path) -> Row:
    """None of which ever keeps anything from starting: what they cost by themselves."""
    bank = LimitSettings(concurrency=Adaptive(min=16, max=64), rate_per_second=1e7, breaker=BreakerPolicy())
    consumer = ConsumerSettings(downstream="bank", memory_bytes=64 << 20)
    return Ours(_memory(), Settings(consumers={_QUEUE: consumer}, downstreams={"bank": bank}))


def _memory() -> Adapter:
    return MemoryAdapter("memory://", MemoryOptions(), clock=SystemClock(), deadline_seconds=10.0)


def on_redis(folder: Path) -> Row:
    url = bare_redis.url()
    return Ours(f"{url}{'&' if '?' in url else '?'}prefix={bare_redis.prefix(folder)}")


def on_sqlite(folder: Path) -> Row:
    return Ours(f"sqlite:///{folder}/orders.db")


def on_sqs(folder: Path) -> Row:
    return OnServer(sqs_url(), folder)


def on_servicebus(folder: Path) -> Row:
    return OnServer(servicebus_url(), folder)


def on_storagequeue(folder: Path) -> Row:
    return OnServer(storagequeue_url(), folder)


def on_rabbitmq(folder: Path) -> Row:
    return OnServer(rabbitmq_url(), folder)
