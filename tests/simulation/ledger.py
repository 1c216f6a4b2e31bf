"""The ledger: what happened, written by the simulation itself. No counter or event of leveler's is in it.

An order is what somebody meant to send, a handout is one delivery as the broker handed it out, a run is one start of
a handler. All of them know the moments at which things happened to them, in one numbering, so that what happened at
the same time still has an order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from leveler.adapter import Delivery
from leveler.message import Message
from leveler.schedule import Ask, Stretch
from leveler.testing import VirtualClock
from tests.simulation.loop import PROCESS

#: What a run may end with, besides the name of the outcome that it raised.
EFFECT: Final = "effect"
CUT: Final = "cut"
#: It never ended: its process died.
OPEN: Final = ""


class Moment(NamedTuple):
    """When something happened, and its place in the order of everything."""

    at: float
    number: int


class End(NamedTuple):
    """What the broker did with a handout."""

    moment: Moment
    #: ``complete``, ``abandon`` or ``dead_letter``.
    verb: str
    counted: bool = True
    delay_seconds: float = 0.0
    #: Of a dead letter.
    reason: str = ""


@dataclass(eq=False)
class Order:
    """One message, from the intent to send it."""

    queue: str
    id: str
    kind: str
    key: str | None
    #: How often the broker has taken it: more than once where its answer was lost.
    taken: list[Moment] = field(default_factory=list[Moment])
    acknowledged: bool = False
    #: Not to be started before, by a clock that nobody sets.
    not_before: float = 0.0
    handouts: list[Handout] = field(default_factory=list["Handout"])

    @property
    def runs(self) -> list[Run]:
        return [run for handout in self.handouts for run in handout.runs]

    @property
    def ends(self) -> list[Handout]:
        """The handouts that ended it for good."""
        return [one for one in self.handouts if one.end is not None and one.end.verb != "abandon"]


@dataclass(eq=False)
class Run:
    """One start of a handler."""

    handout: Handout
    process: str
    began: Moment
    #: The end of its lease, as far as the worker knew.
    leased_until: float
    #: How far the clock of its process was ahead.
    skew_seconds: float = 0.0
    ended: Moment | None = None
    outcome: str = OPEN


@dataclass(eq=False)
class Handout:
    """One delivery."""

    order: Order
    process: str
    delivery: Delivery
    attempt: int
    at: Moment
    #: How many suspension points its process had passed.
    step: int = 0
    #: The worker has got it.
    heard: bool = False
    heard_at: float = 0.0
    runs: list[Run] = field(default_factory=list[Run])
    end: End | None = None
    #: The worker was told that it took this verb.
    told: str = ""
    #: How many suspension points its process had passed then.
    told_step: int = 0
    #: The broker knows that it was to start alone.
    solo: bool = False
    #: The worker was told that it is no longer its own.
    gone: bool = False
    #: The verb that is under way for it.
    busy: str = ""
    #: Which faults have hit it: anything may have become of it then.
    touched: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return f"{self.order.id} attempt {self.attempt} in {self.process}"


class Reservation(NamedTuple):
    """The store of a fleet's rate has looked at its clock, whoever hears of it."""

    moment: Moment
    process: str
    starts: int


@dataclass
class Asked:
    """A worker has asked the store, and what it was told."""

    at: float
    #: When it was told something; None: nothing so far.
    told: Moment | None = None
    #: ... and whether that was an answer.
    is_given: bool = False


