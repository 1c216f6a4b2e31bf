"""Quarantine: a message that may end its process starts alone in it, so that it cannot take its neighbours along.

Alone means: no other handler of the process runs, and nothing else is held leased here. What dies with the process
has its delivery counted, and neighbours that die along often enough would end as dead letters too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from leveler.clock import Clock
from leveler.consumer.held import Held
from leveler.patience import ended


class Member(Protocol):
    """One consumer of the process."""

    async def make_quiet(self) -> None:
        """Start nothing more, give back what is not started, unless that would count, and return when all else is
        settled or lost."""
        ...

    def make_loud(self) -> None:
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

    async def run_alone(self, wanted: Callable[[], bool], run: Callable[[], Awaitable[None]]) -> None:
        """Call `run` while nothing else of this process runs or is held.

        Args:
            wanted: asked when it is our turn, before everybody is made quiet.
            run: what must be alone.
        """
        async with self._one:
            if not wanted():
                return
            members = list(self._members)
            try:
                await asyncio.gather(*(member.make_quiet() for member in members))
                await run()
            finally:
                for member in members:
                    member.make_loud()


class Suspects:
    """One consumer's part in the quarantine: at most one delivery that waits to start alone, or runs alone.

    Args:
        quarantine: of the process.
        is_first: whether nothing of its key stands before one.
        carry: runs a delivery, all its way.
        settled: waits until everything is settled.
        pause: stops the consumer's intake.
        resume: lets it go on.
        start: runs a task, and looks after it.
        on_isolated: told of each one that is to start alone.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        *,
        is_first: Callable[[Held], bool],
        carry: Callable[[list[Held]], Awaitable[None]],
        settled: Callable[[], Awaitable[None]],
        pause: Callable[[], object],
        resume: Callable[[], object],
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        on_isolated: Callable[[Held], object],
    ) -> None:
        self._quarantine = quarantine
        self._is_first = is_first
        self._carry = carry
        self._settled = settled
        self._pause = pause
        self._resume = resume
        self._start = start
        self._on_isolated = on_isolated
        self._waiting: Held | None = None
        self._task: asyncio.Task[None] | None = None

    def isolate(self, held: Held) -> bool:
        """Start it as soon as it is alone. False if another one is before it."""
        if self._task is not None or not self._is_first(held):
            return False
        held.solo = True
        self._on_isolated(held)
        self._pause()
        self._waiting = held
        self._task = self._start(self._run_alone(held))
        return True

    def withdraw(self) -> list[Held]:
        """The one that still waits for its turn: it is to go back instead."""
        withdrawn = [] if self._waiting is None else [self._waiting]
        self._waiting = None
        return withdrawn

    async def finished(self, clock: Clock, seconds: float) -> None:
        """Wait until none runs alone, or for so long."""
        task = self._task  # it may end while this waits
        if task is not None and not await ended((task,), clock, seconds):
            task.cancel()

    async def _run_alone(self, held: Held) -> None:
        try:
            await self._quarantine.run_alone(self._takes_turn, lambda: self._run(held))
        finally:
            self._waiting = None
            self._task = None
            self._resume()

    def _takes_turn(self) -> bool:
        """Whether it is still here; from now on it cannot be withdrawn."""
        waiting, self._waiting = self._waiting, None
        return waiting is not None and not waiting.lost

    async def _run(self, held: Held) -> None:
        if not held.lost:
            await self._carry([held])
        await self._settled()
