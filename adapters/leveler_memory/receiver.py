"""MemoryReceiver: messages out of a queue, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leveler.adapter import INFINITE, Abandon, DeadLetter, Delivery, Receiver
from leveler.clock import Clock
from leveler.errors import BatchError, LevelerError, ReceiverLost, Unsupported
from leveler.message import Message
from leveler_memory.entry import Entry
from leveler_memory.leases import Owner, lease_lost
from leveler_memory.personality import Personality
from leveler_memory.queue import MemoryQueue


class MemoryReceiver(Receiver):
    """Receives from one queue, or from its dead letters. It keeps to the queue that it found at its first verb.

    Args:
        find: the queue; raises `QueueNotFound`.
        capacity: the most that `hold` allows.
    """

    def __init__(
        self, find: Callable[[], MemoryQueue], personality: Personality, clock: Clock, *, capacity: int
    ) -> None:
        self.owner = Owner()
        self._find = find
        self._personality = personality
        self._clock = clock
        self._capacity = capacity
        self._limit = capacity
        self._most_bytes = INFINITE
        self._queue: MemoryQueue | None = None
        self._closed = False
        # What the `receive` under way asks for.
        self._asked = 0

    async def hold(self, limit: int) -> None:
        queue, now = self._begin()
        self._limit = min(limit, self._capacity)
        if self._limit <= 0:
            self._miss(queue, now)
        queue.waiters.wake()

    def bound_bytes(self, most: int) -> None:
        self._most_bytes = most
        if self._asked and self._queue is not None:
            self._queue.waiters.wake()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        queue, now = self._begin()
        deadline = now + wait_seconds
        while self._limit > 0:
            count = min(credit, self._limit - self.owner.held, self._personality.capabilities.max_batch)
            if count > 0 and (deliveries := self._take(queue, count, now)):
                return deliveries
            if now >= deadline:
                break
            await self._wait(queue, count, min(deadline, queue.next_due()) - now)
            queue, now = self._begin()
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        queue, now = self._begin(len(deliveries))
        was_full = self.owner.held >= self._limit
        failed = queue.complete(deliveries, self.owner, now)
        if was_full:
            queue.waiters.wake()
        if failed:
            raise BatchError(failed)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        queue, now = self._begin(len(items))
        failed: dict[int, LevelerError] = {}
        for index, item in enumerate(items):
            entry: Entry = item.delivery.receipt
            if queue.leases.of(entry, self.owner) is None:
                failed[index] = lease_lost(item.delivery)
            elif refusal := self._personality.refusal(item):
                failed[index] = refusal
            elif self._personality.copies(item):
                queue.replace(entry, self._copy(item), now)
            else:
                queue.give_back(entry, now, delay_seconds=item.delay_seconds, counted=item.counted)
        if failed:
            raise BatchError(failed)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        queue, now = self._begin(len(items))
        if queue.dead is None:
            raise Unsupported(f"{queue.name!r} holds dead letters: complete one or give it back, it cannot die again")
        failed: dict[int, LevelerError] = {}
        for index, item in enumerate(items):
            entry: Entry = item.delivery.receipt
            if queue.leases.of(entry, self.owner) is None:
                failed[index] = lease_lost(item.delivery)
                continue
            queue.dead.send([self._carried(entry.message.dead(item.death))], now)
            queue.remove(entry, now)
        if failed:
            raise BatchError(failed)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        queue, now = self._begin(len(deliveries))
        if not self._personality.capabilities.extend:
            raise Unsupported(f"{self._personality.name} cannot extend a lease: let the timeout be below the lease")
        failed: dict[int, LevelerError] = {}
        until = queue.leases.next_end(now)
        for index, delivery in enumerate(deliveries):
            entry: Entry = delivery.receipt
            lease = queue.leases.of(entry, self.owner)
            if lease is None:
                failed[index] = lease_lost(delivery)
            elif until - lease.since > (longest := self._personality.capabilities.max_lease_seconds):
                failed[index] = Unsupported(f"{delivery}: kept for {longest:g} s in all, it cannot be extended again")
            else:
                queue.leases.extend(entry, until)
                delivery.leased_until = until
        if failed:
            raise BatchError(failed)

    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        queue, now = self._begin(len(deliveries))
        if self._personality.capabilities.solos != "marked":
            await super().mark_solo(deliveries)
        failed: dict[int, LevelerError] = {}
        until = queue.leases.next_end(now)
        for index, delivery in enumerate(deliveries):
            entry: Entry = delivery.receipt
            if queue.leases.of(entry, self.owner) is None:
                failed[index] = lease_lost(delivery)
            else:
                entry.solo = True
                queue.leases.extend(entry, until)
                delivery.leased_until = until
        if failed:
            raise BatchError(failed)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        queue = self._queue
        if queue is None or queue.dropped:
            return
        now = queue.catch_up()
        self._miss(queue, now)
        if self._personality.capabilities.lease != "timed":
            queue.surrender(self.owner, now)
        queue.waiters.wake()

    def _begin(self, count: int = 0) -> tuple[MemoryQueue, float]:
        """The queue and the time that a verb keeps to."""
        if self._closed:
            raise ReceiverLost("this receiver is closed: make a new one")
        self._personality.check_batch(count)
        if self._queue is None:
            self._queue = self._find()
        if self._queue.dropped:
            raise ReceiverLost(f"queue {self._queue.name!r} was dropped: make a new receiver")
        self._queue.asker = self._clock
        return self._queue, self._queue.catch_up()

    def _take(self, queue: MemoryQueue, count: int, now: float) -> list[Delivery]:
        if self._most_bytes == INFINITE:
            return queue.take(count, self.owner, now)
        return queue.take_within(self._most_bytes, count, self.owner, now)

    async def _wait(self, queue: MemoryQueue, asked: int, seconds: float) -> None:
        self._asked = asked
        try:
            await queue.waiters.wait(seconds)
        finally:
            self._asked = 0

    def _miss(self, queue: MemoryQueue, now: float) -> None:
        """The answer to the `receive` under way is not taken any more, but on some brokers it has been written."""
        if self._asked > 0 and self._personality.counts_unarrived:
            queue.miss(self._asked, now)
            self._asked = 0

    def _copy(self, item: Abandon) -> Message:
        return self._carried(item.copy(self._clock.now()))

    def _carried(self, message: Message) -> Message:
        carry = self._personality.wire.carry
        return message if carry is None else carry(message, self._clock.now())
