"""How time passes for a case: at once on a virtual clock, as everywhere else on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from leveler.clock import Clock
from leveler.testing.clock import VirtualClock, quiet

T = TypeVar("T")

#: On a virtual clock, no verb may take longer than this: nobody would notice a hang otherwise.
_PATIENCE_SECONDS: Final = 300.0

#: What another thread or process gets, in real seconds, before virtual time goes on without its answer.
_IO_SECONDS: Final = 0.005


class Pace:
    """Drives the clock.

    Args:
        clock: the case's own.
        outside: whether the broker does its work outside this event loop, and so must be given real time as well.
    """

    def __init__(self, clock: Clock, *, outside: bool = True) -> None:
        self.clock = clock
        self.outside = outside
        self._virtual = clock if isinstance(clock, VirtualClock) else None

    @property
    def virtual(self) -> bool:
        return self._virtual is not None

    async def elapse(self, seconds: float) -> None:
        """Let `seconds` pass."""
        if self._virtual is None:
            await asyncio.sleep(max(0.0, seconds))
        else:
            await self._virtual.advance(max(0.0, seconds))

    async def until(self, call: Awaitable[T]) -> T:
        """The call's answer, with all the time passing that it takes."""
        if self._virtual is None:
            return await call
        task = asyncio.ensure_future(call)
        give_up = self.clock.monotonic() + _PATIENCE_SECONDS
        try:
            while not await self._answered(task):
                assert self.clock.monotonic() < give_up, f"no answer within {_PATIENCE_SECONDS:g} s of virtual time"
                await self._step(self._virtual)
            return task.result()
        finally:
            await _ended(task)

    async def _answered(self, task: asyncio.Future[T]) -> bool:
        await quiet()
        if not task.done() and self.outside:
            await asyncio.wait({task}, timeout=_IO_SECONDS)
        return task.done()

    @staticmethod
    async def _step(clock: VirtualClock) -> None:
        due = clock.next_due()
        await clock.advance(0.25 if due is None else min(due, 0.25))


async def _ended(task: asyncio.Future[T]) -> None:
    """A call that is not waited for any more leaves nothing behind."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)
        if task.done() and not task.cancelled():
            task.exception()
