"""An outage in real time, on any broker, and what is to be seen of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from leveler import BreakerPolicy, ConsumerSettings, Leveler, LimitSettings


class Seen(NamedTuple):
    """What was seen of one outage."""

    done: Counter[int]
    dead: int
    retried: int
    #: When the downstream was called during the outage, but for its first second.
    probes: list[float]
    #: How many the broker said were leased then.
    leased: Counter[int | None]
    #: From the end of the outage to the hundredth message after it.
    back_seconds: float
    bytes_held: int


async def outage(
    broker: str, messages: int, seconds: float, *, queue: str = "orders", before_seconds: float = 1.0
) -> Seen:
    """A downstream that bears some 3,000 calls a second is gone for so long, while `messages` wait."""
    done, calls, is_gone = Counter[int](), list[float](), False
    app = Leveler(
        broker,
        consumers={queue: ConsumerSettings(downstream="bank")},
        downstreams={"bank": LimitSettings(concurrency=16, breaker=BreakerPolicy())},
    )

    @app.consumer(queue)
    async def charge(number: int) -> None:
        calls.append(time.monotonic())
        if is_gone:
            raise ConnectionError("nobody is there")
        await asyncio.sleep(0.005)
        done[number] += 1

    async def until(condition: int) -> None:
        while len(done) < condition:  # noqa: ASYNC110  # real time
            await asyncio.sleep(0.01)

    leased = Counter[int | None]()
    async with app.working():
        await app.send_many(queue, range(messages))
        await asyncio.sleep(before_seconds)
        is_gone = True
        await asyncio.sleep(1)
        began = time.monotonic()
        while time.monotonic() < began + seconds - 1:
            await asyncio.sleep(0.1)
            leased[(await app.depth(queue)).leased] += 1
        probes = [at for at in calls if at >= began]
        held = app.health().consumers[queue].held_bytes
        is_gone, back, reached = False, time.monotonic(), min(len(done) + 100, messages)
        await asyncio.wait_for(until(reached), 10)
        back_seconds = time.monotonic() - back
        with suppress(TimeoutError):
            await asyncio.wait_for(until(messages), 60)
        dead = (await app.depth(queue)).dead or 0
        retried = app.health().consumers[queue].tally.retried
    return Seen(done, dead, retried, probes, leased, back_seconds, held)
