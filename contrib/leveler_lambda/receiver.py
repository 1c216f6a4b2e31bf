"""EventReceiver: hands out the records of an event, and notes what becomes of them."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping, Sequence

from leveler_sqs import SQSAdapter
from leveler_sqs.receipt import Receipt
from leveler_sqs.source import Change

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import AccessDenied, BatchError, LeaseLost, LevelerError, ReceiverLost, Unsupported
from leveler.events import log
from leveler.message import Message
from leveler_lambda.batch import Batch, Record
from leveler_lambda.opening import Opening


class Mailbox:
    """What has come for one queue in this invocation."""

    def __init__(self, batch: Batch, deliveries: Sequence[Delivery]) -> None:
        self.batch = batch
        self.waiting = deque(deliveries)


class EventReceiver(Receiver):
    """
    Args:
        queue: where from.
        mailbox: of this invocation.
        sqs: opened when there is something to say to SQS itself.
        clock: for waits and leases.
        capacity: most deliveries that it hands out.
    """

    def __init__(
        self, queue: QueueSpec, mailbox: Mailbox, sqs: Opening[SQSAdapter], clock: Clock, capacity: int
    ) -> None:
        self._queue = queue
        self._mailbox = mailbox
        self._sqs = sqs
        self._clock = clock
        self._capacity = self._limit = capacity
        self._held: set[Record] = set()
        self._bell = Bell(clock)
        self._closed = False

    async def hold(self, limit: int) -> None:
        self._limit = min(limit, self._capacity)
        self._bell.ring()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        until = self._clock.monotonic() + wait_seconds
        while True:
            self._bell.clear()
            room = min(credit, self._limit - len(self._held), len(self._mailbox.waiting))
            if room > 0:
                deliveries = [self._mailbox.waiting.popleft() for _ in range(room)]
                self._held.update(delivery.receipt for delivery in deliveries)
                return deliveries
            if self._limit < 1 or self._clock.monotonic() >= until:
                await asyncio.sleep(0)
                return []
            await self._bell.wait(until)

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        failed = self._late(deliveries)
        self._settle([one for place, one in enumerate(deliveries) if place not in failed], done=True)
        _refuse(failed)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        failed = self._late([item.delivery for item in items])
        for place, item in enumerate(items):
            if not item.counted:
                failed.setdefault(
                    place, Unsupported(f"{item.delivery}: AWS Lambda cannot give back without counting; count it")
                )
        back = [item for place, item in enumerate(items) if place not in failed]
        await self._delay(back)
        self._settle([item.delivery for item in back], done=False)
        _refuse(failed)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        failed = self._late([item.delivery for item in items])
        letters = {
            place: item.delivery.message.dead(item.death) for place, item in enumerate(items) if place not in failed
        }
        failed |= await self._bury(letters)
        self._settle([item.delivery for place, item in enumerate(items) if place not in failed], done=True)
        _refuse(failed)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """They last as long as the function may run, which is what they have from the start."""
        _refuse(self._late(deliveries))

    async def close(self) -> None:
        self._closed = True
        await self.hold(0)

    async def _bury(self, letters: Mapping[int, Message]) -> dict[int, LevelerError]:
        if not letters:
            return {}
        sqs = await self._sqs.opened()
        return await sqs.post(self._queue, dead=True).send(letters)

    async def _delay(self, items: Sequence[Abandon]) -> None:
        """Let them come back when they are asked to. Who may not do that gets them when their visibility ends, and so
        does who has no time left."""
        changes = [
            Change(_receipt(item.delivery), math.ceil(item.delay_seconds)) for item in items if item.delay_seconds > 0
        ]
        if not changes:
            return
        try:
            source = (await self._sqs.opened()).source(self._queue, dead=False)
            for start in range(0, len(changes), 10):
                for error in (await source.change(changes[start : start + 10])).values():
                    raise error
        except AccessDenied as error:
            log.warning("%s: retries come when the queue's visibility timeout ends: %s", self._queue.name, error)
        except LevelerError as error:
            log.debug("%s: the delay of a retry was not set: %s", self._queue.name, error)

    def _settle(self, deliveries: Sequence[Delivery], *, done: bool) -> None:
        for delivery in deliveries:
            self._held.discard(delivery.receipt)
            self._mailbox.batch.settle(delivery.receipt, done=done)
        self._bell.ring()

    def _late(self, deliveries: Sequence[Delivery]) -> dict[int, LevelerError]:
        self._check()
        now = self._clock.monotonic()
        return {
            place: LeaseLost(f"{delivery}: the function's time is over, or it is settled")
            for place, delivery in enumerate(deliveries)
            if delivery.leased_until <= now or delivery.receipt not in self._held
        }

    def _check(self) -> None:
        if self._closed:
            raise ReceiverLost(f"queue {self._queue.name!r}: the invocation is over")


def _receipt(delivery: Delivery) -> Receipt:
    record: Record = delivery.receipt
    return Receipt(record.handle, 0.0, delivery.leased_until)


def _refuse(failed: dict[int, LevelerError]) -> None:
    if failed:
        raise BatchError(failed)
