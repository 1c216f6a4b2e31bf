"""PushReceiver: the contract's receiver, where requests are deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from leveler.adapter import Abandon, DeadLetter, Delivery, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import BatchError, BrokerError, LeaseLost, LevelerError, ReceiverLost, Unsupported
from leveler.message import Message
from leveler_cloudtasks.push.desk import Desks
from leveler_cloudtasks.push.exchange import DONE, FAILED, REFUSED, Exchange

Item = TypeVar("Item")


class PushReceiver(Receiver):
    """Takes from one desk. What a settlement needs besides an answer is its subclass's business.

    Args:
        name: of the queue, as it stands in the path.
        lease_seconds: of what it holds.
        capacity: the most that it may hold.
        clock: time.
    """

    def __init__(self, name: str, lease_seconds: float, *, capacity: int, clock: Clock) -> None:
        self.name = name
        self.lease_seconds = lease_seconds
        self._limit = self._capacity = capacity
        self._clock = clock
        self._desks: Desks | None = None
        self._held: set[Exchange] = set()
        self._bell = Bell(clock)
        self._closed = False
        self._stopped = False

    # -- what a subclass does

    async def opened(self) -> Desks:
        """Called once, before the first receive: the desks of the endpoint at which the requests arrive."""
        raise NotImplementedError

    async def copied(self, item: Abandon) -> bool:
        """Send the copy that stands in for it, where giving it back takes one; whether there is one."""
        raise NotImplementedError

    async def buried(self, item: DeadLetter) -> None:
        """Keep it as a dead letter."""
        raise NotImplementedError

    async def resend(self, message: Message) -> None:
        """Queue it, confirmed, in place of what came."""
        raise NotImplementedError

    # -- a desk's taker

    def room(self) -> int:
        return max(0, self._limit - len(self._held))

    def wake(self) -> None:
        self._bell.ring()

    # -- flow

    async def hold(self, limit: int) -> None:
        self._limit = min(limit, self._capacity)
        self._stopped = limit == 0
        self._bell.ring()
        if self._desks is not None and (desk := self._desks.get(self.name)) is not None:
            desk.shrink()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check_open()
        running = not self._stopped
        if self._desks is None:
            self._desks = await self.opened()
            self._check_open()
            self._desks.join(self.name, self)
        end = self._clock.monotonic() + wait_seconds
        while True:
            self._bell.clear()
            taken, left = self._take(credit), end - self._clock.monotonic()
            if taken or left <= 0 or (running and self._stopped):  # stopped while under way
                return taken
            await self._bell.wait(end)
            self._check_open()

    def _take(self, credit: int) -> list[Delivery]:
        assert self._desks is not None
        desk = self._desks.get(self.name)
        exchanges = desk.take(min(credit, self.room())) if desk is not None else []
        for exchange in exchanges:
            self._held.add(exchange)
            exchange.held(self._ended)
        return [Delivery(one.message, one.attempt, one.leased_until, one) for one in exchanges]

    def _ended(self, exchange: Exchange) -> None:
        self._held.discard(exchange)

    # -- settlement

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self._each(deliveries, self._complete)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self._each(items, self._abandon)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await self._each(items, self._dead_letter)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            raise Unsupported(f"{self.name}: a request that brought a delivery cannot be prolonged: raise the lease")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._limit = 0
        self._bell.ring()
        for exchange in [*self._held]:
            exchange.answer(FAILED)
        if self._desks is not None:
            self._desks.leave(self.name, self)

    async def _complete(self, delivery: Delivery) -> None:
        await self._answer(delivery, DONE)

    async def _abandon(self, item: Abandon) -> None:
        self._check_held(item.delivery)
        status = DONE if await self.copied(item) else FAILED if item.counted else REFUSED
        await self._answer(item.delivery, status)

    async def _dead_letter(self, item: DeadLetter) -> None:
        self._check_held(item.delivery)
        await self.buried(item)
        await self._answer(item.delivery, DONE)

    async def _answer(self, delivery: Delivery, status: int) -> None:
        exchange = self._check_held(delivery)
        exchange.answer(status)
        if not await exchange.was_sent():
            raise LeaseLost(f"{delivery}: whoever sent it has stopped to listen, and will send it again")

    def _check_held(self, delivery: Delivery) -> Exchange:
        exchange: Exchange = delivery.receipt
        if exchange not in self._held or self._clock.monotonic() >= exchange.leased_until:
            raise LeaseLost(f"{delivery}: its request is over, so it is no longer ours")
        return exchange

    def _check_open(self) -> None:
        if self._closed:
            raise ReceiverLost(f"the receiver of {self.name} is closed: make a new one")

    async def _each(self, items: Sequence[Item], act: Callable[[Item], Awaitable[None]]) -> None:
        """Do it with each, side by side.

        Raises:
            BatchError: with what went wrong, by place.
        """
        self._check_open()
        done = await asyncio.gather(*map(act, items), return_exceptions=True)
        failed: dict[int, LevelerError] = {}
        for place, error in enumerate(done):
            if isinstance(error, LevelerError):
                failed[place] = error
            elif isinstance(error, BaseException):
                raise BrokerError(f"{self.name}: {type(error).__name__}: {error}") from error
        if failed:
            raise BatchError(failed)
