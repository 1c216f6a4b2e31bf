"""Run: one adapter, its receivers by name, and how what a step asks for becomes a message, a delivery, a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple, Protocol

from leveler.adapter import Capabilities
from leveler.message import Message
from leveler.testing.contract.target import Target
from leveler.testing.model.bench import Bench
from leveler.testing.model.drain import drain
from leveler.testing.model.item import Hands, Hold

Name = Literal["a", "b", "c", "dead"]
Span = Literal["none", "short", "long"]
Delay = Literal["none", "short", "long", "past", "beyond"]
Pause = Literal["short", "before", "after", "part", "long"]

#: Who receives: three of the queue, one of its dead letters.
NAMES: Final[tuple[Name, ...]] = ("a", "b", "c", "dead")

#: A delay above the longest one that the broker keeps is tried where that is no longer than this.
_LONGEST_SECONDS: Final = 7 * 86_400.0


class Draft(NamedTuple):
    """A message to be."""

    key: str | None
    delay: Delay
    priority: int
    #: What the envelope says was spent already.
    attempts: int
    binary: bool


class Step(Protocol):
    """Something to be done in a run."""

    def play(self, run: Run) -> Coroutine[Any, Any, None]: ...


class Run:
    """
    Args:
        target: the adapter, and how to reach its broker.
        note: told in a line what was done, and when.
    """

    def __init__(self, target: Target, note: Callable[[str], object]) -> None:
        self.bench = Bench(target, note)
        #: As they were sent; what was sent again is there again.
        self.sent: list[Message] = []
        self.hands: dict[Name, Hands] = {}
        self.closed: list[Hands] = []
        self.crashed: list[Hands] = []

    async def start(self) -> None:
        await self.bench.start()
        for name in NAMES:
            self.open(name, 10)

    async def play(self, step: Step) -> None:
        await step.play(self)
        await self.bench.asking.settle_down()
        await self.bench.check_depth()

    async def drain(self) -> None:
        await drain(self.bench, list(self.hands.values()), self.crashed)

    @property
    def can(self) -> Capabilities:
        return self.bench.rig.can

    def open(self, name: Name, capacity: int) -> None:
        """A new receiver of that name; one of them has a connection of its own."""
        adapter = self.bench.other if name == "b" else None
        self.hands[name] = self.bench.open(name, capacity, adapter, dead=name == "dead")

    # -- deliveries

    def held(self, hands: Hands) -> Iterator[Hold]:
        """Whose leases run for sure."""
        at = self.bench.moment()
        return (hold for hold in hands.unsettled() if hold.item.is_held(at))

    def busy(self, by: Name) -> Hands | None:
        """Who was chosen, if it holds something; else another that does; else one that did."""
        ranked = sorted((self.hands[by], *self.hands.values()), key=_idleness)
        return ranked[0] if ranked[0].holds else None

    def picked(self, hands: Hands, picks: Iterable[int]) -> list[Hold]:
        """What it holds comes first, then what it held, the latest first."""
        latest = hands.holds[::-1]
        there = [hold for hold in latest if hold.current] + [hold for hold in latest if not hold.current]
        chosen = [there[pick] for pick in picks if pick < len(there)] or there[:1]
        return chosen[: self.can.max_batch]

    def may_extend(self, hold: Hold) -> bool:
        """The core asks for no more than the broker claims."""
        ends = self.bench.now + self.bench.rig.lease
        return not self.can.extend or ends - hold.since.earliest < self.can.max_lease_seconds

    # -- messages

    def messages(self, drafts: Iterable[Draft]) -> list[Message]:
        made = [self._message(draft, place) for place, draft in enumerate(drafts, len(self.sent) + 1)]
        made = made[: self.can.max_batch]
        self.sent += made
        return made

    def _message(self, draft: Draft, place: int) -> Message:
        delay = self.delay_seconds(draft.delay)
        return self.bench.rig.message(
            b"\xff\x00%d" % place if draft.binary else b"%d" % place,
            id=f"m{place}",
            key=draft.key,
            priority=draft.priority,
            attempts=draft.attempts,
            not_before=self.bench.rig.clock.now() + timedelta(seconds=delay) if delay else None,
            headers={"x-place": f"№ {place}"} if draft.binary else {},
        )

    # -- times

    def delay_seconds(self, delay: Delay) -> float:
        most, rig = self.can.max_delay_seconds, self.bench.rig
        beyond = most + 3600 if rig.pace.virtual and 0 < most <= _LONGEST_SECONDS else rig.delay
        return {"none": 0.0, "past": -3600.0, "short": rig.delay, "long": 1.5 * rig.lease, "beyond": beyond}[delay]

    def wait_seconds(self, wait: Span) -> float:
        rig = self.bench.rig
        return {"none": 0.0, "short": rig.patience, "long": 2 * rig.lease if rig.pace.virtual else rig.patience}[wait]

    def pause_seconds(self, pause: Pause) -> float:
        """Up to just before the next lease or delay ends, or just after, or regardless of them."""
        lease, due = self.bench.rig.lease, self.bench.reference.next_due(self.bench.now)
        left = 0.1 * lease if due is None else due - self.bench.now
        before = max(0.0, left - 0.01)
        return {"short": 0.1 * lease, "before": before, "after": left + 0.01, "part": 0.6 * lease, "long": 1.2 * lease}[
            pause
        ]


def _idleness(hands: Hands) -> tuple[bool, bool]:
    return not hands.unsettled(), not hands.holds
