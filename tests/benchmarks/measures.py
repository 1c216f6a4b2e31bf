"""Measures: what is done, and what of it is timed. The same for every row; each call has a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from types import TracebackType
from typing import Final, Self

import msgspec

from tests.benchmarks.orders import Order, orders
from tests.benchmarks.row import Row, Sending

#: Messages per `Sending.send_many`, and single sends at once.
BATCH: Final = 500
#: Sent and not handled, at most, while producer and consumer run together.
WINDOW: Final = 2000
#: Of the latencies: a load that everybody bears.
PER_SECOND: Final = 500
#: Messages whose latency does not count: the first ones meet cold code.
_WARM_UP: Final = 100
#: What a large backlog is compared with.
SMALL_BACKLOG: Final = 2000


class Reading(msgspec.Struct, omit_defaults=True):
    """One measured value of one row."""

    metric: str
    value: float
    unit: str
    #: CPU seconds per 10,000 messages, of all threads.
    cpu: float | None = None
    #: What to compare it with; None = with the reference row's value.
    reference: float | None = None


@dataclass(frozen=True)
class Bench:
    """What a measure works on."""

    row: Row
    messages: int
    folder: Path
    #: Does another step, on the same row, in a process of its own; what that printed.
    step: Callable[[str, int], Awaitable[str]]


Measure = Callable[[Bench], Awaitable[list[Reading]]]


class Counter:
    """The handler: it counts."""

    def __init__(self) -> None:
        self.handled = 0
        self._mark = -1
        self._reached = asyncio.Event()

    async def handle(self, order: Order) -> None:
        self.handled += 1
        if self.handled == self._mark:
            self._reached.set()

    async def reach(self, count: int) -> None:
        """Wait until so many were handled."""
        if self.handled < count:
            self._mark = count
            self._reached.clear()
            await self._reached.wait()


class Watch:
    """The time, and the CPU time of all threads, that is spent inside."""

    def __enter__(self) -> Self:
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began[0]
        self.cpu_seconds = time.process_time() - self._began[1]

    def rate(self, metric: str, messages: int) -> list[Reading]:
        return [Reading(metric, messages / self.seconds, "msg/s", cpu=self.cpu_seconds / messages * 10_000)]


async def _connect(sending: Sending) -> None:
    """Some make their connections with the first message."""
    for order in orders(1):
        await sending.send(order)


async def publish_one(bench: Bench) -> list[Reading]:
    """One after the other, each awaited."""
    async with bench.row.open() as sending:
        await _connect(sending)
        with Watch() as watch:
            for order in orders(bench.messages):
                await sending.send(order)
    return watch.rate("publish_one", bench.messages)


async def publish_batch(bench: Bench) -> list[Reading]:
    async with bench.row.open() as sending:
        await _connect(sending)
        with Watch() as watch:
            await _fill(sending, bench.messages)
    return watch.rate("publish_batch", bench.messages)


async def publish_concurrent(bench: Bench) -> list[Reading]:
    """Many callers at once, each with a message of its own: what a web application does."""
    async with bench.row.open() as sending:
        await _connect(sending)
        with Watch() as watch:
            for batch in _batches(bench.messages):
                await asyncio.gather(*map(sending.send, batch))
    return watch.rate("publish_concurrent", bench.messages)


async def consume(bench: Bench) -> list[Reading]:
    """A backlog, from the start of the consumer to its end with everything settled."""
    async with bench.row.open() as sending:
        await _fill(sending, bench.messages)
    counter = Counter()
    with Watch() as watch:
        async with bench.row.open(counter.handle):
            await counter.reach(bench.messages)
    return watch.rate("consume", bench.messages)


async def roundtrip(bench: Bench) -> list[Reading]:
    """Producer and consumer in one process, the producer in batches and not too far ahead."""
    counter = Counter()
    sent = 0
    async with bench.row.open(counter.handle) as sending:
        with Watch() as watch:
            for batch in _batches(bench.messages):
                await sending.send_many(batch)
                sent += len(batch)
                await counter.reach(sent - WINDOW)
            await counter.reach(sent)
    return watch.rate("roundtrip", bench.messages)


async def roundtrip_one(bench: Bench) -> list[Reading]:
    """The same with single sends, each awaited."""
    counter = Counter()
    async with bench.row.open(counter.handle) as sending:
        with Watch() as watch:
            for sent, order in enumerate(orders(bench.messages), 1):
                await sending.send(order)
                await counter.reach(sent - WINDOW)
            await counter.reach(bench.messages)
    return watch.rate("roundtrip_one", bench.messages)


async def latency(bench: Bench) -> list[Reading]:
    """From just before the send to the start of the handler, all in one process."""
    latencies: list[float] = []
    async with bench.row.open(_timing(latencies)) as sending:
        await _send_paced(sending, bench.messages)
        await _until(lambda: len(latencies) == bench.messages)
    return _percentiles(latencies)


async def latency_between(bench: Bench) -> list[Reading]:
    """The same with the consumer in another process."""
    consumer = asyncio.ensure_future(bench.step("note_latencies", bench.messages))
    await _until(lambda: _ready(bench).exists() or consumer.done())
    async with bench.row.open() as sending:
        await _send_paced(sending, bench.messages)
        return msgspec.json.decode(await consumer, type=list[Reading])


async def note_latencies(bench: Bench) -> list[Reading]:
    """The consumer's part of `latency_between`."""
    latencies: list[float] = []
    async with bench.row.open(_timing(latencies)):
        _ready(bench).touch()
        await _until(lambda: len(latencies) == bench.messages)
    return _percentiles(latencies)


