"""RabbitMQReceiver: takes messages of one queue, keeps their leases, and settles them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import BatchError, LeaseLost, LevelerError, ReceiverLost, Unsupported
from leveler.message import Message
from leveler_rabbitmq.connections import Connections
from leveler_rabbitmq.copies import Copies, marked, outlived
from leveler_rabbitmq.feed import Arrival
from leveler_rabbitmq.holdings import Holdings
from leveler_rabbitmq.post import Post
from leveler_rabbitmq.source import Source


class RabbitMQReceiver(Receiver):
    """
    Args:
        queue: where from.
        connections: over which.
        post: for copies.
        clock: for leases and waits.
        capacity: most deliveries that it holds.
        dead: receive the dead letters instead; nothing is counted.
        longest_seconds: how long the broker lets anybody hold a message.
    """

    def __init__(
        self,
        queue: QueueSpec,
        connections: Connections,
        post: Post,
        clock: Clock,
        *,
        capacity: int,
        dead: bool,
        longest_seconds: float,
    ) -> None:
        self._queue = queue
        self._dead = dead
        self._clock = clock
        self._capacity = capacity
        self._limit = capacity
        self._longest_seconds = longest_seconds
        self._bell = Bell(clock)
        self._copies = Copies(queue, post, clock)
        self._holdings = Holdings(clock, queue.lease_seconds, on_overdue=self._give_back_overdue)
        self._source = Source(
            queue,
            connections,
            self._copies,
            clock,
            dead=dead,
            stale_seconds=longest_seconds / 2,
            held=lambda: self._holdings.count,
            on_change=self._changed,
        )

    async def hold(self, limit: int) -> None:
        self._check()
        self._limit = max(0, min(limit, self._capacity))
        self._bell.ring()
        await self._source.allow(self._limit)

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        until = self._clock.monotonic() + wait_seconds
        if not self._source.opened:
            await self._source.allow(self._limit)
        while self._limit:
            self._bell.clear()
            room = min(credit, self._limit - self._holdings.count)
            if room > 0 and len(self._source.buffer) and (deliveries := self._hand_out(room)):
                return deliveries
            if self._clock.monotonic() >= until:
                return []
            await self._bell.wait(until)
            self._check()
        await asyncio.sleep(0)  # whoever asks a stopped receiver again and again must not stop the event loop
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        self._check()
        ours, failed = self._take(deliveries)
        await self._done([delivery.receipt for delivery in ours.values()])
        if failed:
            raise BatchError(failed)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        self._check()
        ours, failed = self._take([item.delivery for item in items])
        copies: dict[int, Message] = {}
        back: list[Arrival] = []
        for index, delivery in ours.items():
            item = items[index]
            arrival: Arrival = delivery.receipt
            if item.delay_seconds <= 0 and (item.counted or self._dead) and not arrival.fetched:
                back.append(arrival)
            elif self._dead:
                failed[index] = Unsupported(f"{delivery}: a dead letter cannot be delayed: give it back without")
                self._holdings.restore(delivery)
            else:
                copies[index] = item.copy(self._clock.now())
        self._source.requeue(back)
        self._settled(len(back))
        failed.update(await self._replace(ours, copies, await self._copies.send(copies, self._queue.name)))
        if failed:
            raise BatchError(failed)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        self._check()
        if self._dead:
            raise Unsupported(f"{self._queue.dead_name}: a dead letter cannot die again: complete it, or give it back")
        ours, failed = self._take([item.delivery for item in items])
        letters = {index: delivery.message.dead(items[index].death) for index, delivery in ours.items()}
        failed.update(await self._replace(ours, letters, await self._copies.send(letters, self._queue.dead_name)))
        if failed:
            raise BatchError(failed)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        self._check()
        failed: dict[int, LevelerError] = {}
        now = self._clock.monotonic()
        until = now + self._queue.lease_seconds
        for index, delivery in enumerate(deliveries):
            if not self._holdings.runs(delivery, now):
                failed[index] = _lease_lost(delivery)
            elif until - delivery.receipt.at > self._longest_seconds:
                failed[index] = Unsupported(
                    f"{delivery}: the broker takes back what is held for {self._longest_seconds:g} s (consumer_timeout)"
                )
            else:
                self._holdings.extend(delivery, until)
        if failed:
            raise BatchError(failed)

    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        """A marked copy, confirmed, in a queue of its own, from where it is fetched at once.

        Nobody else is handed it there, so whenever it comes back to the queue it has been started; but for a moment
        between its confirmation and that start.
        """
        self._check()
        ours, failed = self._take(deliveries)
        copies = {index: marked(delivery) for index, delivery in ours.items()}
        room = self._copies.solo_room
        failed.update(await self._replace(ours, copies, await self._copies.send_marked(copies, room)))
        for index in copies.keys() - failed.keys():
            if (arrival := await self._source.fetch_marked(room)) is None:
                failed[index] = _lease_lost(ours[index])
            else:
                self._hand_over(ours[index], arrival)
        if failed:
            raise BatchError(failed)

    async def close(self) -> None:
        self._limit = 0
        await self._source.close()

    def _hand_out(self, count: int) -> list[Delivery]:
        until = self._clock.monotonic() + self._queue.lease_seconds
        due, early = self._source.buffer.take(count, self._clock.now())
        dead = self._dead
        deliveries = [Delivery(one.message, 1 if dead else one.attempt, until, one) for one in due]
        self._holdings.add(deliveries)
        self._source.give_back_soon(early)  # the next part of their delay begins
        return deliveries

    def _hand_over(self, delivery: Delivery, arrival: Arrival) -> None:
        """The delivery is of what was fetched from now on."""
        delivery.message, delivery.attempt, delivery.receipt = outlived(arrival), arrival.message.attempts, arrival
        delivery.leased_until = self._clock.monotonic() + self._queue.lease_seconds
        self._holdings.add([delivery])

    async def _replace(
        self, ours: Mapping[int, Delivery], copies: Mapping[int, Message], failed: Mapping[int, LevelerError]
    ) -> Mapping[int, LevelerError]:
        """Complete the source of each copy that was sent. What could not be sent stays leased."""
        if not copies:
            return failed
        self._check()
        await self._done([ours[index].receipt for index in copies if index not in failed])
        for index in failed:
            self._holdings.restore(ours[index])
        return failed

    async def _done(self, arrivals: Sequence[Arrival]) -> None:
        await self._source.complete(arrivals)
        self._settled(len(arrivals))

    def _settled(self, count: int) -> None:
        self._holdings.settled(count)
        self._ring()

    def _give_back_overdue(self, arrivals: Sequence[Arrival]) -> None:
        self._source.requeue(arrivals)
        self._ring()

    def _take(self, deliveries: Sequence[Delivery]) -> tuple[dict[int, Delivery], dict[int, LevelerError]]:
        """Those that are ours to settle, out of the reach of the end of their leases, and what is wrong with others."""
        ours: dict[int, Delivery] = {}
        failed: dict[int, LevelerError] = {}
        now = self._clock.monotonic()
        for index, delivery in enumerate(deliveries):
            if self._holdings.take(delivery, now):
                ours[index] = delivery
            else:
                failed[index] = _lease_lost(delivery)
        return ours, failed

    def _ring(self) -> None:
        if len(self._source.buffer):
            self._bell.ring()

    def _changed(self) -> None:
        if self._source.over:
            self._holdings.clear()
        self._bell.ring()

    def _check(self) -> None:
        if self._source.over:
            raise ReceiverLost(self._source.over)


def _lease_lost(delivery: Delivery) -> LeaseLost:
    return LeaseLost(
        f"message {delivery.message.id}: the lease of attempt {delivery.attempt} is over, so somebody else may have it "
        "now; extend the lease in time, or make it longer"
    )
