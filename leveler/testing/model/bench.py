"""Bench: does to an adapter what a run asks for, and tells the reference when, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from leveler.adapter import Abandon, Adapter, DeadLetter, Receiver
from leveler.errors import LevelerError, Unsupported
from leveler.message import Message
from leveler.testing.contract.rig import Rig, errors_of
from leveler.testing.contract.target import Target
from leveler.testing.model.asking import Asking
from leveler.testing.model.census import check_depth, check_peek
from leveler.testing.model.item import Hands, Hold
from leveler.testing.model.moment import MARGIN_SECONDS, Moment
from leveler.testing.model.reference import Reference
from leveler.testing.model.violation import check

T = TypeVar("T")


class Bench:
    """One adapter with one queue, its receivers, and the reference beside it.

    Args:
        note: told in a line what was done, and when.
    """

    def __init__(self, target: Target, note: Callable[[str], object]) -> None:
        self.rig = Rig(target)
        self.reference: Reference
        self.asking: Asking
        self._note = note
        self._receivers: dict[Hands, Receiver] = {}

    async def start(self) -> None:
        await self.rig.connect()
        await self.rig.declare()
        self.reference = Reference(self.rig.queue, self.rig.can, self.rig.target.grace_seconds)
        self.asking = Asking(self.rig, self.reference, self.note)
        self.other = await self.rig.second()

    async def stop(self) -> None:
        self.asking.cancel()
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
        self.asking.join(hands)
        return hands

    async def receive(self, hands: Hands, credit: int, wait_seconds: float) -> None:
        self.note(f"{hands} asks for {credit}, waits {wait_seconds:g} s")
        await self.asking.ask(hands, self._receivers[hands].receive(credit, wait_seconds), wait_seconds)

    async def hold(self, hands: Hands, limit: int) -> None:
        self.note(f"{hands} holds at most {limit}")
        await self._receivers[hands].hold(limit)
        hands.limit = min(limit, hands.capacity)
        self.asking.limit(hands)

    async def close(self, hands: Hands) -> None:
        self.note(f"{hands} closes")
        began = self.now
        await self._receivers[hands].close()
        hands.open = False
        await self.asking.last_answer(hands)
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
        while (moment := self.asking.next_event()) < end:
            await self._advance_to(moment + MARGIN_SECONDS)
        await self._advance_to(end)

    # -- inside

    async def _advance_to(self, moment: float) -> None:
        """Or a little further: while something falls due or a wait ends, nobody can say what is true."""
        await self.rig.elapse(moment - self.now)
        while self.reference.is_undecided(self.moment()) or self.asking.is_undecided():
            await self.rig.elapse(MARGIN_SECONDS)
        await self.asking.settle_down()

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