async def rss_backlog(bench: Bench) -> list[Reading]:
    """Peak memory of a process that consumes a large backlog, to that of one that consumes a small one."""
    peaks = []
    for backlog in (SMALL_BACKLOG, bench.messages):
        await bench.step("publish_batch", backlog)
        [drained] = msgspec.json.decode(await bench.step("drain", backlog), type=list[Reading])
        peaks.append(drained.value)
    return [Reading("rss_backlog_mib", peaks[1], "MiB", reference=peaks[0])]


async def drain(bench: Bench) -> list[Reading]:
    """The consumer's part of `rss_backlog`."""
    counter = Counter()
    async with bench.row.open(counter.handle):
        await counter.reach(bench.messages)
    return [Reading("rss_mib", _peak_mib(), "MiB")]


MEASURES: Final[Mapping[str, Measure]] = {
    measure.__name__: measure
    for measure in (
        publish_one,
        publish_batch,
        publish_concurrent,
        consume,
        roundtrip,
        roundtrip_one,
        latency,
        latency_between,
        note_latencies,
        rss_backlog,
        drain,
    )
}


def _batches(messages: int) -> Iterator[list[Order]]:
    batch: list[Order] = []
    for order in orders(messages):
        batch.append(order)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _fill(sending: Sending, messages: int) -> None:
    for batch in _batches(messages):
        await sending.send_many(batch)


async def _send_paced(sending: Sending, messages: int) -> None:
    """At a constant rate, whether or not those before are accepted yet."""
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()
    start = loop.time()
    for number, order in enumerate(orders(messages)):
        if (wait := start + number / PER_SECOND - loop.time()) > 0:  # those that are late go together
            await asyncio.sleep(wait)
        stamped = msgspec.structs.replace(order, sent_at=time.monotonic())
        task = loop.create_task(_sent(sending, stamped))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def _sent(sending: Sending, order: Order) -> None:
    await sending.send(order)


def _timing(latencies: list[float]) -> Callable[[Order], Awaitable[None]]:
    async def handle(order: Order) -> None:
        latencies.append(time.monotonic() - order.sent_at)

    return handle


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110  # what is waited for may happen in another process
        await asyncio.sleep(0.01)


def _ready(bench: Bench) -> Path:
    return bench.folder / "consumer-is-ready"


def _percentiles(latencies: list[float]) -> list[Reading]:
    hundredths = quantiles([one * 1000 for one in latencies[_WARM_UP:]], n=100)
    return [Reading("latency_p50_ms", hundredths[49], "ms"), Reading("latency_p99_ms", hundredths[98], "ms")]


def _peak_mib() -> float:
    """Of this process since it began. Not from `getrusage`: that remembers the process which started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not tell the peak of the memory: this measure needs Linux")
