"""RabbitMQReceiver: takes messages of one queue, keeps their leases, and settles them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.clock import Clock
from leveler.errors import BatchError, BrokerUnavailable, LeaseLost, LevelerError, ReceiverLost, Unsupported
from leveler.message import Message
from leveler_rabbitmq.broker import Broker
from leveler_rabbitmq.errors import ChannelClosed, refused, within
from leveler_rabbitmq.feed import Arrival, Feed
from leveler_rabbitmq.holdings import Holdings
from leveler_rabbitmq.lane import LaneLost
from leveler_rabbitmq.sender import letter_of


class RabbitMQReceiver(Receiver):
    """
    Args:
        queue: where from.
        broker: over which.
        clock: for leases and waits.
        capacity: most deliveries that it holds.
        dead: receive the dead letters instead; nothing is counted.
        longest_seconds: how long the broker lets anybody hold a message.
    """

    def __init__(
        self, queue: QueueSpec, broker: Broker, clock: Clock, *, capacity: int, dead: bool, longest_seconds: float
    ) -> None:
        self._queue = queue
        self._name = queue.dead_name if dead else queue.name
        self._dead = dead
        self._broker = broker
        self._clock = clock
        self._capacity = capacity
        self._limit = capacity
        self._longest_seconds = longest_seconds
        self._holdings = Holdings(clock, queue.lease_seconds, on_overdue=self._requeue)
        #: Came, and nobody has asked for it yet.
        self._buffer: deque[Arrival] = deque()
        #: Whether somebody has had one of them before.
        self._mixed = False
        self._bell = asyncio.Event()
        self._feed: Feed | None = None
        self._opening = asyncio.Lock()
        self._errands: set[asyncio.Task[None]] = set()
        self._over = ""

    async def hold(self, limit: int) -> None:
        self._check()
        self._limit = max(0, min(limit, self._capacity))
        self._bell.set()
        if self._limit or self._feed is not None:
            await self._flow()
            await self._give_back(self._surplus())
            if not self._limit and self._errands:  # nothing is here any more when this returns
                await asyncio.wait(self._errands, timeout=self._broker.deadline_seconds)

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        until = self._clock.monotonic() + wait_seconds
        if self._feed is None and self._limit:
            await self._flow()
        while self._limit:
            self._bell.clear()
            room = min(credit, self._limit - self._holdings.count)
            if room > 0 and self._buffer and (deliveries := self._hand_out(room)):
                return deliveries
            if self._clock.monotonic() >= until:
                return []
            await self._wait(until)
            self._check()
        await asyncio.sleep(0)  # whoever asks a stopped receiver again and again must not stop the event loop
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        feed = self._alive()
        ours, failed = self._take(deliveries)
        await self._done(feed, [delivery.receipt for delivery in ours.values()])
        if failed:
            raise BatchError(failed)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        feed = self._alive()
        ours, failed = self._take([item.delivery for item in items])
        copies: dict[int, Message] = {}
        back: list[Arrival] = []
        for index, delivery in ours.items():
            item = items[index]
            if item.delay_seconds <= 0 and (item.counted or self._dead):
                back.append(delivery.receipt)
            elif self._dead:
                failed[index] = Unsupported(f"{self._name}: a dead letter cannot be delayed: give it back without")
                self._holdings.restore(delivery)
            else:
                copies[index] = _again(item, self._clock.now())
        feed.requeue(back)
        self._holdings.settled(len(back))
        failed.update(await self._replace(copies, ours, self._queue.name))
        self._ring()
        if failed:
            raise BatchError(failed)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        self._alive()
        if self._dead:
            raise Unsupported(f"{self._name}: a dead letter cannot die again: complete it, or give it back")
        ours, failed = self._take([item.delivery for item in items])
        letters = {index: delivery.message.dead(items[index].death) for index, delivery in ours.items()}
        failed.update(await self._replace(letters, ours, self._queue.dead_name))
        if failed:
            raise BatchError(failed)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        self._alive()
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

    async def close(self) -> None:
        if self._over and self._feed is None:
            return
        feed, alive = self._feed, not self._over
        self._limit = 0
        self._over = self._over or f"the receiver of {self._name!r} is closed: make a new one"
        self._bell.set()
        if feed is not None and alive:
            with suppress(LevelerError, LaneLost, ChannelClosed, TimeoutError):
                async with asyncio.timeout(self._broker.deadline_seconds):
                    await feed.allow(0)
                    await self._give_back(self._surplus())
                    if self._errands:
                        await asyncio.wait(self._errands)
                    await feed.close()
            feed.abandon("the receiver was closed")
        self._feed = None
        self._holdings.clear()
        self._buffer.clear()

    # -- what comes

    async def _flow(self) -> None:
        """Let as much flow as the limit says.

        Raises:
            QueueNotFound, AccessDenied: there is nothing to receive from.
            ReceiverLost: the broker does not answer.
        """
        feed = await self._opened()
        try:
            async with within(self._broker.deadline_seconds, f"queue {self._name!r}"):
                await feed.allow(self._limit)
        except ChannelClosed as error:
            raise self._lost(refused(error, f"queue {self._name!r}")) from error
        except (LaneLost, BrokerUnavailable) as error:
            raise self._lost(ReceiverLost(f"queue {self._name!r}: {error}")) from error

    async def _opened(self) -> Feed:
        async with self._opening:
            if self._feed is None:
                async with within(self._broker.deadline_seconds, f"queue {self._name!r}"):
                    self._feed = await self._broker.lane(
                        lambda wire, number: Feed(
                            wire,
                            number,
                            self._name,
                            self._clock,
                            on_arrival=self._on_arrival,
                            on_room=self._on_room,
                            on_end=self._on_end,
                        )
                    )
            return self._feed

    def _on_arrival(self, arrival: Arrival) -> None:
        self._buffer.append(arrival)
        self._mixed = self._mixed or arrival.attempt > 1
        if not self._limit:  # it was on its way when the flow was stopped
            self._errand(self._give_back(self._surplus()))
        elif len(self._buffer) == 1:
            self._bell.set()

    def _on_room(self) -> None:
        if self._feed is not None and not self._errands:
            self._errand(self._feed.fill())

    def _on_end(self, why: Exception) -> None:
        if not self._over:
            told = refused(why, f"queue {self._name!r}") if isinstance(why, ChannelClosed) else why
            self._over = f"the receiver of {self._name!r} is lost: {told}"
        self._buffer.clear()
        self._holdings.clear()
        self._bell.set()

    def _hand_out(self, count: int) -> list[Delivery]:
        wall, until = self._clock.now(), self._clock.monotonic() + self._queue.lease_seconds
        deliveries: list[Delivery] = []
        waiting: list[Arrival] = []
        dead = self._dead
        buffer = self._sorted()
        while buffer and len(deliveries) < count:
            arrival = buffer.popleft()
            if arrival.waits_on and not dead and arrival.message.delay_seconds(wall) > 0:
                waiting.append(arrival)
            else:
                deliveries.append(Delivery(arrival.message, 1 if dead else arrival.attempt, until, arrival))
        self._holdings.add(deliveries)
        if waiting:
            self._errand(self._swap(waiting))
        return deliveries

    def _sorted(self) -> deque[Arrival]:
        """Those with the most attempts first.

        They may be about to end the process, and what is here then has one attempt less: whoever starts them must see
        them before they have waited here through the ends of others.
        """
        if self._mixed:
            self._buffer = deque(sorted(self._buffer, key=lambda arrival: -arrival.attempt))
            self._mixed = False
        return self._buffer

    async def _wait(self, until: float) -> None:
        timer = self._clock.call_later(until - self._clock.monotonic(), self._bell.set)
        try:
            await self._bell.wait()
        finally:
            timer.cancel()

    # -- what goes back or on

    def _surplus(self) -> list[Arrival]:
        """What has come and may not be held any more."""
        most = max(0, self._limit - self._holdings.count)
        surplus: list[Arrival] = []
        while len(self._buffer) > most:
            surplus.append(self._buffer.pop())
        return surplus[::-1]

    async def _give_back(self, arrivals: Sequence[Arrival]) -> None:
        """Nobody has seen these, so they do not count: a copy of each, whose count begins where this one was."""
        if not arrivals or (feed := self._feed) is None:
            return
        if self._dead:
            feed.requeue(arrivals)
            return
        await self._swap(arrivals)

    async def _swap(self, arrivals: Sequence[Arrival]) -> None:
        """An uncounted copy in the place of each. One that cannot be sent goes back as it is, and that counts.

        This is also how a delay goes on whose first part is over.
        """
        copies = {
            index: arrival.message.copy(
                attempts=arrival.attempt - 1,
                not_before=arrival.message.not_before if arrival.waits_on else None,
                failed_at=arrival.message.failed_at,
            )
            for index, arrival in enumerate(arrivals)
        }
        failed = await self._post(copies, self._queue.name)
        if (feed := self._feed) is not None and feed.lost is None:
            feed.requeue([arrivals[index] for index in failed])
            await feed.complete([arrival for index, arrival in enumerate(arrivals) if index not in failed])

    async def _replace(
        self, copies: dict[int, Message], ours: dict[int, Delivery], queue: str
    ) -> dict[int, LevelerError]:
        """Send each copy to `queue`, then complete its source. What could not be sent stays leased."""
        if not copies:
            return {}
        failed = await self._post(copies, queue)
        feed = self._alive()
        await self._done(feed, [ours[index].receipt for index in copies if index not in failed])
        for index in failed:
            self._holdings.restore(ours[index])
        return failed

    async def _post(self, copies: dict[int, Message], queue: str) -> dict[int, LevelerError]:
        failed: dict[int, LevelerError] = {}
        letters, lengths, places = [], [], []
        for index, copy in copies.items():
            try:
                letter, length = letter_of(copy, queue, self._clock)
            except LevelerError as error:
                failed[index] = error
            else:
                letters.append(letter)
                lengths.append(length)
                places.append(index)
        bounded = self._queue.max_depth is not None
        refused = await self._broker.post_delayed(queue, f"{queue} copies", letters, lengths, bounded=bounded)
        failed.update({places[place]: error for place, error in refused.items()})
        return failed

    async def _done(self, feed: Feed, arrivals: Sequence[Arrival]) -> None:
        """
        Raises:
            ReceiverLost: nobody knows whether the broker has heard it.
        """
        try:
            async with within(self._broker.deadline_seconds, f"queue {self._name!r}"):
                await feed.complete(arrivals)
        except (LaneLost, ChannelClosed, BrokerUnavailable) as error:
            raise self._lost(ReceiverLost(f"queue {self._name!r}: {error}")) from error
        self._holdings.settled(len(arrivals))
        self._ring()

    def _requeue(self, arrivals: Sequence[Arrival]) -> None:
        """Their leases are over."""
        if self._feed is not None and self._feed.lost is None:
            self._feed.requeue(arrivals)
        self._ring()

    def _ring(self) -> None:
        if self._buffer:
            self._bell.set()

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

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        """Something that nobody waits for. If it fails the connection is gone, and the messages are back."""
        task = asyncio.get_running_loop().create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())

    def _alive(self) -> Feed:
        self._check()
        if self._feed is None:
            raise ReceiverLost(f"the receiver of {self._name!r} has received nothing yet")
        return self._feed

    def _check(self) -> None:
        if self._over:
            raise ReceiverLost(self._over)

    def _lost(self, error: LevelerError) -> LevelerError:
        self._over = self._over or f"the receiver of {self._name!r} is lost: {error}"
        if self._feed is not None:
            self._feed.abandon(str(error))
        return error


def _again(item: Abandon, now: datetime) -> Message:
    """The copy that stands in for a message which is given back in a way that the broker does not have."""
    message, attempt = item.delivery.message, item.delivery.attempt
    return message.copy(
        attempts=attempt if item.counted else attempt - 1,
        not_before=now + timedelta(seconds=item.delay_seconds) if item.delay_seconds > 0 else None,
        failed_at=(message.failed_at or now) if item.counted else message.failed_at,
    )


def _lease_lost(delivery: Delivery) -> LeaseLost:
    return LeaseLost(
        f"message {delivery.message.id}: the lease of attempt {delivery.attempt} is over, so somebody else may have it "
        "now; extend the lease in time, or make it longer"
    )
