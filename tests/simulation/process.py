"""Process: a simulated one. It has a wall clock of its own, counts its steps, and can die at any of them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from leveler.testing import VirtualClock
from tests.simulation.loop import PROCESS, VirtualLoop


class Process:
    """What runs in it knows it by the context variable `PROCESS`, which tasks and timers hand down.

    Args:
        name: for the trace.
        loop: where it runs.
        clock: the world's time.
    """

    def __init__(self, name: str, loop: VirtualLoop, clock: VirtualClock) -> None:
        self.name = name
        self.alive = True
        self.backlog: list[asyncio.Handle] | None = None
        #: Suspension points passed so far.
        self.steps = 0
        self.clock = ProcessClock(self, clock)
        self.loop = loop
        self._due: dict[int, Callable[[], object]] = {}
        self._on_death: list[Callable[[], object]] = []
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, self)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` in it."""
        return self.loop.create_task(work, context=self._context.copy())

    def at_step(self, step: int, strike: Callable[[], object]) -> None:
        """Call `strike` as soon as it has passed `step` suspension points in all."""
        self._due[step] = strike

    def step(self) -> None:
        self.steps += 1
        if self._due and (strike := self._due.pop(self.steps, None)) is not None:
            strike()

    def on_death(self, told: Callable[[], object]) -> None:
        self._on_death.append(told)

    def freeze(self, seconds: float) -> None:
        """As by SIGSTOP, a long garbage collection, or a virtual machine that is moved: time passes without it."""
        if self.alive and self.backlog is None:
            self.backlog = []
            self.loop.call_later(seconds, self.loop.thaw, self, context=contextvars.Context())

    def die(self) -> None:
        """As by ``kill -9``: what runs at this moment gets as far as its next suspension point, where it stays."""
        if self.alive:
            self.alive = False
            for told in self._on_death:
                told()


class ProcessClock:
    """A `leveler.clock.Clock`: the world's time, a wall clock that may be set wrong, and timers that die with us."""

    def __init__(self, process: Process, world: VirtualClock) -> None:
        self._process = process
        self._world = world
        #: How wrong the wall clock is.
        self.skew_seconds = 0.0

    def monotonic(self) -> float:
        return self._world.monotonic()

    def now(self) -> datetime:
        return self._world.now() + timedelta(seconds=self.skew_seconds)

    def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> Any:
        process = self._process

        timer = _Timer()

        def fire() -> None:
            if not process.alive or timer.cancelled:
                return
            if process.backlog is not None:
                process.backlog.append(asyncio.Handle(fire, (), process.loop))
                return
            callback()
            process.step()

        self._world.call_later(delay_seconds, fire)
        return timer

    async def sleep(self, delay_seconds: float) -> None:
        await self._world.sleep(delay_seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or a time server does."""
        self.skew_seconds += seconds


class _Timer:
    """It may be cancelled while it waits for its frozen process."""

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
