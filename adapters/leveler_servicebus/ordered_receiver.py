"""OrderedReceiver: locks sessions of one queue and settles their messages, in order within each key."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from leveler.adapter import Abandon, DeadLetter, Delivery, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import BatchError, LeaseLost, LevelerError, ReceiverLost
from leveler.holdings import Holdings
from leveler_servicebus.links import Status
from leveler_servicebus.receipt import Receipt
from leveler_servicebus.session import Session, SessionReceipt
from leveler_servicebus.sessions import Sessions
from leveler_servicebus.settlement import alike, settle

#: Between two looks at whether one has looked for long enough.
_PAUSE_SECONDS: Final = 0.05

Failures = dict[int, LevelerError]
Receipts = dict[int, SessionReceipt]


class OrderedReceiver(Receiver):
    """
    Args:
        name: of the queue.
        sessions: makes its sessions, given what is to be told when something has changed.
        clock: for waits.
        holdings: nothing yet.
    """

    def __init__(
        self, name: str, sessions: Callable[[Callable[[], object]], Sessions], clock: Clock, holdings: Holdings[Receipt]
    ) -> None:
        self._name = name
        self._clock = clock
        self._holdings = holdings
        #: Rung when a receive under way has to look again.
        self._bell = Bell(clock)
        self._sessions = sessions(self._bell.ring)
        self._closed = False

    async def hold(self, limit: int) -> None:
        self._holdings.limit(limit)
        self._bell.ring()
        if limit < 1:
            await self._sessions.dismiss()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        since = self._clock.monotonic()
        until = since + wait_seconds
        while not self._holdings.stopped:
            self._bell.clear()
            now = self._clock.monotonic()
            room = self._holdings.room(credit, now)
            if deliveries := self._sessions.hand_out(room):
                self._holdings.add(delivery.receipt for delivery in deliveries)
                return deliveries
            self._sessions.ask_for(room)
            if now >= until and (not room or self._sessions.has_looked(since)):
                return []
            await self._bell.wait(max(until if room else min(until, self._holdings.first_end()), now + _PAUSE_SECONDS))
        self._check()
        await asyncio.sleep(0)  # whoever asks a stopped receiver again and again must not stop the event loop
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        async def complete(session: Session, receipts: Receipts) -> Failures:
            return await self._settle(session, receipts, "completed")

        await self._by_session(deliveries, complete)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        """A delay keeps the session from others. What must not count goes back with its session, which ends for it."""

        async def abandon(session: Session, receipts: Receipts) -> Failures:
            session.rest(max(items[place].delay_seconds for place in receipts))
            counted = {place: receipt for place, receipt in receipts.items() if items[place].counted}
            if len(counted) < len(receipts) or session.waiting:
                session.end()
            self._forget(session, [receipt for place, receipt in receipts.items() if place not in counted])
            return await self._settle(session, counted, "abandoned")

        await self._by_session([item.delivery for item in items], abandon)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        async def bury(session: Session, receipts: Receipts) -> Failures:
            failed: Failures = {}
            for (reason, description), some in alike(receipts, items).items():
                failed |= await self._settle(session, some, "suspended", reason, description)
            return failed

        await self._by_session([item.delivery for item in items], bury)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        async def renew(session: Session, receipts: Receipts) -> Failures:
            try:
                await session.renew()
            except LevelerError as error:
                self._lose_if_lost(session, error)
                return dict.fromkeys(receipts, error)
            for place, receipt in receipts.items():
                deliveries[place].leased_until = receipt.leased_until
            return {}

        await self._by_session(deliveries, renew)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._holdings.limit(0)
            self._bell.ring()
            await self._sessions.close()

    async def _by_session(
        self, deliveries: Sequence[Delivery], verb: Callable[[Session, Receipts], Awaitable[Failures]]
    ) -> None:
        """Sessions are links of their own, and so do not wait for each other."""
        self._check()
        now = self._clock.monotonic()
        held: defaultdict[Session, Receipts] = defaultdict(dict)
        failed: Failures = {}
        for place, delivery in enumerate(deliveries):
            receipt: SessionReceipt = delivery.receipt
            if self._holdings.has(receipt, now):
                held[receipt.session][place] = receipt
            else:
                failed[place] = LeaseLost(
                    f"{delivery}: its lease, or the link to its session, is lost: not ours to settle"
                )
        for answer in await asyncio.gather(*(verb(session, receipts) for session, receipts in held.items())):
            failed |= answer
        if failed:
            raise BatchError(failed)

    async def _settle(
        self, session: Session, receipts: Receipts, status: Status, reason: str = "", description: str = ""
    ) -> Failures:
        async def act(some: Sequence[Receipt]) -> None:
            tokens = [receipt.token for receipt in some]
            await session.link.settle(status, tokens, reason=reason, description=description)

        failed = await settle(receipts, act)
        self._forget(session, [receipt for place, receipt in receipts.items() if place not in failed])
        for place, error in failed.items():
            receipts[place].in_doubt = False  # who asks again has lost it with its link
            self._lose_if_lost(session, error)
        return failed

    def _forget(self, session: Session, receipts: Sequence[SessionReceipt]) -> None:
        self._holdings.remove(receipts)
        session.settled(receipts)
        self._bell.ring()

    def _lose_if_lost(self, session: Session, error: LevelerError) -> None:
        if isinstance(error, LeaseLost) or not session.link.is_open:
            session.lose()
            self._bell.ring()

    def _check(self) -> None:
        if self._closed:
            raise ReceiverLost(f"a receiver of queue {self._name!r} has been closed: make a new one")
