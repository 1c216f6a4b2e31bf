"""Quarantine: a message that may end its process starts alone in it, so that it cannot take its neighbours along.

Alone means: no other handler of the process runs, and nothing else is held leased here. What dies with the process
has its delivery counted, and neighbours that die along often enough would end as dead letters too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from leveler.clock import Clock
from leveler.consumer.held import BUFFERED, Held


class Member(Protocol):
    """One consumer of the process."""

    async def make_quiet(self) -> None:
        """Start nothing more, give back what is not started, and return when all else is settled."""
        ...

    async def make_loud(self) -> None:
        """Go on."""
        ...


class Quarantine:
    """One for all consumers of a process."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._one = asyncio.Lock()

    def join(self, member: Member) -> None:
        self._members.append(member)

    def leave(self, member: Member) -> None:
        self._members.remove(member)

    @asynccontextmanager
    async def alone(self, on_turn: Callable[[], object]) -> AsyncIterator[None]:
        """Inside, nothing else of this process runs or is held.

        Args:
            on_turn: called when it is our turn, before everybody is made quiet.
        """
        async with self._one:
            on_turn()
            members = list(self._members)
            try:
                await asyncio.gather(*(member.make_quiet() for member in members))
                yield
            finally:
                for member in members:
                    await member.make_loud()


class Suspects:
    """One consumer's part in the quarantine: at most one delivery that waits to start alone, or runs alone.

    Args:
        quarantine: of the process.
        carry: runs a delivery, all its way.
        settled: waits until everything is settled.
        pause: stops the consumer's intake.
        resume: lets it go on.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        *,
        carry: Callable[[list[Held]], Awaitable[None]],
        settled: Callable[[], Awaitable[None]],
        pause: Callable[[], object],
        resume: Callable[[], object],
    ) -> None:
        self._quarantine = quarantine
        self._carry = carry
        self._settled = settled
        self._pause = pause
        self._resume = resume
        self._waiting: Held | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._task is not None

    def isolate(self, held: Held) -> None:
        """Start it as soon as it is alone. Only when not `busy`."""
        self._pause()
        self._waiting = held
        self._task = asyncio.create_task(self._run_alone(held))

    def withdraw(self) -> list[Held]:
        """The one that still waits for its turn: it is to go back instead."""
        withdrawn = [] if self._waiting is None else [self._waiting]
        self._waiting = None
        return withdrawn

    async def finished(self, clock: Clock, seconds: float) -> None:
        """Wait until none runs alone, or for so long."""
        if self._task is not None:
            timer = clock.call_later(seconds, self._task.cancel)
            await asyncio.wait({self._task})
            timer.cancel()

    async def _run_alone(self, held: Held) -> None:
        try:
            async with self._quarantine.alone(on_turn=self._take_turn):
                if held.state == BUFFERED and not held.lost:
                    await self._carry([held])
                await self._settled()
        finally:
            self._waiting = None
            self._task = None
            self._resume()

    def _take_turn(self) -> None:
        self._waiting = None
