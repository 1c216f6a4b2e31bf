"""Receiving: a receiver for as long as the consumer lives, made anew whenever it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from leveler.adapter import Adapter, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.events import log
from leveler.patience import answer

_FIRST_REBUILD_SECONDS: Final = 0.1
_LAST_REBUILD_SECONDS: Final = 2.0


class Receiving:
    """Keeps one receiver.

    Args:
        adapter: makes receivers.
        spec: of this queue.
        capacity: most deliveries that one may hold.
        clock: time.
        feed: receives from a receiver until told to stop; raises when it is lost.
        on_ready: told when the broker's side knows that we consume.
        on_down: told why the receiver is gone or could not be made.
        on_lost: told which receiver, so that its deliveries are given up.
    """

    def __init__(
        self,
        adapter: Adapter,
        spec: QueueSpec,
        capacity: int,
        clock: Clock,
        *,
        feed: Callable[[Receiver], Awaitable[None]],
        on_ready: Callable[[], object],
        on_down: Callable[[BaseException], object],
        on_lost: Callable[[Receiver], object],
    ) -> None:
        self._adapter = adapter
        self._spec = spec
        self._capacity = capacity
        self._clock = clock
        self._feed = feed
        self._on_ready = on_ready
        self._on_down = on_down
        self._on_lost = on_lost
        self._stopping = asyncio.Event()
        self._bell = Bell(clock)
        self._rebuild_seconds = _FIRST_REBUILD_SECONDS
        self.receiver: Receiver | None = None

    async def run(self) -> None:
        """Receive until `stop`. The last receiver stays open for settlements: `close` it."""
        lost = False
        while not self._stopping.is_set():
            try:
                if lost:  # whatever took the receiver may have taken the queue
                    await self._answer(self._adapter.declare(self._spec))
                self.receiver = self._adapter.receiver(self._spec, capacity=self._capacity)
                await self._feed(self.receiver)
            except Exception as error:  # an adapter's bug must not end consumption either
                lost = True
                self._on_down(error)
                await self._give_up()
                await self._wait()

    def healthy(self) -> None:
        """The broker has taken our subscription: the next loss starts with a short wait again."""
        self._rebuild_seconds = _FIRST_REBUILD_SECONDS
        self._on_ready()

    def stop(self) -> None:
        """Make no receiver any more."""
        self._stopping.set()
        self._bell.ring()

    async def close(self) -> None:
        if self.receiver is not None:
            receiver, self.receiver = self.receiver, None
            try:
                await self._answer(receiver.close())
            except Exception as error:
                log.warning("%s: closing the receiver failed: %s", self._spec.name, error)

    async def _give_up(self) -> None:
        if self.receiver is not None:
            self._on_lost(self.receiver)
            await self.close()

    async def _answer(self, verb: Coroutine[Any, Any, object]) -> None:
        await answer(verb, self._clock, self._adapter.deadline_seconds)

    async def _wait(self) -> None:
        self._bell.clear()
        until = self._clock.monotonic() + self._rebuild_seconds
        self._rebuild_seconds = min(self._rebuild_seconds * 2, _LAST_REBUILD_SECONDS)
        if not self._stopping.is_set():
            await self._bell.wait(until)
