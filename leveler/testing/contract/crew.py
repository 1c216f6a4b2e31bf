"""Crew: workers side by side on one queue, who notice when two of them hold the same message."""

from __future__ import annotations

import asyncio
import random

from leveler.adapter import Adapter, Delivery, Receiver
from leveler.testing.contract.rig import Rig, again


class Crew:
    """Takes and completes until all is done, or until it is hopeless.

    Args:
        expected: how many messages there are to complete.
        failing: the share of runs that give the message back instead, up to the third attempt.
        credit: how many each worker asks for at a time.
    """

    def __init__(self, t: Rig, expected: int, *, failing: float = 0.0, credit: int = 5) -> None:
        #: The ids of what was completed, in that order.
        self.done: list[str] = []
        self._t = t
        self._expected = expected
        self._failing = failing
        self._credit = min(credit, t.can.max_batch)
        self._dice = random.Random(4)
        self._held: set[str] = set()
        self._end = t.clock.monotonic() + 5 * t.patience

    async def run(self, workers: int, *adapters: Adapter) -> None:
        """Let so many work, by turns on these connections."""
        connections = adapters or (self._t.adapter,)
        receivers = [
            self._t.receiver(capacity=self._credit, adapter=connections[number % len(connections)])
            for number in range(workers)
        ]
        await self._t.pace.until(asyncio.gather(*map(self._work, receivers)))

    async def _work(self, receiver: Receiver) -> None:
        while len(self.done) < self._expected and self._t.clock.monotonic() < self._end:
            deliveries = await receiver.receive(self._credit, 0.2)
            if not deliveries:
                await self._t.clock.sleep(0.05)  # whatever the receive did, time goes on
            for delivery in deliveries:
                await self._handle(receiver, delivery)

    async def _handle(self, receiver: Receiver, delivery: Delivery) -> None:
        name = delivery.message.id
        assert name not in self._held, f"{delivery} is held twice at one time"
        self._held.add(name)
        await asyncio.sleep(0)  # time for the others to get hold of it, if they can
        self._held.remove(name)
        if delivery.attempt <= 3 and self._dice.random() < self._failing:
            await receiver.abandon(again([delivery]))
        else:
            await receiver.complete([delivery])
            self.done.append(name)
