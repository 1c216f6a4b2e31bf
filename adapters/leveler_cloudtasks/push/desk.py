"""Desk: where the requests of one queue meet the receivers that want them."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from leveler.clock import Clock, Timer
from leveler.message import Message
from leveler_cloudtasks.push.exchange import REFUSED, Exchange

#: A request that nobody takes for so long is refused: its lease runs, and another process may have room for it.
PARK_SECONDS: Final = 1.0


class Taker(Protocol):
    """A receiver, as the desk sees it."""

    #: How long what it takes is its own.
    lease_seconds: float

    def room(self) -> int:
        """How many more it may hold."""
        ...

    def wake(self) -> None:
        """There is something to take, or room for it."""
        ...

    async def resend(self, message: Message) -> None:
        """Queue it, confirmed, in place of what came."""
        ...


class Desk:
    """One queue's. Lets in only as many requests as its receivers have room for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._takers: list[Taker] = []
        self._parked: deque[tuple[Exchange, Timer]] = deque()

    def join(self, taker: Taker) -> None:
        self._takers.append(taker)

    def leave(self, taker: Taker) -> None:
        if taker in self._takers:
            self._takers.remove(taker)
        self.shrink()

    @property
    def lease_seconds(self) -> float:
        return min(taker.lease_seconds for taker in self._takers)

    @property
    def manned(self) -> bool:
        return bool(self._takers)

    async def resend(self, message: Message) -> None:
        """Queue it, confirmed, in place of what came."""
        await self._takers[0].resend(message)

    def has_room(self) -> bool:
        self._tidy()
        return sum(taker.room() for taker in self._takers) > len(self._parked)

    def offer(self, exchange: Exchange) -> bool:
        """Park it until a receiver takes it; False if there is no room."""
        if not self.has_room():
            return False
        timer = self._clock.call_later(PARK_SECONDS, lambda: exchange.answer(REFUSED))
        self._parked.append((exchange, timer))
        for taker in self._takers:
            taker.wake()
        return True

    def take(self, count: int) -> list[Exchange]:
        """At most so many, the longest waiting first."""
        taken: list[Exchange] = []
        self._tidy()
        while self._parked and len(taken) < count:
            exchange, timer = self._parked.popleft()
            timer.cancel()
            if exchange.open:
                taken.append(exchange)
        return taken

    def shrink(self) -> None:
        """Refuse what there is no room for any more, the latest first."""
        self._tidy()
        room = sum(taker.room() for taker in self._takers)
        while len(self._parked) > room:
            exchange, timer = self._parked.pop()
            timer.cancel()
            exchange.answer(REFUSED)

    def _tidy(self) -> None:
        if any(not exchange.open for exchange, _ in self._parked):
            self._parked = deque(pair for pair in self._parked if pair[0].open)


class Desks:
    """The desks of one endpoint, by the name in the path."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._desks: dict[str, Desk] = {}

    def get(self, name: str) -> Desk | None:
        """The desk, if somebody receives there."""
        desk = self._desks.get(name)
        return desk if desk is not None and desk.manned else None

    def join(self, name: str, taker: Taker) -> Desk:
        desk = self._desks.setdefault(name, Desk(self._clock))
        desk.join(taker)
        return desk

    def leave(self, name: str, taker: Taker) -> None:
        desk = self._desks.get(name)
        if desk is not None:
            desk.leave(taker)
            if not desk.manned:
                del self._desks[name]
