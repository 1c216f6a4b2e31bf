"""SQSReceiver: leases messages of one queue and settles them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Final

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.errors import BatchError, LeaseLost, LevelerError, ReceiverLost, Unsupported
from leveler.holdings import Holdings
from leveler.message import Message
from leveler_sqs.background import Background
from leveler_sqs.gathering import Gathering
from leveler_sqs.giving_back import unseen, way_back
from leveler_sqs.policy import LONGEST_LEASE_SECONDS, is_fifo, visibility_seconds
from leveler_sqs.polls import Polls
from leveler_sqs.post import Post
from leveler_sqs.receipt import Receipt
from leveler_sqs.source import Change, Source
from leveler_sqs.waiting import Waiting

#: A wait that is over within so little is over: SQS waits for whole seconds.
_SLACK_SECONDS: Final = 0.05
#: Between two looks of which the first waited: SQS may answer early with nothing.
_PAUSE_SECONDS: Final = 0.5
#: What polls under way get to end by themselves when their receiver is closed; then they go on without it.
_PATIENCE_SECONDS: Final = 1.0

Failures = dict[int, LevelerError]


class SQSReceiver(Receiver):
    """
    Args:
        queue: where from.
        source: of its messages.
        back: to the same queue, for copies.
        dead_letters: to its dead letters; None: these are the dead letters.
        clock: for waits and leases.
        background: for what goes on when nobody waits for it.
        capacity: most deliveries that it holds.
        pollers: most requests for messages under way at once.
    """

    def __init__(
        self,
        queue: QueueSpec,
        source: Source,
        back: Post,
        dead_letters: Post | None,
        clock: Clock,
        background: Background,
        *,
        capacity: int,
        pollers: int,
    ) -> None:
        self._queue = queue
        self._source = source
        self._back = back
        self._dead_letters = dead_letters
        self._clock = clock
        self._background = background
        self._fifo = is_fifo(queue)
        self._holdings: Holdings[Receipt] = Holdings(capacity)
        self._waiting = Waiting()
        self._polls = Polls(source.receive, clock, background, pollers, on_answer=self._came)
        self._deletes = Gathering(source.delete, clock)
        self._changes = Gathering(source.change, clock)
        #: Rung when something came, or there may be room.
        self._bell = Bell(clock)
        self._failure: LevelerError | None = None
        self._closed = False

    async def hold(self, limit: int) -> None:
        self._holdings.limit(limit)
        self._bell.ring()
        if limit < 1:
            await self._return(self._waiting.withdraw(lambda _: True))

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._check()
        until = self._clock.monotonic() + wait_seconds
        look_at, has_looked = 0.0, False
        while not self._holdings.stopped:
            self._bell.clear()
            now = self._clock.monotonic()
            room = self._holdings.room(credit, now)
            if deliveries := self._waiting.take(room, now):
                self._holdings.add(delivery.receipt for delivery in deliveries)
                return deliveries
            self._raise_failure()
            left = until - now
            over = left <= _SLACK_SECONDS and (has_looked or not room)
            if over and not self._polls.any_ends_by(until + _SLACK_SECONDS):
                return []
            if room and not over and now >= look_at:
                seconds = max(0, math.floor(left + _SLACK_SECONDS))
                self._polls.start(room - self._polls.asked, seconds)
                has_looked = has_looked or seconds >= left - _SLACK_SECONDS
                look_at = now + _PAUSE_SECONDS if seconds else until
            await self._wait(until if room else min(until, self._holdings.first_end()))
        self._check()
        await asyncio.sleep(0)  # whoever asks a stopped receiver again and again must not stop the event loop
        return []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        current, failed = self._sift(deliveries)
        failed |= await self._delete({place: deliveries[place] for place in current})
        _refuse(failed)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        current, failed = self._sift([item.delivery for item in items])
        if self._fifo:
            keys = {key for item in items if (key := item.delivery.message.key)}
            await self._return(self._waiting.withdraw(lambda delivery: delivery.message.key in keys))
        now, at = self._clock.now(), self._clock.monotonic()
        changes: dict[int, Change] = {}
        copies: dict[int, tuple[Delivery, Message]] = {}
        for place in current:
            item = items[place]
            receipt: Receipt = item.delivery.receipt
            try:
                way = way_back(
                    item,
                    now,
                    held_seconds=at - receipt.received_at,
                    fifo=self._fifo,
                    dead=self._dead_letters is None,
                )
            except Unsupported as error:
                failed[place] = error
            else:
                if isinstance(way, Message):
                    copies[place] = (item.delivery, way)
                else:
                    changes[place] = Change(receipt, way)
        for answer in await asyncio.gather(self._change(changes, held=False), self._replace(copies, self._back)):
            failed |= answer
        _refuse(failed)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        self._check()
        if self._dead_letters is None:
            raise Unsupported(f"{self._source.name}: a dead letter cannot die again: complete it, or give it back")
        current, failed = self._sift([item.delivery for item in items])
        letters = {
            place: (items[place].delivery, items[place].delivery.message.dead(items[place].death)) for place in current
        }
        failed |= await self._replace(letters, self._dead_letters)
        _refuse(failed)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        current, failed = self._sift(deliveries)
        now = self._clock.monotonic()
        changes: dict[int, Change] = {}
        for place in current:
            receipt: Receipt = deliveries[place].receipt
            left = math.floor(LONGEST_LEASE_SECONDS - (now - receipt.received_at))
            if left < 1:
                failed[place] = Unsupported(
                    f"{deliveries[place]}: SQS lets nobody keep a message for more than 12 hours"
                )
            else:
                changes[place] = Change(receipt, min(visibility_seconds(self._queue.lease_seconds), left))
        failed |= await self._change(changes, held=True)
        for place, change in changes.items():
            if place not in failed:
                until = now + min(self._queue.lease_seconds, change.seconds)
                deliveries[place].leased_until = change.receipt.leased_until = until
        _refuse(failed)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self.hold(0)
        await self._polls.finished(_PATIENCE_SECONDS)

    def _came(self, deliveries: Sequence[Delivery], failure: LevelerError | None) -> None:
        """What a poll has brought. If it comes too late, it goes back."""
        self._failure = failure or self._failure
        if deliveries and self._holdings.stopped:
            self._background.start(self._return(deliveries))
        elif deliveries:
            self._waiting.add(deliveries)
            self._clock.call_later(self._queue.lease_seconds / 2, lambda: self._give_up(deliveries))
        self._bell.ring()

    def _give_up(self, deliveries: Sequence[Delivery]) -> None:
        """Nobody has asked for these, and nobody renews their leases: let others have them."""
        wanted = set(map(id, deliveries))
        if late := self._waiting.withdraw(lambda delivery: id(delivery) in wanted):
            self._background.start(self._return(late))

    async def _return(self, deliveries: Sequence[Delivery]) -> None:
        """Nobody has seen these: they go back uncounted where that is possible. If it fails, their lease ends."""
        if not self._fifo and self._dead_letters is not None:
            deliveries = await self._return_by_copy(deliveries)
        await self._changes.put([Change(one.receipt, 0) for one in deliveries])

    async def _return_by_copy(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those for which it could not be done."""
        copies = {place: (one, unseen(one)) for place, one in enumerate(deliveries)}
        failed = await self._replace(copies, self._back)
        return [one for place, one in enumerate(deliveries) if place in failed and not one.receipt.is_replaced]

    async def _replace(self, copies: Mapping[int, tuple[Delivery, Message]], post: Post) -> Failures:
        """Send each copy, then delete its source. What could not be sent stays leased."""
        if not copies:
            return {}
        fresh = {place: copy for place, (source, copy) in copies.items() if not source.receipt.is_replaced}
        failed = await post.send(fresh) if fresh else {}
        sent = {place: source for place, (source, _) in copies.items() if place not in failed}
        for source in sent.values():
            source.receipt.is_replaced = True
        return failed | await self._delete(sent)

    async def _delete(self, deliveries: Mapping[int, Delivery]) -> Failures:
        places, receipts = list(deliveries), [delivery.receipt for delivery in deliveries.values()]
        answers = await self._deletes.put(receipts)
        return self._settled(places, receipts, answers)

    async def _change(self, changes: Mapping[int, Change], *, held: bool) -> Failures:
        places, receipts = list(changes), [change.receipt for change in changes.values()]
        answers = await self._changes.put(list(changes.values()))
        if held:
            return {places[index]: error for index, error in answers.items()}
        return self._settled(places, receipts, answers)

    def _settled(self, places: Sequence[int], receipts: Sequence[Receipt], answers: Failures) -> Failures:
        """These are no longer held, but for those that failed for now; the failures by their places."""
        over = [
            receipt
            for index, receipt in enumerate(receipts)
            if (error := answers.get(index)) is None or isinstance(error, LeaseLost)
        ]
        self._holdings.remove(over)
        if over:
            self._bell.ring()
        return {places[index]: error for index, error in answers.items()}

    def _sift(self, deliveries: Sequence[Delivery]) -> tuple[Sequence[int], Failures]:
        self._check()
        current, lost = self._holdings.sift([delivery.receipt for delivery in deliveries], self._clock.monotonic())
        return current, {place: _lease_lost(deliveries[place]) for place in lost}

    async def _wait(self, until: float) -> None:
        """For the bell, or until that time; for the bell alone, if a poll is going to ring it by then."""
        if self._polls.any_ends_by(until + _SLACK_SECONDS):
            await self._bell.wait()
        else:
            await self._bell.wait(until)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _check(self) -> None:
        if self._closed:
            raise ReceiverLost(f"a receiver of queue {self._source.name!r} has been closed: make a new one")


def _refuse(failed: Failures) -> None:
    if failed:
        raise BatchError(failed)


def _lease_lost(delivery: Delivery) -> LeaseLost:
    return LeaseLost(
        f"message {delivery.message.id!r}: the lease of attempt {delivery.attempt} is over, so somebody else may have "
        "it now; extend the lease in time, or make it longer"
    )
