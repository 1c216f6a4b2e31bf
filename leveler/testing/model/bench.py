"""Bench: does to an adapter what a run asks for, and tells the reference when, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from leveler.adapter import Abandon, Adapter, DeadLetter, Delivery, Receiver
from leveler.errors import LevelerError, ReceiverLost, Unsupported
from leveler.message import Message
from leveler.testing.clock import quiet
from leveler.testing.contract.rig import Rig, errors_of
from leveler.testing.contract.target import Target
from leveler.testing.model.census import check_depth, check_peek
from leveler.testing.model.item import Hands, Hold
from leveler.testing.model.moment import Moment
from leveler.testing.model.reference import Reference
from leveler.testing.model.violation import check

T = TypeVar("T")

#: In real time: how long another thread or process may take to tell what it must, and how often to look.
_PATIENCE_SECONDS: Final = 5.0
_IO_SECONDS: Final = 0.005

#: Enough to be sure that something is due, or is not.
_MARGIN_SECONDS: Final = 0.01


@dataclass
class Asked:
    """A `receive` under way."""

    task: asyncio.Task[Sequence[Delivery]]
    wait_seconds: float
    #: When it had no effect yet: where another thread or process may be about to answer, when it was called.
    since: float
    #: How many the receiver may hold when it is answered.
    limit: int


class Bench:
    """One adapter with one queue, its receivers, and the reference beside it.

    Args:
        note: told in a line what was done, and when.
    """

    def __init__(self, target: Target, note: Callable[[str], object]) -> None:
        self.rig = Rig(target)
        self.reference: Reference
        self._note = note
        self._receivers: dict[Hands, Receiver] = {}
        self._asked: dict[Hands, Asked] = {}

    async def start(self) -> None:
        await self.rig.connect()
        await self.rig.declare()
        self.reference = Reference(self.rig.queue, self.rig.can, self.rig.target.grace_seconds)
        self.other = await self.rig.second()

    async def stop(self) -> None:
        for asked in self._asked.values():
            asked.task.cancel()
        await self.rig.stop()

    @property
    def now(self) -> float:
        return self.rig.clock.monotonic()

    def moment(self) -> Moment:
        return Moment.between(self.now, self.now)

    def note(self, what: object) -> None:
        self._note(f"{self.now:10.3f}  {what}")

    # -- messages

    async def send(self, messages: Sequence[Message]) -> None:
        now, began = self.rig.clock.now(), self.now
        failed = await errors_of(self.rig.sender().send, messages)
        at = Moment.between(began, self.now)
        check(not failed, f"send: {failed}")
        for message in messages:
            self.note(f"sent {message.id} {message.body!r}, key {message.key}, delay {message.delay_seconds(now):g} s")
            self.reference.sent(message, message.delay_seconds(now), at)

    async def replay(self, hold: Hold) -> None:
        """One dead letter back into its queue, as the core does it."""
        await self.send([hold.delivery.message.replayed(self.rig.clock.now())])
        await self.complete(hold.hands, [hold])

    # -- receivers

    def open(self, name: str, capacity: int, adapter: Adapter | None = None, *, dead: bool = False) -> Hands:
        self.note(f"{name} opens with capacity {capacity}")
        hands = Hands(name, dead, capacity, capacity)
        self._receivers[hands] = self.rig.receiver(capacity=capacity, dead=dead, adapter=adapter)
        return hands

    def is_asking(self, hands: Hands) -> bool:
        return hands in self._asked

    async def receive(self, hands: Hands, credit: int, wait_seconds: float) -> None:
        """Ask. Without a wait the answer comes with this, else by and by with `settle_down`."""
        self.note(f"{hands} asks for {credit}, waits {wait_seconds:g} s")
        task = asyncio.ensure_future(self._receivers[hands].receive(credit, wait_seconds))
        self._asked[hands] = Asked(task, wait_seconds, self.now, hands.limit)
        if not wait_seconds:
            await asyncio.wait({task})
        await self.settle_down()

    async def hold(self, hands: Hands, limit: int) -> None:
        self.note(f"{hands} holds at most {limit}")
        await self._receivers[hands].hold(limit)
        hands.limit = min(limit, hands.capacity)
        if asked := self._asked.get(hands):  # it may have been answered just before, unless the broker is exact
            asked.limit = hands.limit if self.reference.terms.strict else max(asked.limit, hands.limit)

    async def close(self, hands: Hands) -> None:
        self.note(f"{hands} closes")
        began = self.now
        await self._receivers[hands].close()
        hands.open = False
        # What came to it just before goes back with the rest; what others get by its end comes after.
        await self._look(hands)
        self.reference.closed(hands, Moment.between(began, self.now))

    # -- settlements

    async def complete(self, hands: Hands, holds: Sequence[Hold]) -> None:
        errors, at = await self._settle(self._receivers[hands].complete, [hold.delivery for hold in holds])
        for hold, error in zip(holds, errors, strict=True):
            self.note(f"{hold} completed: {_said(error)}")
            self.reference.completed(hold, error, at)

    async def abandon(self, hands: Hands, holds: Sequence[Hold], items: Sequence[Abandon]) -> None:
        errors, at = await self._settle(self._receivers[hands].abandon, items)
        for hold, item, error in zip(holds, items, errors, strict=True):
            how = f"for {item.delay_seconds:g} s, {'counted' if item.counted else 'uncounted'}"
            self.note(f"{hold} given back {how}: {_said(error)}")
            self.reference.abandoned(hold, item, error, at)

    async def dead_letter(self, hands: Hands, holds: Sequence[Hold], reason: str) -> None:
        items = [DeadLetter(hold.delivery, self.rig.death(reason, attempts=hold.delivery.attempt)) for hold in holds]
        errors, at = await self._settle(self._receivers[hands].dead_letter, items)
        for hold, item, error in zip(holds, items, errors, strict=True):
            self.note(f"{hold} dead-lettered: {_said(error)}")
            self.reference.dead_lettered(hold, item, error, at)

    async def extend(self, hands: Hands, holds: Sequence[Hold]) -> None:
        errors, at = await self._settle(self._receivers[hands].extend, [hold.delivery for hold in holds])
        for hold, error in zip(holds, errors, strict=True):
            self.note(f"{hold} extended: {_said(error)}")
            self.reference.extended(hold, error, at)

    # -- looks

    async def check_depth(self) -> None:
        depth, at = await self._timed(self.rig.adapter.depth(self.rig.queue))
        check_depth(self.reference, depth, at)

    async def peek(self, limit: int, *, dead: bool) -> None:
        try:
            messages, at = await self._timed(self.rig.adapter.peek(self.rig.queue, limit, dead=dead))
        except Unsupported:
            check(not dead and not self.rig.can.peek, "peek is claimed, and unsupported")
            return
        check(dead or self.rig.can.peek, "peek is not claimed, and it works")
        self.note(f"peek shows {[message.id for message in messages]}{' of the dead' if dead else ''}")
        check_peek(self.reference, messages, limit, dead, at)

    async def purge(self, *, dead: bool) -> None:
        count, at = await self._timed(self.rig.adapter.purge(self.rig.queue, dead=dead))
        self.note(f"purged {count}{' of the dead' if dead else ''}")
        self.reference.purged(dead, count, at)

    # -- time

    async def elapse(self, seconds: float) -> None:
        """Let time pass. While somebody asks, what falls due is handed out before time goes on."""
        end = self.now + seconds
        self.note(f"{seconds:g} s pass")
        while self._asked and (due := self.reference.next_due(self.now)) is not None and due < end:
            await self._advance_to(due + _MARGIN_SECONDS)
        await self._advance_to(end)

    async def settle_down(self) -> None:
        """Take what answers there are, and wait for those that there must be."""
        await self._look()
        give_up = time.monotonic() + (_PATIENCE_SECONDS if self.rig.pace.outside else 0.0)
        while waiting := [hands for hands in self._asked if self._must_answer(hands)]:
            text = f"stuck: {waiting[0]} waits, and {self.reference.available(waiting[0], self.moment())} is to be had"
            check(time.monotonic() < give_up, text)
            await asyncio.wait({self._asked[hands].task for hands in waiting}, timeout=_IO_SECONDS)
            await self._look()

    # -- inside

    async def _advance_to(self, moment: float) -> None:
        """Or a little further: where something falls due just now, nobody can say what is true."""
        await self.rig.elapse(moment - self.now)
        while self.reference.is_undecided(self.moment()):
            await self.rig.elapse(_MARGIN_SECONDS)
        await self.settle_down()

    async def _look(self, only: Hands | None = None) -> None:
        """See who has an answer, or whether `only` that one has. On a virtual clock, timers that were set too late are
        due only now."""
        await self.rig.elapse(0.0)
        await quiet()
        self._gather(only)

    def _must_answer(self, hands: Hands) -> bool:
        if hands.limit <= 0 or not hands.open:
            return True
        return self._flows_to(hands) and self.reference.available(hands, self.moment()) is not None

    def _flows_to(self, hands: Hands) -> bool:
        """Whether nobody else can have fetched ahead what `hands` asks for."""
        others = [
            one for one in self._receivers if one is not hands and one.open and one.limit and one.dead == hands.dead
        ]
        return self.reference.terms.strict or not others

    def _had_time(self, asked: Asked) -> bool:
        """Whether a broker that has something must have sent it."""
        return self.reference.terms.strict or asked.wait_seconds >= self.rig.patience

    def _gather(self, only: Hands | None) -> None:
        asked_by = {only: self._asked[only]} if only in self._asked else {} if only else self._asked
        done = {hands: asked for hands, asked in asked_by.items() if asked.task.done()}
        self._asked = {hands: asked for hands, asked in self._asked.items() if hands not in done}
        if not self.rig.pace.outside:
            for asked in self._asked.values():
                asked.since = self.now
        for hands, asked in sorted(done.items(), key=lambda one: _first_end(one[1].task)):
            self._answered(hands, asked)

    def _answered(self, hands: Hands, asked: Asked) -> None:
        at = Moment.between(asked.since, self.now)
        try:
            deliveries = asked.task.result()
        except ReceiverLost:
            check(not hands.open, f"lost: {hands}, which nobody closed")
            return
        if not deliveries and self._had_time(asked) and self._flows_to(hands):
            item = self.reference.available(hands, at)
            check(item is None, f"stuck: nothing came to {hands}, and {item} was there to be had")
        holds = self.reference.delivered(hands, deliveries, at, asked.limit)
        self.note(f"{hands} got {[str(hold) for hold in holds]}")

    async def _settle(
        self, verb: Callable[[Sequence[T]], Awaitable[None]], items: Sequence[T]
    ) -> tuple[list[LevelerError | None], Moment]:
        failed, at = await self._timed(errors_of(verb, items))
        return [failed.get(index) for index in range(len(items))], at

    async def _timed(self, call: Awaitable[T]) -> tuple[T, Moment]:
        began = self.now
        answer = await call
        return answer, Moment.between(began, self.now)


def _said(error: LevelerError | None) -> str:
    return "ok" if error is None else type(error).__name__


def _first_end(task: asyncio.Task[Sequence[Delivery]]) -> float:
    """Of several answers the one whose leases end first came first."""
    failed = task.cancelled() or task.exception() is not None
    return 0.0 if failed else min((delivery.leased_until for delivery in task.result()), default=0.0)
