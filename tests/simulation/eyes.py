"""Eyes: what a witness tells goes into the ledger. The broker's knows what is true, the worker's what was said."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler.clock import Clock
from leveler.errors import LeaseLost, ReceiverLost, Unsupported
from leveler.message import Message
from leveler.schedule import Ask, Stretch
from tests.simulation.ledger import End, Handout, Ledger
from tests.simulation.loop import PROCESS
from tests.simulation.witness import Failures, Item, Seen

#: Verbs after which a delivery is still ours.
KEEPING: Final = ("extend", "mark_solo")
#: Answers that take longer are a fault: leases may run out meanwhile.
SLOW_SECONDS: Final = 1.0


class Nobody:
    """It looks away."""

    def sends(self) -> None: ...

    def sent(self, messages: Sequence[Message], failed: Failures) -> None: ...

    def refused(self, receiver: Seen, verb: str, error: BaseException) -> None: ...

    def receives(self, receiver: Seen) -> None: ...

    def received(self, receiver: Seen, deliveries: Sequence[Delivery], error: BaseException | None) -> None: ...

    def settles(self, receiver: Seen, verb: str, items: Sequence[Item]) -> None: ...

    def settled(self, receiver: Seen, verb: str, items: Sequence[Item], failed: Failures) -> None: ...

    def closes(self, receiver: Seen) -> None: ...

    def reserves(self, ask: Ask) -> int:
        return 0

    def reserved(self, number: int, ask: Ask, stretch: Stretch | None) -> None: ...


class BrokerEye(Nobody):
    """What really happened, the moment it happened, whether or not anybody hears of it."""

    def __init__(self, who: str, ledger: Ledger, clock: Clock) -> None:
        self._who, self._ledger, self._clock = who, ledger, clock

    def sent(self, messages: Sequence[Message], failed: Failures) -> None:
        for index, message in enumerate(messages):
            if index not in failed:
                wait = message.delay_seconds(self._clock.now())
                self._ledger.took(self._who, message, self._clock.monotonic() + wait if wait else 0.0)

    def received(self, receiver: Seen, deliveries: Sequence[Delivery], error: BaseException | None) -> None:
        for delivery in deliveries:
            # An object of its own: whoever shows it shows which delivery he means.
            delivery.message = msgspec.structs.replace(delivery.message)
            self._ledger.hand_out(self._who, delivery)

    def settled(self, receiver: Seen, verb: str, items: Sequence[Item], failed: Failures) -> None:
        for index, item in enumerate(items):
            handout = self._ledger.of_delivery(_delivery(item))
            if handout is None or index in failed:
                continue
            moment = self._ledger.note(self._who, f"{verb} {handout.order.id} is done")
            if verb not in KEEPING:
                handout.end = _end(moment, verb, item)
            handout.solo = handout.solo or verb == "mark_solo"

    def reserved(self, number: int, ask: Ask, stretch: Stretch | None) -> None:
        if stretch is not None:
            self._ledger.reserve(self._who, ask, stretch)


class WorkerEye:
    """What the worker asks for and is told, and whether it may."""

    def __init__(self, who: str, ledger: Ledger, clock: Clock, *, concurrent: bool) -> None:
        self._who, self._ledger, self._clock, self._concurrent = who, ledger, clock, concurrent
        self._receiving: Counter[Seen] = Counter()
        self._settling: Counter[Seen] = Counter()
        self._asked_at: dict[tuple[Seen, int], float] = {}
        #: How many sends are under way.
        self.sending = 0
        #: How many items of each verb it was told to be done.
        self.told: Counter[str] = Counter()

    def sends(self) -> None:
        self.sending += 1

    def sent(self, messages: Sequence[Message], failed: Failures) -> None:
        self.sending -= 1

    def refused(self, receiver: Seen, verb: str, error: BaseException) -> None:
        self._look_at(receiver, error, verb)

    def receives(self, receiver: Seen) -> None:
        if self._receiving[receiver]:
            self._ledger.breach(self._who, "receives twice at once")
        self._receiving[receiver] += 1

    def received(self, receiver: Seen, deliveries: Sequence[Delivery], error: BaseException | None) -> None:
        self._receiving[receiver] -= 1
        self._look_at(receiver, error, "receive")
        for delivery in deliveries:
            handout = self._ledger.of_delivery(delivery)
            if handout is not None:
                handout.heard, handout.heard_at = True, self._clock.monotonic()
                if self._clock.monotonic() - handout.at.at > SLOW_SECONDS:
                    handout.touched.append("heard of it late")

    def settles(self, receiver: Seen, verb: str, items: Sequence[Item]) -> None:
        self._settling[receiver] += 1
        if self._settling[receiver] > 1 and not self._concurrent:
            self._ledger.breach(self._who, f"{verb} beside another verb of the same receiver")
        for handout in self._handouts(items):
            self._asked_at[receiver, id(handout)] = self._clock.monotonic()
            self._may(verb, handout)
            handout.busy = verb

    def settled(self, receiver: Seen, verb: str, items: Sequence[Item], failed: Failures) -> None:
        self._settling[receiver] -= 1
        for index, handout in enumerate(self._handouts(items)):
            handout.busy = ""
            error = failed.get(index)
            if error is not None:
                self._look_at(receiver, error, f"{verb} {handout.order.id}")
                handout.touched.append(f"{verb}: {type(error).__name__}")
                handout.gone = handout.gone or isinstance(error, LeaseLost | ReceiverLost)
            elif verb not in KEEPING:
                handout.told, handout.told_step = verb, self._steps()
                self.told[_told(verb, items[index])] += 1
            if self._clock.monotonic() - self._asked_at.pop((receiver, id(handout))) > SLOW_SECONDS:
                # Others may have waited for the same turn.
                self._ledger.touch(self._ledger.held(self._who), f"{verb} was slow")

    def closes(self, receiver: Seen) -> None:
        """At its end a worker settles everything before; at any other time, and where the receiver is silent, it gives
        up what that has brought."""
        if self._who not in self._ledger.stops or self._receiving[receiver]:
            self._lose(receiver, "receiver closed")

    def reserves(self, ask: Ask) -> int:
        return self._ledger.ask(self._who)

    def reserved(self, number: int, ask: Ask, stretch: Stretch | None) -> None:
        self._ledger.answer(self._who, number, is_given=stretch is not None)

    @staticmethod
    def _steps() -> int:
        process = PROCESS.get()
        return 0 if process is None else process.steps

    def _lose(self, receiver: Seen, fault: str) -> None:
        self._ledger.touch([one for one in self._ledger.held(self._who) if one.order.queue == receiver.queue], fault)

    def _handouts(self, items: Sequence[Item]) -> list[Handout]:
        found = (self._ledger.of_delivery(_delivery(item)) for item in items)
        return [handout for handout in found if handout is not None]

    def _may(self, verb: str, handout: Handout) -> None:
        """The contract's orders to the core."""
        what = f"{verb} {handout}"
        if handout.busy:
            self._ledger.breach(self._who, f"{what} while its {handout.busy} is under way")
        if handout.told:
            self._ledger.breach(self._who, f"{what} although it was told that its {handout.told} was done")
        if handout.gone:
            self._ledger.breach(self._who, f"{what} although it was told that its lease is lost")

    def _look_at(self, receiver: Seen, error: BaseException | None, what: str) -> None:
        if isinstance(error, ReceiverLost):
            self._lose(receiver, "receiver lost")
        if isinstance(error, Unsupported):
            self._ledger.breach(self._who, f"{what}: {error}")
        elif isinstance(error, asyncio.CancelledError):
            self._ledger.breach(self._who, f"{what}: cancelled in flight")
        elif error is not None and not isinstance(error, GeneratorExit):  # that is its burial
            self._ledger.note(self._who, f"{what}: {type(error).__name__}")


def _delivery(item: Item) -> Delivery:
    return item if isinstance(item, Delivery) else item.delivery


def _end(moment: object, verb: str, item: Item) -> End:
    if isinstance(item, Abandon):
        return End(moment, verb, item.counted, item.delay_seconds)  # type: ignore[arg-type]
    if isinstance(item, DeadLetter):
        return End(moment, verb, reason=item.death.reason)  # type: ignore[arg-type]
    return End(moment, verb)  # type: ignore[arg-type]


def _told(verb: str, item: Item) -> str:
    return f"{verb} uncounted" if isinstance(item, Abandon) and not item.counted else verb
