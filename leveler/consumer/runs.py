"""Runs: what the workers carry, whether they may start more, and the wait until they carry nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from leveler.adapter import INFINITE
from leveler.clock import Clock
from leveler.consumer.held import Held
from leveler.patience import resolve


class Runs:
    """The handler runs of one consumer.

    A delivery is carried from the moment when a worker takes it until its settlement is ordered. One whose lease is
    lost is nobody's business any more, even if its handler never ends: nothing waits for it.

    Args:
        clock: time.
        keeps: what must not start now is kept until it may, rather than given back.
    """

    def __init__(self, clock: Clock, *, keeps: bool) -> None:
        self._clock = clock
        self._keeps = keeps
        #: Handlers that run.
        self.now = 0
        self._carried = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._kept: list[tuple[asyncio.Future[None], Sequence[Held]]] = []
        self._hurried = False
        #: Nothing is started any more.
        self.closed = False
        #: Nothing is started now, but what is to start alone.
        self.refusing = False

    def allow(self, batch: Sequence[Held]) -> bool:
        """Whether it may be started although we are refusing."""
        return not self.closed and all(held.solo for held in batch)

    @property
    def keeping(self) -> bool:
        """Whether what must not start now is kept."""
        return self._keeps and not self.closed

    def must_keep(self, batch: Sequence[Held]) -> bool:
        """Whether to `keep` it, while we are refusing."""
        return self.keeping and not self.allow(batch)

    def be_quiet(self) -> None:
        """Start nothing but what is to start alone, until `be_loud`."""
        self.refusing = True

    def be_loud(self) -> None:
        self.refusing = self.closed
        self._look_again()

    def close(self) -> None:
        """Start nothing any more."""
        self.refusing = self.closed = True
        self._look_again()

    async def keep(self, batch: Sequence[Held]) -> None:
        """Wait with `batch` until `be_loud` or `close`. Nothing waits for it meanwhile."""
        for held in batch:
            self.drop(held)
        over = asyncio.get_running_loop().create_future()
        self._kept.append((over, batch))
        await over

    def _look_again(self) -> None:
        kept, self._kept = self._kept, []
        for over, batch in kept:
            self.begin(batch)  # from now on, not only when its worker has noticed
            resolve(over)

    def begin(self, batch: Sequence[Held]) -> None:
        """A worker carries `batch` from now on."""
        for held in batch:
            held.carried = True
        self._carried += len(batch)

    def end(self, batch: Sequence[Held]) -> None:
        """All that follows for `batch` is under way."""
        for held in batch:
            self.drop(held)

    def drop(self, held: Held) -> None:
        """Nothing follows for `held` any more, if a worker carries it."""
        if held.carried:
            held.carried = False
            self._carried -= 1
            if not self._carried and self._waiting:
                self._let_go()

    def hurry(self) -> None:
        """End the `wait` that is under way, and those to come until `take_time`."""
        self._hurried = True
        self._let_go()

    def take_time(self) -> None:
        self._hurried = False

    async def calm(self) -> None:
        """Wait until nothing is carried."""
        while self._carried:
            await self._wait(INFINITE)

    async def wait(self, seconds: float) -> None:
        """Until nothing is carried, or for so long, or until hurried."""
        if self._carried and not self._hurried and seconds > 0:
            await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        over = asyncio.get_running_loop().create_future()
        self._waiting.append(over)
        timer = self._clock.call_later(seconds, lambda: resolve(over)) if seconds != INFINITE else None
        try:
            await over
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.remove(over)

    def _let_go(self) -> None:
        for over in self._waiting:
            resolve(over)
