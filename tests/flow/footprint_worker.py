"""A process that consumes a backlog under a memory budget, and tells what it held and how large it became.

python -m tests.flow.footprint_worker URL MESSAGES BUDGET_BYTES CONCURRENCY
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys

from leveler import ConsumerSettings, Leveler, LimitSettings


async def consume(url: str, messages: int, budget_bytes: int, concurrency: int) -> dict[str, float]:
    done = most_held = 0
    over = asyncio.Event()
    limits = LimitSettings(concurrency=concurrency)
    app = Leveler(url, consumers={"orders": ConsumerSettings(limits=limits, memory_bytes=budget_bytes or None)})

    @app.consumer("orders")
    async def handle(body: bytes) -> None:
        nonlocal done, most_held
        if done % 16 == 0:
            most_held = max(most_held, app.health().consumers["orders"].held_bytes)
        await asyncio.sleep(0.001)
        done += 1
        if done == messages:
            over.set()

    async with app.working():
        await asyncio.wait_for(over.wait(), 600)
    return {"held_bytes": most_held, "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(consume(sys.argv[1], *map(int, sys.argv[2:])))))
