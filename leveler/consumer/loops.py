"""Loops: the long-lived tasks of one consumer. None of them may end by an error without anybody noticing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from leveler.clock import Clock
from leveler.events import log
from leveler.patience import ended


class Loops:
    """Runs them until `stop`, or until one of them fails.

    Args:
        queue: whose.
        clock: time.
    """

    def __init__(self, queue: str, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()
        self._error: BaseException | None = None

    def start(self, loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `loop` as a task, and look after it."""
        task = asyncio.create_task(loop)
        task.add_done_callback(self._on_end)
        self._tasks.append(task)
        return task

    def stop(self) -> None:
        self._over.set()

    async def over(self) -> None:
        """Wait until `stop`, or until one has failed.

        Raises:
            Exception: what it failed with.
        """
        await self._over.wait()
        if self._error is not None:
            raise self._error

    async def cancel(self, seconds: float) -> None:
        """Cancel all of them, and wait until they have ended, or for so long."""
        for task in self._tasks:
            task.cancel()
        if not await ended(self._tasks, self._clock, seconds):
            log.error("%s: a handler does not end although it was cancelled: it is left behind", self._queue)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("%s: the consumer is broken and stops", self._queue, exc_info=error)
            self._error = error
            self._over.set()
