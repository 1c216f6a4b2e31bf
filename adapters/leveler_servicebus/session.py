"""Session: one key that is ours for a while, with what has been fetched of it and what is handed out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from azure.servicebus import ServiceBusReceivedMessage

from leveler.adapter import INFINITE, Delivery
from leveler.bell import Bell
from leveler.clock import Clock
from leveler_servicebus.clocks import Clocks
from leveler_servicebus.envelope import open_up
from leveler_servicebus.receipt import Receipt
from leveler_servicebus.session_link import SessionLink
from leveler_servicebus.settlement import settle

#: What is known to be there comes at once.
_FETCH_SECONDS: Final = 1.0
#: Nobody asked for what has been fetched: others may want it.
_LINGER_SECONDS: Final = 0.5
#: More of one key need not be known of.
_MOST_SEEN: Final = 32


class SessionReceipt(Receipt, eq=False, kw_only=True):
    """One delivery of a session: the lock is the session's."""

    session: Session


class Session:
    """
    A renewal is for all of its messages, and so is the loss of its lock. Nothing is fetched while anything is out.

    Args:
        link: which has locked it.
        clock: for leases.
        clocks: what the service's clock says.
        lock_seconds: how long the lock lasts.
        locked_until: in the service's time.
    """

    def __init__(
        self, link: SessionLink, clock: Clock, clocks: Clocks, lock_seconds: float, locked_until: datetime | None
    ) -> None:
        self.link = link
        self._clock = clock
        self._lock = lock_seconds
        now = clock.monotonic()
        left = lock_seconds if locked_until is None else clocks.lock_seen(locked_until, lock_seconds, clock.now())
        self._leased_until = now + left
        #: Fetched, and not handed out.
        self.waiting: deque[Delivery] = deque()
        self._linger_until = INFINITE
        #: Handed out, and not settled.
        self.out: set[SessionReceipt] = set()
        #: Nobody may have its messages before.
        self._rests_until = now
        #: It has to be given up for what is locked in it to be free.
        self.must_end = False
        self._is_cut = False
        #: Rung when something of this has changed.
        self._bell = Bell(clock)

    @property
    def goes_on(self) -> bool:
        """Whether more may be taken from it."""
        return not self.must_end and self._clock.monotonic() < self._leased_until

    @property
    def rests(self) -> bool:
        """Whether it is only kept from others."""
        return not self.out and self._clock.monotonic() < self._rests_until

    # -- what comes

    async def fetch(self, count: int) -> int:
        """Take up to so many; how many there were."""
        if self._clock.monotonic() > self._leased_until - 0.75 * self._lock:  # they get all of it, or nearly
            await self.renew()
        came = await self.link.take(count, _FETCH_SECONDS)
        self.waiting.extend(self._delivery(raw) for raw in came)
        self._linger_until = self._clock.monotonic() + _LINGER_SECONDS
        return len(came)

    async def count(self) -> int:
        """How many more there are, of the next ones."""
        return await self.link.count(_MOST_SEEN)

    def hand_out(self, most: int) -> list[Delivery]:
        """Up to so many, in order; none while others are out."""
        if self.out or self.must_end:
            return []
        handed = [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]
        for delivery in handed:
            delivery.leased_until = self._leased_until
            self.out.add(delivery.receipt)
        return handed

    def _delivery(self, raw: ServiceBusReceivedMessage) -> Delivery:
        message = open_up(raw, self._clock.now())
        receipt = SessionReceipt(raw.lock_token, raw.sequence_number or 0, self._leased_until, session=self)
        return Delivery(message, message.attempts + (raw.delivery_count or 0) + 1, receipt.leased_until, receipt)

    # -- what goes

    def settled(self, receipts: Iterable[SessionReceipt]) -> None:
        """They are out no more."""
        self.out.difference_update(receipts)
        self._bell.ring()

    def rest(self, seconds: float) -> None:
        """A message has been given back: nobody may have it, and so nothing behind it, for so long."""
        self._rests_until = max(self._rests_until, self._clock.monotonic() + seconds)

    def end(self) -> None:
        """Give up, as soon as nothing is out any more, with what has been fetched."""
        self.must_end = True
        self.waiting.clear()
        self._bell.ring()

    def cut(self) -> None:
        """Give up now, whatever is out."""
        self._is_cut = True
        self.end()

    def lose(self) -> None:
        """The lock is not ours any more."""
        for receipt in self.out:
            receipt.leased_until = 0.0
        self.cut()

    async def renew(self) -> None:
        """Start the lock anew."""
        at = self._clock.monotonic()
        await self.link.renew_session()
        self._leased_until = at + self._lock
        for receipt in (*self.out, *(delivery.receipt for delivery in self.waiting)):
            receipt.leased_until = self._leased_until
        self._bell.ring()

    async def over(self) -> None:
        """Wait until all that was fetched is settled, and its rest is over, or its lock is."""
        while (now := self._clock.monotonic()) < self._leased_until and not self._is_cut:
            self._bell.clear()
            if not self.out and self.waiting and now >= self._linger_until:
                self.end()
            if not (self.out or self.waiting):
                if now >= self._rests_until:
                    return
                if now > self._leased_until - 0.5 * self._lock:
                    await self.renew()
            await self._bell.wait(self._due())

    async def give_back(self) -> None:
        """As a crash would: what is out has counted."""
        receipts: dict[int, Receipt] = dict(enumerate(self.out))
        self.lose()
        await settle(receipts, lambda some: self.link.settle("abandoned", [one.token for one in some]))

    def _due(self) -> float:
        """When something is to be done, whatever happens."""
        if self.out:
            return self._leased_until
        return self._linger_until if self.waiting else min(self._rests_until, self._leased_until - 0.5 * self._lock)
