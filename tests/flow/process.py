"""What stories about processes need: one that dies, messages that have killed before, and the broker's own books."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
from leveler_memory.adapter import MemoryAdapter

from leveler.message import Message
from leveler.producer import SendOptions
from leveler.testing import TestApp
from leveler.testing.clock import quiet
from tests.flow.conftest import QUEUE


def in_broker(t: TestApp, queue: str = QUEUE) -> tuple[int, int, int]:
    """(ready, leased, delayed), also where a personality does not tell them."""
    found = cast(MemoryAdapter, t.adapter.inner)._find(queue)
    found.catch_up()
    return found.counts()


def leased(t: TestApp, queue: str = QUEUE) -> int:
    return in_broker(t, queue)[1]


async def send_tried(
    t: TestApp, value: Any, *, attempts: int, solos: int = 0, queue: str = QUEUE, **words: Any
) -> Message:
    """Send a message that has been delivered so many times already, as one is that has ended its process, and of whose
    starts alone so many are marked."""
    declared = await t._started().queue(queue)
    message = declared.producer.message(value, SendOptions(**words))
    message = message.copy(attempts=attempts, not_before=None, failed_at=None)
    message = msgspec.structs.replace(message, solos=solos)
    await declared.adapter.sender(declared.spec).send([message])
    return message


async def crash(t: TestApp) -> None:
    """End the process: its tasks stop where they are, nothing is given back, and connections break."""
    runtime = t._started()
    loops = [loop for consumer in runtime.consumers.values() for loop in consumer._loops._tasks]
    tasks, runtime._running, runtime.consumers = runtime._running, [], {}
    called = len(t.faults.calls)
    for task in tasks:
        task.cancel()
    await t._pass_time(asyncio.gather(*tasks, return_exceptions=True))
    for loop in loops:  # what outlived its first cancellation
        loop.cancel()
    await quiet()
    verbs = {call.verb for call in t.faults.calls[called:]}
    assert verbs <= {"close"}, f"a process that has crashed calls nothing, but it called {verbs}"
