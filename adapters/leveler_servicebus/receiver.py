"""ServiceBusReceiver: locks messages of one queue and settles them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from azure.servicebus import ServiceBusReceivedMessage

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import BatchError, BrokerUnavailable, LeaseLost, LevelerError, ReceiverLost, Unsupported
from leveler.holdings import Holdings
from leveler_servicebus.appetite import Appetite
from leveler_servicebus.clocks import Clocks
from leveler_servicebus.envelope import open_up
from leveler_servicebus.links import Settling, Status, Taking, Unread
from leveler_servicebus.receipt import Receipt
from leveler_servicebus.sender import ServiceBusSender
from leveler_servicebus.settlement import alike, settle

log: Final = logging.getLogger("leveler.servicebus")

#: How long the library waits at a time: nothing else ends its wait.
_SLICE_SECONDS: Final = 0.5
#: A look without a wait still has to go there and back.
_SHORTEST_SECONDS: Final = 0.2
#: What a receive under way gets to end by itself when its receiver is closed.
_PATIENCE_SECONDS: Final = 2.0

_PASSED_OVER: Final = (
    "%s: a dead letter cannot be read and is passed over; it is locked for %g s now, and after that a purge removes it"
)


class ServiceBusReceiver(Receiver):
    """
    Args:
        queue: where from.
        taking: takes messages.
        settling: settles them.
        copies: sends what cannot be given back as it is.
        clock: for waits and leases.
        clocks: what the service's clock says.
        holdings: nothing yet.
        lock_seconds: how long a lock lasts in this queue.
        silence_seconds: after so long it asks whether anybody is there.
        dead: whether these are the dead letters; nothing is counted then.
    """

    def __init__(
        self,
        queue: QueueSpec,
        taking: Taking,
        settling: Settling,
        copies: ServiceBusSender,
        clock: Clock,
        *,
        clocks: Clocks,
        holdings: Holdings[Receipt],
        lock_seconds: float,
        silence_seconds: float,
        dead: bool,
    ) -> None:
        self._name = queue.dead_name if dead else queue.name
        self._taking = taking
        self._settling = settling
        self._copies = copies
        self._clock = clock
        self._clocks = clocks
        self._holdings = holdings
        self._lock = lock_seconds
        self._silence = silence_seconds
        self._dead = dead
        self._appetite = Appetite()
        self._heard_at = clock.monotonic()
        self._receiving = asyncio.Lock()
        #: Rung when a wait for room may be over.
        self._bell = Bell(clock)
        self._closed = False

    async def hold(self, limit: int) -> None:
        self._holdings.limit(limit)
        self._bell.ring()
        if limit < 1 and not self._receiving.locked():  # else the receive under way does it
            await self._taking.stop()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        async with self._receiving:
            deliveries = await self._receive(credit, self._clock.monotonic() + wait_seconds)
            if self._holdings.stopped:
                await self._taking.stop()
        await asyncio.sleep(0)  # whoever asks a stopped receiver again and again must not stop the event loop
        return deliveries

    async def _receive(self, credit: int, until: float) -> Sequence[Delivery]:
        due = until + self._taking.deadline_seconds
        while not self._holdings.stopped:
            self._bell.clear()
            now = self._clock.monotonic()
            if (room := self._holdings.room(credit, now)) > 0:
                try:
                    if deliveries := await self._take(room, until - now):
                        return deliveries
                except Unread:
                    if not self._dead:
                        raise
                    log.warning(_PASSED_OVER, self._name, self._lock)
                    until = min(due, max(until, self._clock.monotonic() + _SLICE_SECONDS))  # what is behind it, too
            else:
                await self._bell.wait(min(until, self._holdings.first_end()))
            if self._clock.monotonic() >= until:
                break
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle(deliveries, self._as("completed"))

    async def abandon(self, items: Sequence[Abandon]) -> None:
        """In place where the service can; else a copy is sent first, which waits there."""
        self._check()
        failed: dict[int, LevelerError] = {}
        held = self._held([item.delivery for item in items], failed)
        copied = {place: one for place, one in held.items() if not self._dead and _takes_a_copy(items[place])}
        back = {place: one for place, one in held.items() if place not in copied}
        failed |= await self._each(back, self._as("abandoned"))
        failed |= await self._replace(copied, items)
        _refuse(failed)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        if self._dead:
            raise Unsupported(f"{self._name}: a dead letter cannot die again: complete it, or give it back")
        self._check()
        failed: dict[int, LevelerError] = {}
        held = self._held([item.delivery for item in items], failed)
        away: LevelerError | None = None
        due = self._clock.monotonic() + self._settling.deadline_seconds
        for (reason, description), receipts in alike(held, items).items():
            if away is None and self._clock.monotonic() > due:
                away = BrokerUnavailable(f"{self._name}: not begun within the deadline: nothing was done")
            if away is not None:  # the rest would only wait for it as well
                failed |= dict.fromkeys(receipts, away)
                continue
            wrong = await self._each(receipts, self._as("suspended", reason, description))
            away = next((error for error in wrong.values() if isinstance(error, BrokerUnavailable)), None)
            failed |= wrong
        _refuse(failed)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        async def renew(receipts: Sequence[Receipt]) -> None:
            at = self._clock.monotonic()
            await self._settling.renew([receipt.token for receipt in receipts])
            for receipt in receipts:
                receipt.leased_until = at + self._lock

        self._check()
        failed: dict[int, LevelerError] = {}
        held = self._held(deliveries, failed)
        doubts = {place: receipt.in_doubt for place, receipt in held.items()}
        failed |= await settle(held, renew)
        for place, receipt in held.items():
            deliveries[place].leased_until = receipt.leased_until
            receipt.in_doubt = doubts[place]  # a renewal that was not answered leaves none: it may be done twice
        _refuse(failed)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._holdings.limit(0)
        self._bell.ring()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._receiving.acquire()
        except TimeoutError:
            pass
        await asyncio.gather(self._taking.drop(), self._settling.drop())

    async def _take(self, room: int, wait_seconds: float) -> list[Delivery]:
        if not (self._taking.is_open and self._settling.is_open):
            await asyncio.gather(self._taking.open(), self._settling.open())
        asked = self._appetite.ask(room)
        came = await self._taking.take(asked, max(_SHORTEST_SECONDS, min(wait_seconds, _SLICE_SECONDS)))
        now = self._clock.monotonic()
        self._appetite.got(asked, len(came), self._waited(came[-1]) if came else 0.0)
        if came:
            self._heard_at = now
        elif now - self._heard_at > self._silence:
            await self._probe()
        deliveries = [self._delivery(raw, now) for raw in came]
        # The lock of one that has lain about for too long is over already.
        deliveries = [delivery for delivery in deliveries if delivery.leased_until > now]
        self._holdings.add(delivery.receipt for delivery in deliveries)
        return deliveries

    async def _probe(self) -> None:
        """Whether there is still somebody at the other end, of the link that settles, too: it idles as well.

        The library hears a connection end, and nothing else: it lets no idle timeout be set, and would not count the
        empty frames that keep a connection alive. What copies are sent over cannot be asked anything.
        """
        asked = await asyncio.gather(self._taking.probe(), self._settling.probe(), return_exceptions=True)
        if wrong := [error for error in asked if error is not None]:
            await self._copies.doubt()
            raise wrong[0]
        self._heard_at = self._clock.monotonic()

    def _waited(self, raw: ServiceBusReceivedMessage) -> float:
        """How long it had been in the queue when it was locked, by the service's clock alone."""
        if raw.locked_until_utc is None or raw.enqueued_time_utc is None:
            return 0.0
        return (raw.locked_until_utc - raw.enqueued_time_utc).total_seconds() - self._lock

    def _delivery(self, raw: ServiceBusReceivedMessage, now: float) -> Delivery:
        wall = self._clock.now()
        left = self._lock
        if raw.locked_until_utc is not None:
            left = self._clocks.lock_seen(raw.locked_until_utc, self._lock, wall)
        message = open_up(raw, wall)
        attempt = 1 if self._dead else message.attempts + (raw.delivery_count or 0) + 1
        receipt = Receipt(raw.lock_token, raw.sequence_number or 0, now + left)
        return Delivery(message, attempt, receipt.leased_until, receipt)

    async def _settle(
        self, deliveries: Sequence[Delivery], act: Callable[[Sequence[Receipt]], Awaitable[None]]
    ) -> None:
        self._check()
        failed: dict[int, LevelerError] = {}
        failed |= await self._each(self._held(deliveries, failed), act)
        _refuse(failed)

    def _as(
        self, status: Status, reason: str = "", description: str = ""
    ) -> Callable[[Sequence[Receipt]], Awaitable[None]]:
        async def act(receipts: Sequence[Receipt]) -> None:
            tokens = [receipt.token for receipt in receipts]
            await self._settling.settle(status, tokens, reason=reason, description=description)

        return act

    async def _replace(self, held: Mapping[int, Receipt], items: Sequence[Abandon]) -> dict[int, LevelerError]:
        """Send a confirmed copy of each, once, then complete those whose copy is there."""
        places = [place for place, receipt in held.items() if not receipt.has_copy]
        failed: dict[int, LevelerError] = {}
        try:
            await self._copies.send([items[place].copy(self._clock.now()) for place in places])
        except BatchError as error:
            failed = {places[index]: one for index, one in error.failed.items()}
        for place in set(places).difference(failed):
            held[place].has_copy = True
        rest = {place: receipt for place, receipt in held.items() if place not in failed}
        return failed | await self._each(rest, self._as("completed"))

    async def _each(
        self, held: Mapping[int, Receipt], act: Callable[[Sequence[Receipt]], Awaitable[None]]
    ) -> dict[int, LevelerError]:
        failed = await settle(held, act)
        for place, receipt in held.items():
            if place not in failed or isinstance(failed[place], LeaseLost):
                self._holdings.remove([receipt])
        self._bell.ring()
        return failed

    def _held(self, deliveries: Sequence[Delivery], failed: dict[int, LevelerError]) -> dict[int, Receipt]:
        """Those that are still ours, by place; the others are `failed`."""
        now = self._clock.monotonic()
        held: dict[int, Receipt] = {}
        for place, delivery in enumerate(deliveries):
            if self._holdings.has(delivery.receipt, now):
                held[place] = delivery.receipt
            else:
                failed[place] = LeaseLost(
                    f"the lease of message {delivery.message.id!r} has ended: it is not ours to settle"
                )
        return held

    def _check(self) -> None:
        if self._closed:
            raise ReceiverLost(f"a receiver of queue {self._name!r} has been closed: make a new one")


def _takes_a_copy(item: Abandon) -> bool:
    return item.delay_seconds > 0 or not item.counted


def _refuse(failed: Mapping[int, LevelerError]) -> None:
    if failed:
        raise BatchError(failed)
