"""Asking: the receives under way. Who must get something by now, and who got what."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from leveler.adapter import Delivery
from leveler.errors import ReceiverLost
from leveler.testing.clock import quiet
from leveler.testing.contract.rig import Rig
from leveler.testing.model.item import Hands
from leveler.testing.model.moment import MARGIN_SECONDS, Moment
from leveler.testing.model.reference import Reference
from leveler.testing.model.violation import check

#: In real time: how long another thread or process may take to tell what it must, and how often to look.
_PATIENCE_SECONDS: Final = 5.0
_IO_SECONDS: Final = 0.005


@dataclass
class Asked:
    """One `receive` under way."""

    task: asyncio.Task[Sequence[Delivery]]
    #: When it had no effect yet: where another thread or process may be about to answer, when it was called.
    since: float
    #: When its wait ends.
    until: float
    #: How many the receiver may hold when it is answered.
    limit: int
    #: Whether something is there for it, in time.
    must_get: bool


class Asking:
    """
    Args:
        note: told in a line who got what.
    """

    def __init__(self, rig: Rig, reference: Reference, note: Callable[[str], object]) -> None:
        self._rig = rig
        self._reference = reference
        self._note = note
        self._everybody: list[Hands] = []
        self._asked: dict[Hands, Asked] = {}

    def join(self, hands: Hands) -> None:
        """A new receiver, which may fetch ahead what others ask for."""
        self._everybody.append(hands)

    def is_asking(self, hands: Hands) -> bool:
        return hands in self._asked

    async def ask(self, hands: Hands, call: Coroutine[Any, Any, Sequence[Delivery]], wait_seconds: float) -> None:
        """Without a wait the answer comes with this, else by and by with `settle_down`."""
        must_get = self._reference.terms.strict and self._is_served(hands)
        task = asyncio.ensure_future(call)
        self._asked[hands] = Asked(task, self._now, self._now + wait_seconds, hands.limit, must_get)
        if not wait_seconds:
            await asyncio.wait({task})
        await self.settle_down()

    def limit(self, hands: Hands) -> None:
        """The receiver's limit has changed. Its answer may have come before that, unless the broker is exact."""
        if asked := self._asked.get(hands):
            asked.limit = hands.limit if self._reference.terms.strict else max(asked.limit, hands.limit)

    async def settle_down(self) -> None:
        """Take what answers there are, and wait for those that there must be."""
        await self._wake()
        self._gather(*self._asked)
        give_up = time.monotonic() + (_PATIENCE_SECONDS if self._rig.pace.outside else 0.0)
        while waiting := [hands for hands, asked in self._asked.items() if self._must_answer(hands, asked)]:
            check(time.monotonic() < give_up, self._stuck(waiting[0]))
            await asyncio.wait({self._asked[hands].task for hands in waiting}, timeout=_IO_SECONDS)
            await self._wake()
            self._gather(*self._asked)

    async def last_answer(self, hands: Hands) -> None:
        """What came to one that is closed now. What others get by that comes after."""
        await self._wake()
        self._gather(hands)

    def next_event(self) -> float:
        """While somebody asks: when a lease, a delay or a wait ends."""
        due = self._reference.next_due(self._now)
        ends = [asked.until for asked in self._asked.values() if asked.until > self._now]
        return min(ends if due is None else [due, *ends], default=math.inf) if self._asked else math.inf

    def is_undecided(self) -> bool:
        """Whether a wait is about to end, or has just ended: what comes now may come to it or not."""
        return any(abs(asked.until - self._now) <= MARGIN_SECONDS for asked in self._asked.values())

    def cancel(self) -> None:
        for asked in self._asked.values():
            asked.task.cancel()

    # -- who must get something

    def _must_answer(self, hands: Hands, asked: Asked) -> bool:
        """Its wait is over or it is stopped; or there is something for it, and time enough to send it."""
        left = asked.until - self._now
        over = hands.limit <= 0 or not hands.open or left < -MARGIN_SECONDS
        in_time = left > MARGIN_SECONDS + self._reference.terms.grace_seconds
        asked.must_get = not over and in_time and self._is_served(hands)
        return over or asked.must_get

    def _is_served(self, hands: Hands) -> bool:
        """Whether something is there for it, and nobody else can have fetched that ahead."""
        rivals = [one for one in self._everybody if one.dead == hands.dead and one.open and one.limit]
        alone = self._reference.terms.strict or rivals == [hands]
        return alone and self._reference.available(hands, Moment.between(self._now, self._now)) is not None

    def _stuck(self, hands: Hands) -> str:
        item = self._reference.available(hands, Moment.between(self._now, self._now))
        return f"stuck: {hands} gets no answer, and {item or 'nothing'} is there for it"

    # -- who got what

    async def _wake(self) -> None:
        """Let run what can. On a virtual clock, timers that another thread had set too late are due only now."""
        await self._rig.elapse(0.0)
        await quiet()

    def _gather(self, *of: Hands) -> None:
        done = {hands: self._asked.pop(hands) for hands in of if self._is_done(hands)}
        if not self._rig.pace.outside:
            for asked in self._asked.values():
                asked.since = asked.since if asked.task.done() else self._now
        for hands, asked in sorted(done.items(), key=lambda one: _first_end(one[1].task)):
            self._answered(hands, asked)

    def _is_done(self, hands: Hands) -> bool:
        return hands in self._asked and self._asked[hands].task.done()

    def _answered(self, hands: Hands, asked: Asked) -> None:
        at = Moment.between(asked.since, self._now)
        try:
            deliveries = asked.task.result()
        except ReceiverLost:
            check(not hands.open, f"lost: {hands}, which nobody closed")
            return
        check(bool(deliveries) or not (asked.must_get and self._is_served(hands)), self._stuck(hands))
        holds = self._reference.delivered(hands, deliveries, at, asked.limit)
        self._note(f"{hands} got {[str(hold) for hold in holds]}")

    @property
    def _now(self) -> float:
        return self._rig.clock.monotonic()


def _first_end(task: asyncio.Task[Sequence[Delivery]]) -> float:
    """Of several answers the one whose leases end first came first; who got nothing may have come too late for it."""
    failed = task.cancelled() or task.exception() is not None
    return math.inf if failed else min((delivery.leased_until for delivery in task.result()), default=math.inf)
