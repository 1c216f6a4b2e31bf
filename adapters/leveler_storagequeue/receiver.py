"""StorageQueueReceiver: leases messages of one queue and settles them, a request for each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from azure.storage.queue import QueueMessage

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import BatchError, LeaseLost, LevelerError, ReceiverLost, Unsupported
from leveler.holdings import Holdings
from leveler_storagequeue.errors import Gone, Unanswered
from leveler_storagequeue.letter import read, text_of, text_of_dead
from leveler_storagequeue.looking import Looking
from leveler_storagequeue.receipt import Receipt
from leveler_storagequeue.sender import FOR_EVER
from leveler_storagequeue.service import Service

#: Of one request.
_MOST_RECEIVED: Final = 32
#: What a receive under way gets to end by itself when its receiver is closed.
_PATIENCE_SECONDS: Final = 1.0

Settle = Callable[[Any, Receipt, float], Awaitable[object]]


class StorageQueueReceiver(Receiver):
    """
    Args:
        queue: where from.
        service: to ask.
        clock: for waits and leases.
        capacity: most that is held.
        looking: how often an empty queue is looked at.
        base64_of_others: whether what others wrote is in base64.
        dead: whether these are the dead letters; nothing is counted then.
    """

    def __init__(
        self,
        queue: QueueSpec,
        service: Service,
        clock: Clock,
        *,
        capacity: int,
        looking: Looking,
        base64_of_others: bool,
        dead: bool,
    ) -> None:
        self._name = queue.dead_name if dead else queue.name
        self._lease = queue.lease_seconds
        self._service = service
        self._queue = service.queue(self._name)
        self._dead_name = queue.dead_name
        self._dead_queue = service.queue(queue.dead_name)
        self._clock = clock
        self._holdings: Holdings[Receipt] = Holdings(capacity)
        self._looking = looking
        self._base64_of_others = base64_of_others
        self._dead = dead
        self._receiving = asyncio.Lock()
        #: Rung when a wait may be over.
        self._bell = Bell(clock)
        self._closed = False

    async def hold(self, limit: int) -> None:
        self._holdings.limit(limit)
        self._bell.ring()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        until = self._clock.monotonic() + wait_seconds
        async with self._receiving:
            while not self._holdings.stopped:
                self._bell.clear()
                room = self._holdings.room(min(credit, _MOST_RECEIVED), self._clock.monotonic())
                if room and (deliveries := await self._look(room)):
                    return deliveries
                if (now := self._clock.monotonic()) >= until:
                    return []
                await self._bell.wait(min(until, now + self._looking.pause() if room else self._holdings.first_end()))
        await asyncio.sleep(0)  # whoever asks a stopped receiver again and again must not stop the event loop
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle(deliveries, deliveries, self._complete)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self._settle([item.delivery for item in items], items, self._abandon)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        if self._dead:
            raise Unsupported(f"{self._name}: a dead letter cannot die again: complete it, or give it back")
        await self._settle([item.delivery for item in items], items, self._dead_letter)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        async def one(place: int, due: float) -> None:
            delivery = deliveries[place]
            receipt = self._held(delivery)
            at = self._clock.monotonic()
            await self._update(receipt, math.ceil(self._lease), due)
            delivery.leased_until = receipt.leased_until = at + self._lease

        self._check()
        if failed := await self._service.each(len(deliveries), one):
            raise BatchError(failed)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self.hold(0)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._receiving.acquire()  # it gives back what has just come
        except TimeoutError:
            return

    async def _look(self, room: int) -> list[Delivery]:
        """What there is, up to so many."""
        at = self._clock.monotonic()
        came = await self._service.ask(self._take(room), self._name)
        self._looking.saw(len(came))
        deliveries = [self._delivery(raw, at + self._lease) for raw in came]
        self._holdings.add(delivery.receipt for delivery in deliveries)
        if deliveries and self._holdings.stopped:  # nobody has seen these; if it fails, their leases end
            unseen = [Abandon(delivery, counted=False) for delivery in deliveries]
            await self._each(deliveries, unseen, self._abandon)
            return []
        return deliveries

    async def _take(self, room: int) -> list[QueueMessage]:
        hidden = math.ceil(self._lease)
        pages = self._queue.receive_messages(messages_per_page=room, max_messages=room, visibility_timeout=hidden)
        return [raw async for raw in pages]

    def _delivery(self, raw: QueueMessage, leased_until: float) -> Delivery:
        count = raw.dequeue_count or 1
        message, returned = read(
            raw.content,
            received_at=raw.inserted_on or self._clock.now(),
            native_id=raw.id,
            dequeue_count=count,
            base64_of_others=self._base64_of_others,
        )
        attempt = 1 if self._dead else message.attempts + count - returned.given_back
        receipt = Receipt(raw.id, raw.pop_receipt or "", count, returned, leased_until)
        return Delivery(message, attempt, leased_until, receipt)

    async def _settle(self, deliveries: Sequence[Delivery], items: Sequence[Any], settle: Settle) -> None:
        self._check()
        if failed := await self._each(deliveries, items, settle):
            raise BatchError(failed)

    async def _each(
        self, deliveries: Sequence[Delivery], items: Sequence[Any], settle: Settle
    ) -> dict[int, LevelerError]:
        async def one(place: int, due: float) -> None:
            receipt = self._held(deliveries[place])
            try:
                await settle(items[place], receipt, due)
            except LeaseLost:
                self._forget(receipt)
                raise
            self._forget(receipt)

        return await self._service.each(len(deliveries), one)

    async def _complete(self, delivery: Delivery, receipt: Receipt, due: float) -> None:
        try:
            await self._delete(receipt, due)
        except Unanswered:
            receipt.perhaps_gone = True
            raise
        except Gone:
            if not receipt.perhaps_gone:
                raise

    async def _abandon(self, item: Abandon, receipt: Receipt, due: float) -> None:
        """In place. What does not count is written into the message, since the service's count only rises."""
        text = None
        if not item.counted and not self._dead:
            text = text_of(item.delivery.message, receipt.returned.again(receipt.dequeue_count))
        await self._update(receipt, math.ceil(item.delay_seconds), due, text)

    async def _dead_letter(self, item: DeadLetter, receipt: Receipt, due: float) -> None:
        """The copy first, once: what is tried again has one already."""
        if not receipt.has_copy:
            text = text_of_dead(item.delivery.message, item.death)
            await self._service.ask(self._dead_queue.send_message(text, time_to_live=FOR_EVER), self._dead_name, due)
            receipt.has_copy = True
        await self._complete(item.delivery, receipt, due)

    async def _delete(self, receipt: Receipt, due: float) -> None:
        await self._service.ask(self._queue.delete_message(receipt.id, receipt.pop_receipt), self._name, due)

    async def _update(self, receipt: Receipt, hidden_seconds: int, due: float, text: str | None = None) -> None:
        request = self._queue.update_message(
            receipt.id, receipt.pop_receipt, visibility_timeout=hidden_seconds, content=text
        )
        updated = await self._service.ask(request, self._name, due)
        receipt.pop_receipt = updated.pop_receipt or receipt.pop_receipt

    def _held(self, delivery: Delivery) -> Receipt:
        receipt: Receipt = delivery.receipt
        if not self._holdings.has(receipt, self._clock.monotonic()):
            self._forget(receipt)
            raise LeaseLost(f"the lease of message {delivery.message.id!r} has ended: it is not ours to settle")
        return receipt

    def _forget(self, receipt: Receipt) -> None:
        self._holdings.remove([receipt])
        self._bell.ring()

    def _check(self) -> None:
        if self._closed:
            raise ReceiverLost(f"a receiver of queue {self._name!r} has been closed: make a new one")
