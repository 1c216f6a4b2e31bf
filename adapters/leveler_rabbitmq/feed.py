"""Feed: the channel that one receiver gets its messages from, and settles them on.

How many unsettled messages a consumer may have is fixed when it begins, so a larger limit means one consumer more,
for the difference. A smaller one means that all end and a new one begins, with what is left of the limit beside the
messages that the ended ones have not settled; those stay ours, and when enough of them are settled, one more consumer
takes their places. (To begin again under the same consumer tag would be simpler; RabbitMQ 3.10 answers the second
time with an internal error, and 4.0 then counts wrongly.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import pamqp.frame
from pamqp import commands

from leveler.clock import Clock
from leveler_rabbitmq import frames
from leveler_rabbitmq.envelope import Opened, open_up
from leveler_rabbitmq.lane import Lane
from leveler_rabbitmq.tags import Tags
from leveler_rabbitmq.wire import Wire

#: AMQP has 16 bits for it.
_MOST: Final = 0xFFFF


class Consumer:
    """One subscription, going on or ended."""

    __slots__ = ("active", "prefetch", "unsettled")

    def __init__(self, prefetch: int) -> None:
        self.prefetch = prefetch
        self.active = True
        self.unsettled = 0

    @property
    def reach(self) -> int:
        """How many messages it may have unsettled at one time, from now on."""
        return self.prefetch if self.active else self.unsettled


class Arrival:
    """A message as it came, and all the time until it is settled."""

    __slots__ = ("at", "consumer", "delivered_before", "fetched", "message", "tag", "waits_on")

    def __init__(self, tag: int, consumer: Consumer, opened: Opened, at: float) -> None:
        self.tag = tag
        self.consumer = consumer
        self.message, self.delivered_before, self.waits_on = opened
        #: It was fetched out of another queue: it is marked, see `leveler_rabbitmq.delays`.
        self.fetched = False
        #: When, on the monotonic clock: the broker counts its consumer timeout from here.
        self.at = at

    @property
    def attempt(self) -> int:
        """What its envelope carries and what the broker has counted since, and this delivery."""
        return self.message.attempts + self.delivered_before + 1


class Feed(Lane):
    """
    Args:
        queue: where from.
        clock: time.
        on_arrival: told of each message.
        on_room: told when a consumer could be begun for the places of messages that were settled.
        on_end: told why there will be no more.
    """

    def __init__(
        self,
        wire: Wire,
        number: int,
        queue: str,
        clock: Clock,
        *,
        on_arrival: Callable[[Arrival], object],
        on_room: Callable[[], object],
        on_end: Callable[[Exception], object],
    ) -> None:
        super().__init__(wire, number)
        self._queue = queue
        self._clock = clock
        self._on_arrival = on_arrival
        self._on_room = on_room
        self._on_end = on_end
        self._limit = 0
        self._begun = 0
        self._consumers: dict[bytes, Consumer] = {}
        self._tags = Tags()
        self._fetching: deque[asyncio.Future[Arrival | None]] = deque()
        self._changing = asyncio.Lock()

    async def allow(self, limit: int) -> None:
        """Let at most so many messages be unsettled here.

        Raises:
            ChannelClosed: there is no such queue, or we may not read it.
            LaneLost: the feed is over.
        """
        async with self._changing:
            self._limit = limit
            if limit < sum(consumer.prefetch for consumer in self._consumers.values() if consumer.active):
                await self._end_consumers()
            await self._fill(1)

    async def fill(self) -> None:
        """Use places that have become free, unless there are too few to be worth a consumer."""
        async with self._changing:
            if any(consumer.active for consumer in self._consumers.values()):
                await self._fill(max(1, self._limit // 2))
            else:
                await self._fill(1)

    async def complete(self, arrivals: Iterable[Arrival]) -> None:
        """They are done, and the broker knows it when this returns.

        RabbitMQ does not answer an acknowledgement. It takes what a channel says in turn, so the answer to any question
        that is asked after it stands for both.

        Raises:
            LaneLost, ChannelClosed: perhaps it does not.
        """
        if self._acknowledge(arrivals):
            await self._barrier()

    def _acknowledge(self, arrivals: Iterable[Arrival]) -> bool:
        """Whether there was anything to be said."""
        upto, singly = self._tags.complete([self._settled(arrival) for arrival in arrivals])
        if upto:
            self.wire.write(frames.ack(self.number, upto, multiple=True))
        if singly:
            self.wire.write(*[frames.ack(self.number, tag) for tag in singly])
        return bool(upto or singly)

    async def fetch(self, queue: str) -> Arrival | None:
        """One message of another queue, if there is any.

        Raises:
            LaneLost: nobody knows.
        """
        if self.lost is not None:
            raise self.lost
        fetched: asyncio.Future[Arrival | None] = asyncio.get_running_loop().create_future()
        self._fetching.append(fetched)
        self.wire.write(pamqp.frame.marshal(commands.Basic.Get(queue=queue), self.number))
        return await fetched

    def requeue(self, arrivals: Iterable[Arrival]) -> None:
        """They go back as they are, and the broker counts that."""
        for arrival in arrivals:
            self._tags.discard(self._settled(arrival))
            self.wire.write(frames.reject(self.number, arrival.tag))

    def delivered(self, consumer: bytes, tag: int, properties: bytes, body: bytes) -> None:
        found = self._consumers.get(consumer)
        if found is None:  # it had ended, and this was on its way
            found = self._consumers[consumer] = Consumer(0)
            found.active = False
        found.unsettled += 1
        self._tags.add(tag)
        arrival = Arrival(tag, found, open_up(properties, body, self._clock.now()), self._clock.monotonic())
        if consumer:
            self._on_arrival(arrival)
        else:
            arrival.fetched = True
            self._fetched(arrival)

    def found_empty(self) -> None:
        self._fetched(None)

    def cancelled(self) -> None:
        self.abandon(f"the broker has ended the consumer of queue {self._queue!r}: was the queue deleted?")

    def ended(self, why: Exception) -> None:
        for fetched in self._fetching:
            if not fetched.done():
                fetched.set_exception(why)
        self._on_end(why)

    def _fetched(self, arrival: Arrival | None) -> None:
        """Whoever has asked first has it."""
        asked = self._fetching.popleft()
        if not asked.done():
            asked.set_result(arrival)

    async def _fill(self, least: int) -> None:
        room = min(self._limit - sum(consumer.reach for consumer in self._consumers.values()), _MOST)
        if self._limit < 1 or room < least:
            return
        self._begun += 1
        tag = f"leveler-{self._begun}"
        await self.ask(commands.Basic.Qos(prefetch_count=room), commands.Basic.QosOk)
        self._consumers[tag.encode()] = Consumer(room)
        await self.ask(commands.Basic.Consume(queue=self._queue, consumer_tag=tag), commands.Basic.ConsumeOk)

    async def _end_consumers(self) -> None:
        active = {tag: consumer for tag, consumer in self._consumers.items() if consumer.active}
        for tag, consumer in active.items():
            await self.ask(commands.Basic.Cancel(consumer_tag=tag.decode()), commands.Basic.CancelOk)
            consumer.active = False
            if not consumer.unsettled:
                del self._consumers[tag]
        if active:
            await self._barrier()  # deliveries that were on their way come before its answer

    async def _barrier(self) -> None:
        """A question that changes nothing: the broker answers it when it has done all that was said before."""
        await self.ask(commands.Channel.Flow(active=True), commands.Channel.FlowOk)

    def _settled(self, arrival: Arrival) -> int:
        consumer = arrival.consumer
        consumer.unsettled -= 1
        if not consumer.active:
            if not consumer.unsettled:
                self._consumers = {tag: one for tag, one in self._consumers.items() if one is not consumer}
            if self._limit:
                self._on_room()
        return arrival.tag
