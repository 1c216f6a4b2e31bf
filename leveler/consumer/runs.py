"""Runs: what the workers carry, whether they may start more, and the wait until they carry nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from leveler.adapter import INFINITE
from leveler.clock import Clock
from leveler.consumer.held import Held
from leveler.patience import resolve


class Carrier(Protocol):
    """What a worker carries."""

    #: It waits until it may start again; see `Runs.admit`.
    kept: bool

    @property
    def carries(self) -> bool:
        """Whether something follows for it."""
        ...

    @property
    def runs(self) -> int:
        """Messages whose handler runs."""
        ...


class Runs:
    """The handler runs of one consumer.

    A delivery is carried while it waits for its limits, and from its start until its settlement is ordered. One whose
    lease is lost is nobody's business any more, even if its handler never ends: nothing waits for it.

    Args:
        clock: time.
        keeps: what must not start now is kept until it may, rather than given back.
    """

    def __init__(self, clock: Clock, *, keeps: bool) -> None:
        self._clock = clock
        self._keeps = keeps
        self._under_way: set[Carrier] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._kept: list[tuple[asyncio.Future[None], Carrier]] = []
        self._hurried = False
        #: Nothing is started any more.
        self.closed = False
        #: Nothing is started now, but what is to start alone.
        self.refusing = False

    @property
    def now(self) -> int:
        """Messages whose handlers run."""
        return sum(carrier.runs for carrier in self._under_way)

    @property
    def _carried(self) -> bool:
        return any(carrier.carries for carrier in self._under_way)

    @property
    def keeping(self) -> bool:
        """Whether what must not start now is kept."""
        return self._keeps and not self.closed

    @property
    def sends_back(self) -> bool:
        """Whether what must not start now goes back."""
        return self.refusing and not self.keeping

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

    async def admit(self, held: Held, carrier: Carrier, acquire: Callable[[], Awaitable[bool]]) -> bool:
        """Wait with `held` until it may start, and until `acquire` has let it. False if it is not to start any more."""
        while True:
            while self._must_keep(held):
                await self._keep(carrier)
            admitted = self._allows(held) and await acquire()
            if admitted or not self._must_keep(held):
                return admitted

    async def _keep(self, carrier: Carrier) -> None:
        """Wait until `be_loud` or `close`. Nothing waits for it meanwhile."""
        carrier.kept = True
        self.look()
        over = asyncio.get_running_loop().create_future()
        self._kept.append((over, carrier))
        await over

    def _allows(self, held: Held) -> bool:
        """Whether it may be started now."""
        return not self.refusing or (held.solo and not self.closed)

    def _must_keep(self, held: Held) -> bool:
        return self.keeping and not self._allows(held)

    def _look_again(self) -> None:
        kept, self._kept = self._kept, []
        for over, carrier in kept:
            carrier.kept = False  # from now on, not only when its worker has noticed
            resolve(over)

    def begin(self, carrier: Carrier) -> None:
        """A worker carries it from now on."""
        self._under_way.add(carrier)

    def end(self, carrier: Carrier) -> None:
        """All that follows for it is under way."""
        self._under_way.discard(carrier)
        self.look()

    def look(self) -> None:
        """Something may not be carried any more."""
        if self._waiting and not self._carried:
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
