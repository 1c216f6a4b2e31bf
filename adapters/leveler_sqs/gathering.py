"""Gathering: items that come within a moment share a request, since a request costs the same whatever is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from leveler.clock import Clock, Timer
from leveler.errors import BrokerError, LevelerError

T = TypeVar("T")

_MOST_ITEMS: Final = 10
#: The first of a batch waits so long for company: less than anybody notices, and more than a busy consumer needs.
LINGER_SECONDS: Final = 0.02

#: The error of each item that failed, by its place.
Failures = dict[int, LevelerError]


class _Ticket:
    """What one caller waits for."""

    def __init__(self, count: int, done: asyncio.Future[None]) -> None:
        self.left = count
        self.failed: Failures = {}
        self.done = done

    def answered(self, place: int, error: LevelerError | None) -> None:
        if error is not None:
            self.failed[place] = error
        self.left -= 1
        if not self.left and not self.done.done():  # who waited may have given up
            self.done.set_result(None)


class _Item(NamedTuple, Generic[T]):
    what: T
    ticket: _Ticket
    place: int


class Gathering(Generic[T]):
    """
    Args:
        call: makes the request for up to ten.
        clock: for the linger.
    """

    def __init__(self, call: Callable[[Sequence[T]], Awaitable[Failures]], clock: Clock) -> None:
        self._call = call
        self._clock = clock
        self._waiting: list[_Item[T]] = []
        self._timer: Timer | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def put(self, items: Sequence[T]) -> Failures:
        """The error of each of `items` that failed, when all are through."""
        if not items:
            return {}
        ticket = _Ticket(len(items), asyncio.get_running_loop().create_future())
        self._waiting += [_Item(item, ticket, place) for place, item in enumerate(items)]
        while len(self._waiting) >= _MOST_ITEMS:
            self._go()
        if self._waiting and self._timer is None:
            self._timer = self._clock.call_later(LINGER_SECONDS, self._late)
        await ticket.done
        return ticket.failed

    def _late(self) -> None:
        self._timer = None
        if self._waiting:
            self._go()

    def _go(self) -> None:
        batch, self._waiting = self._waiting[:_MOST_ITEMS], self._waiting[_MOST_ITEMS:]
        if self._timer is not None and not self._waiting:
            self._timer.cancel()
            self._timer = None
        task = asyncio.get_running_loop().create_task(self._carry(batch))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _carry(self, batch: Sequence[_Item[T]]) -> None:
        try:
            failed = await self._call([item.what for item in batch])
        except LevelerError as error:
            failed = dict.fromkeys(range(len(batch)), error)
        except Exception as error:  # whatever it is, nobody waits for it in vain
            failed = dict.fromkeys(range(len(batch)), BrokerError(f"the request failed: {error!r}"))
        for index, item in enumerate(batch):
            item.ticket.answered(item.place, failed.get(index))