class Ledger:
    """All of one run.

    Args:
        clock: the world's time.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._number = 0
        self.orders: dict[str, Order] = {}
        self.handouts: list[Handout] = []
        #: Seen, and never sent.
        self.phantoms: list[str] = []
        #: What a worker did that nobody may do, whenever.
        self.breaches: list[str] = []
        #: When each process was told to stop.
        self.stops: dict[str, Moment] = {}
        #: When each process ended.
        self.exits: dict[str, Moment] = {}
        #: One line each, in order.
        self.trace: list[str] = []
        #: Of the fleet's rate.
        self.reservations: list[Reservation] = []
        #: What each process has asked for, and been told, of the fleet's rate.
        self.asked: dict[str, list[Asked]] = {}
        #: When each process stood still.
        self.frozen: dict[str, list[tuple[float, float]]] = {}
        self._by_message: dict[int, Handout] = {}
        self._by_delivery: dict[int, Handout] = {}

    def moment(self) -> Moment:
        self._number += 1
        return Moment(self._clock.monotonic(), self._number)

    def note(self, who: str, what: str) -> Moment:
        """Write a line."""
        moment = self.moment()
        self.trace.append(f"{moment.at:10.4f} {who:<12} {what}")
        return moment

    def breach(self, who: str, what: str) -> None:
        self.note(who, f"BREACH {what}")
        self.breaches.append(f"{who}: {what}")

    def digest(self) -> str:
        """The same for two runs only if every line is."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    # What is sent

    def intend(self, order: Order) -> None:
        self.orders[order.id] = order

    def took(self, who: str, message: Message, not_before: float) -> None:
        """The broker has accepted it, to hand it out no sooner."""
        moment = self.note(who, f"sent {message.id}")
        order = self.orders.get(message.id)
        if order is None:
            self.phantoms.append(message.id)
        else:
            if not order.taken:
                order.not_before = not_before
            order.taken.append(moment)

    # What is handed out

    def hand_out(self, who: str, delivery: Delivery) -> Handout | None:
        moment = self.note(who, f"gets {delivery.message.id} attempt {delivery.attempt}")
        order, process = self.orders.get(delivery.message.id), PROCESS.get()
        if order is None:
            self.phantoms.append(delivery.message.id)
            return None
        handout = Handout(order, who, delivery, delivery.attempt, moment, process.steps if process else 0)
        order.handouts.append(handout)
        self.handouts.append(handout)
        self._by_message[id(delivery.message)] = handout
        self._by_delivery[id(delivery)] = handout
        return handout

    def of_message(self, message: Message) -> Handout | None:
        """The handout that brought this very object."""
        return self._by_message.get(id(message))

    def of_delivery(self, delivery: Delivery) -> Handout | None:
        return self._by_delivery.get(id(delivery))

    def held(self, who: str) -> list[Handout]:
        """What this process has got and the broker has not heard of again."""
        return [one for one in self.handouts if one.process == who and one.end is None]

    def touch(self, handouts: list[Handout], fault: str) -> None:
        for one in handouts:
            one.touched.append(fault)

    # What is run

    def start(self, who: str, message: Message, skew_seconds: float = 0.0) -> Run:
        handout = self.of_message(message)
        moment = self.note(who, f"starts {message.id}")
        if handout is None:
            self.breach(who, f"starts {message.id}, which nobody handed out")
            raise LookupError(message.id)
        run = Run(handout, who, moment, handout.delivery.leased_until, skew_seconds)
        handout.runs.append(run)
        return run

    def finish(self, run: Run, outcome: str) -> None:
        run.ended = self.note(run.process, f"ends {run.handout.order.id}: {outcome}")
        run.outcome = outcome

    # What is reserved of the fleet's rate

    def ask(self, who: str) -> int:
        asked = self.asked.setdefault(who, [])
        asked.append(Asked(self._clock.monotonic()))
        return len(asked) - 1

    def reserve(self, who: str, ask: Ask, stretch: Stretch) -> None:
        what = f"{stretch.starts} of {ask.starts} starts in {stretch.wait_seconds:.3f} s, one of {stretch.workers}"
        self.reservations.append(Reservation(self.note(who, f"reserves {what}"), who, stretch.starts))

    def answer(self, who: str, number: int, *, is_given: bool) -> None:
        asked = self.asked[who][number]
        asked.told = self.note(who, "is answered by the store" if is_given else "hears nothing from the store")
        asked.is_given = is_given

    # What becomes of processes

    def fault(self, who: str, what: str, **words: Any) -> None:
        detail = "".join(f" {name}={word}" for name, word in words.items())
        self.note(who, f"FAULT {what}{detail}")
