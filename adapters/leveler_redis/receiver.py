"""RedisReceiver: leases messages of one queue and settles them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import (
    BatchError,
    BrokerUnavailable,
    LeaseLost,
    LevelerError,
    QueueNotFound,
    ReceiverLost,
    Unsupported,
)
from leveler.holdings import Holdings
from leveler_redis.command import Argument
from leveler_redis.entry import RawEntry, read
from leveler_redis.keys import Keys
from leveler_redis.reading import Found, Reading
from leveler_redis.receipt import Receipt, receipts_of
from leveler_redis.script import Script, Scripts
from leveler_redis.settlements import Batch, burial, completion, give_back, item, portions
from leveler_redis.wire import Wire

#: What a receive under way gets to end by itself when its receiver is closed.
_PATIENCE_SECONDS: Final = 1.0


class RedisReceiver(Receiver):
    """
    Args:
        queue: where from.
        keys: of the queue, or of its dead letters.
        dead_keys: of its dead letters.
        me: the consumer; nobody else has this name.
        reading: reads for it, on a wire of its own.
        own_wire: that one.
        wire: for everything else.
        scripts: to run on the server.
        clock: for waits and leases.
        holdings: nothing yet.
        dead: whether these are the dead letters; nothing is counted then.
    """

    def __init__(
        self,
        queue: QueueSpec,
        keys: Keys,
        dead_keys: Keys,
        me: str,
        *,
        reading: Reading,
        own_wire: Wire,
        wire: Wire,
        scripts: Scripts,
        clock: Clock,
        holdings: Holdings[Receipt],
        dead: bool,
    ) -> None:
        self._queue = queue
        self._keys = keys
        self._settle_keys = (*keys.all, dead_keys.base)
        self._me = me
        self._reading = reading
        self._own_wire = own_wire
        self._wire = wire
        self._scripts = scripts
        self._clock = clock
        self._holdings = holdings
        self._dead = dead
        self._receiving = asyncio.Lock()
        #: Rung when a wait for room may be over.
        self._bell = Bell(clock)
        self._closed = False

    async def hold(self, limit: int) -> None:
        self._holdings.limit(limit)
        self._bell.ring()
        if limit < 1:
            await self._reading.wake(self._wire)

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        async with self._receiving:
            try:
                return await self._receive(credit, self._clock.monotonic() + wait_seconds)
            except BrokerUnavailable:
                self._check()  # closed meanwhile
                raise

    async def _receive(self, credit: int, until: float) -> Sequence[Delivery]:
        while not self._holdings.stopped:
            self._bell.clear()
            now = self._clock.monotonic()
            if (room := self._holdings.room(credit, now)) > 0:
                if deliveries := await self._hand_out(await self._reading.read(room, until - now)):
                    return deliveries
            else:
                await self._bell.wait(min(until, self._holdings.first_end()))
            if now >= until:  # the last look comes after the wait
                return []
        await asyncio.sleep(0)  # whoever asks a stopped receiver again and again must not stop the event loop
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        receipts = receipts_of(deliveries)
        if {receipt.line for receipt in receipts} - {b""}:
            await self._settle(deliveries, [completion(receipt) for receipt in receipts])
            return
        self._check()
        lost, _ = await self._as_batch(self._scripts.complete, receipts, [self._doubt(receipts)])
        self._forget(receipts)
        _refuse(deliveries, lost)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self._settle([item.delivery for item in items], [give_back(item) for item in items])

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        if self._dead:
            raise Unsupported(f"{self._queue.dead_name}: a dead letter cannot die again: complete it, or give it back")
        await self._settle([item.delivery for item in items], [burial(item) for item in items])

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        self._check()
        receipts = receipts_of(deliveries)
        lost, at = await self._as_batch(self._scripts.extend, receipts, [self._me, self._doubt(receipts)])
        for place in set(range(len(deliveries))).difference(lost):
            delivery = deliveries[place]
            delivery.leased_until = delivery.receipt.leased_until = at + self._reading.lease_seconds
        _refuse(deliveries, lost)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self.hold(0)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._receiving.acquire()  # it gives back what has just come
        except TimeoutError:
            pass
        await self._own_wire.close()
        try:
            await self._wire.run(self._scripts.leave, self._keys.all, (self._me,))
        except LevelerError:  # its name stays there for an hour, and does no harm
            return

    async def _hand_out(self, found: Found) -> list[Delivery]:
        """The entries as deliveries; what there is no room for any more goes back."""
        room = self._holdings.room(len(found.entries), self._clock.monotonic()) if found.entries else 0
        if room < len(found.entries):
            await self._send_back(found.entries[room:])
        leased_until, epoch = found.at + self._reading.lease_seconds, self._epoch
        deliveries: list[Delivery] = []
        for lane, raw in found.entries[:room]:
            message, counted, line = read(raw)
            receipt = Receipt(lane, raw[0], line, leased_until, epoch)
            attempt = 1 if self._dead else message.attempts + counted + 1
            deliveries.append(Delivery(message, attempt, leased_until, receipt))
        self._holdings.add(receipts_of(deliveries))
        return deliveries

    async def _send_back(self, entries: Sequence[tuple[int, RawEntry]]) -> None:
        """Nobody has seen these: they go back uncounted. If that fails, their lease ends."""
        arguments: list[Argument] = [""]
        for lane, raw in entries:
            arguments += item(lane, raw[0], b"", "keep")
        await self._wire.run(self._scripts.settle, self._settle_keys, arguments)

    async def _settle(self, deliveries: Sequence[Delivery], items: Sequence[list[Argument]]) -> None:
        self._check()
        receipts = receipts_of(deliveries)
        current, lost = self._holdings.sift(receipts, self._clock.monotonic())
        doubt, due = self._doubt(receipts), self._wire.due()
        for places in portions(current, items):
            arguments = [argument for place in places for argument in items[place]]
            answer = await self._run(self._scripts.settle, self._settle_keys, [doubt, *arguments], len(places), due)
            lost += [places[place] for place in answer]
            self._holdings.remove([receipts[place] for place in places])
        self._forget(receipts)
        _refuse(deliveries, lost)

    async def _as_batch(
        self, script: Script, receipts: Sequence[Receipt], before: list[Argument]
    ) -> tuple[list[int], float]:
        """The places of those that are no longer ours, and when the others were."""
        at = self._clock.monotonic()
        current, lost = self._holdings.sift(receipts, at)
        if current:
            batch = Batch(self._keys, receipts, current)
            answer = await self._run(script, batch.keys, before + batch.arguments, len(current))
            lost += [batch.places[place] for place in answer]
        return lost, at

    def _doubt(self, receipts: Sequence[Receipt]) -> str:
        """Our name if the server has to look for it at these entries: it may be another one since they were read."""
        epochs = {receipt.epoch for receipt in receipts}
        return "" if self._wire.is_connected and epochs <= {self._epoch} else self._me

    @property
    def _epoch(self) -> int:
        return self._own_wire.sessions + self._wire.sessions

    async def _run(
        self,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[Argument],
        count: int,
        due: float | None = None,
    ) -> list[int]:
        """The places of those that are no longer ours: all of them where the queue itself is gone."""
        try:
            answer: list[int] = await self._wire.run(script, keys, arguments, due)
        except QueueNotFound:
            return list(range(count))
        return answer

    def _forget(self, receipts: Sequence[Receipt]) -> None:
        self._holdings.remove(receipts)
        if self._holdings.crowded:
            self._bell.ring()

    def _check(self) -> None:
        if self._closed:
            raise ReceiverLost(f"a receiver of queue {self._queue.name!r} has been closed: make a new one")


def _refuse(deliveries: Sequence[Delivery], lost: Sequence[int]) -> None:
    if lost:
        raise BatchError(
            {
                place: LeaseLost(
                    f"the lease of message {deliveries[place].message.id!r} has ended: it is not ours to settle"
                )
                for place in lost
            }
        )
