"""The downstream behind a socket: 200 when it has served, 503 when it refuses; its counts under /counts.

python -m tests.benchmarks.leveling.real.server SHAPE STEPS CHANCE    prints its port; CHANCE seeds the service times
"""

from __future__ import annotations

import asyncio
import random
import sys
from functools import partial

import msgspec

from leveler.clock import SystemClock
from tests.benchmarks.leveling.downstream import Downstream, Shape, downstream


class Counts(msgspec.Struct):
    """What the downstream has seen so far."""

    calls: int
    refused: int
    #: Calls inside, summed over time.
    inside_seconds: float


async def serve(shape: Shape, steps: list[tuple[float, float]], chance: str) -> None:
    clock = SystemClock()
    called = downstream(shape, clock, random.Random(chance))
    begun = False

    def begin() -> None:
        """With the first call."""
        nonlocal begun
        begun = True
        called.begin()
        for at, capacity in steps[1:]:
            clock.call_later(at, partial(called.become, capacity))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await _head(reader):
                if b"/counts" in head:
                    counts = Counts(called.calls, called.refused, called.inside_until_now())
                    writer.write(_response(200, msgspec.json.encode(counts)))
                    continue
                if not begun:
                    begin()
                writer.write(_response(200 if await _served(called) else 503, b""))
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _served(called: Downstream) -> bool:
    answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    called.call(lambda served: None if answered.done() else answered.set_result(served))
    return await answered


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Of the next request; empty when there is none."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def _response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d .\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


if __name__ == "__main__":
    asyncio.run(
        serve(
            msgspec.json.decode(sys.argv[1], type=Shape),
            msgspec.json.decode(sys.argv[2], type=list[tuple[float, float]]),
            sys.argv[3],
        )
    )
