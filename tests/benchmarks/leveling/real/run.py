"""An app that consumes for some seconds, and what it did."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from leveler import Adaptive, Leveler, QueueSettings, RetryPolicy, Settings, Throttled
from tests.benchmarks.leveling.optimum import optimum
from tests.benchmarks.leveling.real.connection import Connections
from tests.benchmarks.leveling.traces import Trace

_QUEUE: Final = "orders"


async def consume(trace: Trace, concurrency: int | Adaptive, seed: int) -> dict[str, float]:
    """The measures that a backlog has: see `tests.benchmarks.leveling.measures`."""
    latency = trace.shape.latency_seconds
    retry = RetryPolicy(initial_seconds=1.5 * latency, cap_seconds=1.5 * latency, floor_seconds=0.5 * latency)
    app = Leveler(
        "memory://", settings=Settings(queues={_QUEUE: QueueSettings(retry=retry)}, drain_timeout_seconds=1.0)
    )
    done: list[float] = []
    async with _downstream(trace, seed) as connections:
        clock = asyncio.get_running_loop().time

        @app.consumer(_QUEUE, concurrency=concurrency)
        async def handle(number: int) -> None:
            if not await connections.call():
                raise Throttled
            done.append(clock())

        async with app.working():
            began = clock()
            await app.send_many(_QUEUE, range(len(trace.arrivals)))
            await asyncio.sleep(began + trace.seconds - clock())
            counts = await connections.counts()
    best = optimum(trace.arrivals, trace.capacity, trace.seconds)
    served = sum(at - began <= trace.seconds for at in done)
    return {
        "goodput": served / sum(at <= trace.seconds for at in best.done),
        "overload_share": counts.refused / counts.calls,
        "inside_mean": counts.inside_seconds / trace.seconds / trace.shape.knee,
    }


@asynccontextmanager
async def _downstream(trace: Trace, seed: int) -> AsyncIterator[Connections]:
    """In a process of its own, with the service times that it has in virtual time."""
    chance = f"downstream {trace.name} {seed}"
    words = [msgspec.json.encode(trace.shape), msgspec.json.encode(trace.capacity.steps), chance.encode()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.leveling.real.server", *words, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    connections = Connections(int(await process.stdout.readline()))
    try:
        yield connections
    finally:
        connections.close()
        process.terminate()
        await process.wait()
