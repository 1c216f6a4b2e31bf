"""SQLiteReceiver: leases messages of one queue and settles them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from leveler.adapter import INFINITE, Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import BatchError, LeaseLost, NotStarted, ReceiverLost, Unsupported
from leveler.holdings import Holdings
from leveler_sqlite import claims, settlements
from leveler_sqlite.claims import Claim, Lease, Room
from leveler_sqlite.deliveries import deliver, receipts_of
from leveler_sqlite.envelope import encode
from leveler_sqlite.groups import Receipt
from leveler_sqlite.job import Job, Work
from leveler_sqlite.settlements import Burial, Return
from leveler_sqlite.writer import Writer


class SQLiteReceiver(Receiver):
    """
    Args:
        queue: where from.
        writer: of the file.
        clock: for waits and leases.
        capacity: most deliveries that it holds.
        dead: receive the dead letters of the queue instead; nothing is counted.
        on_closed: told when it is.
    """

    def __init__(
        self,
        queue: QueueSpec,
        writer: Writer,
        clock: Clock,
        *,
        capacity: int,
        dead: bool,
        on_closed: Callable[[SQLiteReceiver], object],
    ) -> None:
        self._spec = queue
        self._name = queue.dead_name if dead else queue.name
        self._dead = dead
        self._writer = writer
        self._clock = clock
        self._on_closed = on_closed
        self._holdings: Holdings[Receipt] = Holdings(capacity)
        self._most_bytes: float = INFINITE
        self._claiming: Job[Claim | None] | None = None
        self._receiving = asyncio.Lock()
        #: Rung when a wait may be over.
        self._bell = Bell(clock)
        self._closed = False
        #: As the file knows the queue; 0 until it was asked.
        self.queue = 0

    def ring(self) -> None:
        """Something may have become ready."""
        self._bell.ring()

    async def hold(self, limit: int) -> None:
        self._holdings.limit(limit)
        if limit < 1 and self._claiming is not None:
            self._withdraw(self._claiming)
        self._bell.ring()

    def bound_bytes(self, most: int) -> None:
        self._most_bytes = most
        self._bell.ring()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        async with self._receiving:
            return await self._receive(credit, self._clock.monotonic() + wait_seconds)

    async def _receive(self, credit: int, until: float) -> Sequence[Delivery]:
        while not self._holdings.stopped:
            self._bell.clear()
            looked_at, look_again = self._clock.monotonic(), until
            if (room := self._holdings.room(credit, self._writer.timeline.look()[1])) > 0:
                claim = await self._claim(room)
                if claim is None:
                    break
                if deliveries := self._hand_out(claim):
                    return deliveries
                looked_at, look_again = claim.at, claim.next_due
            else:
                look_again = self._holdings.first_end()
            if looked_at >= until:  # the last look comes after the wait, whatever the clock did meanwhile
                return []
            await self._wait(min(until, self._writer.timeline.monotonic(look_again)))
        await asyncio.sleep(0)  # whoever asks a stopped receiver again and again must not stop the event loop
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        receipts = [delivery.receipt for delivery in deliveries]
        await self._settle(deliveries, lambda transaction: settlements.complete(transaction, receipts))

    async def abandon(self, items: Sequence[Abandon]) -> None:
        returns = [Return(item.delivery.receipt, item.delay_seconds, item.counted) for item in items]
        deliveries = [item.delivery for item in items]
        await self._settle(deliveries, lambda transaction: settlements.give_back(transaction, returns))

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        name = self._spec.dead_name
        if self._dead:
            raise Unsupported(f"{name}: a dead letter cannot die again: complete it, or give it back")
        burials = [Burial(item.delivery.receipt, encode(item.delivery.message.dead(item.death))) for item in items]
        deliveries = [item.delivery for item in items]
        await self._settle(deliveries, lambda transaction: settlements.bury(transaction, burials, name))

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        self._check()
        receipts, seconds = [delivery.receipt for delivery in deliveries], self._spec.lease_seconds
        job = Job(
            lambda transaction: settlements.extend(transaction, receipts, seconds),
            synced=False,
            late=lambda answer: self._renew(deliveries, *answer),
        )
        lost, due = await self._writer.do(job)
        self._renew(deliveries, lost, due)
        _refuse(deliveries, lost)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self.hold(0)
        async with self._receiving:  # it gives back what has just come
            self._on_closed(self)

    async def _claim(self, count: int) -> Claim | None:
        """None = withdrawn, because the flow was stopped."""
        name, seconds, counted = self._name, self._spec.lease_seconds, not self._dead
        room = Room(count, self._most_bytes, alone=self._holdings.empty)
        self._claiming = Job(
            lambda transaction: claims.claim(transaction, name, room, lease_seconds=seconds, counted=counted),
            look=lambda transaction: claims.look(transaction, name),
            synced=False,  # a lease that a power cut takes away was over with it
            late=self._send_all_back,
        )
        try:
            claim = await self._writer.do(self._claiming)
        finally:
            self._claiming = None
        if claim is not None:
            self.queue = claim.queue
        return claim

    def _withdraw(self, claiming: Job[Claim | None]) -> None:
        """A receive that waits for the lock of the file ends at once; one that is being done has its answer soon."""
        if not claiming.future.done() and self._writer.withdraw(claiming):
            claiming.future.set_result(None)

    def _hand_out(self, claim: Claim) -> list[Delivery]:
        """The claimed messages; what there is no room for any more goes back."""
        lease = claim.lease
        if lease is None:
            return []
        leased_until = self._writer.timeline.monotonic(lease.due)
        deliveries: list[Delivery] = []
        claim.found.reverse()
        while claim.found:  # what has been cut out of a bundle need not be there twice
            deliveries += deliver(claim.found.pop(), lease, leased_until, dead=self._dead)
        room = self._holdings.room(len(deliveries), self._writer.timeline.look()[1])
        if room < len(deliveries):
            self._send_back([delivery.receipt for delivery in deliveries[room:]])
            del deliveries[room:]
        self._holdings.add([delivery.receipt for delivery in deliveries])
        return deliveries

    def _send_all_back(self, claim: Claim | None) -> None:
        if claim is not None and claim.lease is not None:
            self._send_back([receipt for run in claim.found for receipt in receipts_of(run, claim.lease)])

    def _send_back(self, receipts: Sequence[Receipt]) -> None:
        """Nobody has seen these: they go back uncounted. If that fails, their lease ends."""
        returns = [Return(receipt, 0.0, counted=False) for receipt in receipts]
        with suppress(NotStarted):
            answer = self._writer.submit(Job(lambda transaction: settlements.give_back(transaction, returns)))
            answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())

    async def _wait(self, until: float) -> None:
        """For the bell, or until that time."""
        self._writer.watch(True)
        try:
            await self._bell.wait(until)
        finally:
            self._writer.watch(False)

    async def _settle(self, deliveries: Sequence[Delivery], settle: Work[list[int]]) -> None:
        self._check()
        lost = await self._writer.do(Job(settle))
        self._holdings.remove([delivery.receipt for delivery in deliveries])
        if self._holdings.crowded:
            self._bell.ring()
        _refuse(deliveries, lost)

    def _renew(self, deliveries: Sequence[Delivery], lost: Sequence[int], due: float) -> None:
        leased_until = self._writer.timeline.monotonic(due)
        renewed: dict[Lease, Lease] = {}
        for place in set(range(len(deliveries))).difference(lost):
            receipt: Receipt = deliveries[place].receipt
            lease = receipt.lease
            receipt.lease = renewed.get(lease) or renewed.setdefault(lease, Lease(lease.queue, due, lease.token))
            deliveries[place].leased_until = leased_until

    def _check(self) -> None:
        if self._closed:
            raise ReceiverLost(f"the receiver of {self._name!r} is closed: make a new one")


def _refuse(deliveries: Sequence[Delivery], lost: Sequence[int]) -> None:
    if lost:
        raise BatchError({place: _lease_lost(deliveries[place]) for place in lost})


def _lease_lost(delivery: Delivery) -> LeaseLost:
    return LeaseLost(
        f"message {delivery.message.id}: the lease of attempt {delivery.attempt} is over, so somebody else may have it "
        "now; extend the lease in time, or make it longer"
    )
