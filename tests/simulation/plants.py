"""Plants: bugs, put on purpose between a worker and its network. What cannot see these cannot see anything.

Each is an adapter that behaves as if the worker, or its adapter, had the bug: so they need to know nothing of what is
inside leveler. The last ones are in leveler's limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

import leveler_memory.adapter

from leveler.adapter import Abandon, Adapter, DeadLetter, Delivery, QueueSpec, Receiver, Sender
from leveler.consumer import decision
from leveler.consumer.limits import FixedConcurrency, FleetRate, Gate, Rate, fleet
from leveler.errors import LevelerError
from leveler.runtime import Runtime
from leveler.schedule import Ask, Mark
from tests.simulation.eyes import Nobody
from tests.simulation.witness import Witness


class Bug(Receiver):
    """A receiver that does everything right. Those below do one thing wrong."""

    def __init__(self, inner: Receiver, sender: Sender, memory: Counter[str]) -> None:
        #: `memory` is the process's own, and ends with it.
        self.inner, self.sender, self.memory = inner, sender, memory

    async def hold(self, limit: int) -> None:
        await self.inner.hold(limit)

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        return await self.inner.receive(credit, wait_seconds)

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self.inner.complete(deliveries)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self.inner.abandon(items)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await self.inner.dead_letter(items)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        await self.inner.extend(deliveries)

    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        await self.inner.mark_solo(deliveries)

    async def close(self) -> None:
        await self.inner.close()


class CompletesBeforeTheHandler(Bug):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        deliveries = await self.inner.receive(credit, wait_seconds)
        if deliveries:
            await self.inner.complete(deliveries)
        return deliveries

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        """It is done already."""


class SettlesTwice(Bug):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self.inner.complete(deliveries)
        await self.inner.complete(deliveries)


class CompletesWhatFailed(Bug):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self.inner.complete([item.delivery for item in items])


class CompletesWhatIsDead(Bug):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await self.inner.complete([item.delivery for item in items])


class DropsOnReceiverLoss(Bug):
    """What was held when a receiver was lost is taken for done when it comes again."""

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        deliveries = await self.inner.receive(credit, wait_seconds)
        known = [delivery for delivery in deliveries if delivery.message.id in self.memory]
        self.memory.update(delivery.message.id for delivery in deliveries)
        if known:
            await self.inner.complete(known)
        return [delivery for delivery in deliveries if delivery not in known]

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self.inner.abandon(items)
        for item in items:
            self.memory.pop(item.delivery.message.id)


class ForgetsToGiveBack(Bug):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        if kept := [item for item in items if item.counted or item.delay_seconds]:
            await self.inner.abandon(kept)


class IgnoresLostLeases(Bug):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await _believing(self.inner.complete, deliveries)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        await _believing(self.inner.extend, deliveries)
        for delivery in deliveries:
            delivery.leased_until = float("inf")


class KeepsAttemptsInMemory(Bug):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        deliveries = await self.inner.receive(credit, wait_seconds)
        for delivery in deliveries:
            self.memory[delivery.message.id] += 1
            delivery.attempt = self.memory[delivery.message.id]
        return deliveries


class NeverCounts(Bug):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self.inner.abandon([item._replace(counted=False) for item in items])


class CountsWhatIsNobodysFault(Bug):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self.inner.abandon([item._replace(counted=True) for item in items])


class RetriesHot(Bug):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self.inner.abandon([item._replace(delay_seconds=0.0) for item in items])


class SwallowsCompletions(Bug):
    """Every fifth is believed, and never made."""

    count = 0

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        kept = []
        for delivery in deliveries:
            self.count += 1
            if self.count % 5:
                kept.append(delivery)
        if kept:
            await self.inner.complete(kept)


class SwallowsExtensions(Bug):
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Believed, and never made."""
        for delivery in deliveries:
            delivery.leased_until += 1000.0


class CopiesWithoutConfirmation(Bug):
    """The source is removed first; the copy follows, if nothing comes between."""

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self.inner.complete([item.delivery for item in items])
        for item in items:
            message, attempt = item.delivery.message, item.delivery.attempt
            await self.sender.send([message.copy(attempts=attempt, not_before=None, failed_at=message.failed_at)])


class GivesBackByACopyThatIsNoNewGeneration(Bug):
    """A broker that drops duplicates takes the copy for one."""

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self.sender.send([item.delivery.message for item in items])
        await self.inner.complete([item.delivery for item in items])


class TurnsAround(Bug):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        return [*reversed(await self.inner.receive(credit, wait_seconds))]


class ShowsDeliveriesTwice(Bug):
    """What was received is handed on again with the next receive."""

    last: Sequence[Delivery] = ()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        deliveries = await self.inner.receive(credit, wait_seconds)
        again, self.last = self.last[:1], deliveries
        return [*deliveries, *again]


async def _believing(verb: Callable[[Any], Any], deliveries: Sequence[Delivery]) -> None:
    """Call it, and believe that all has gone well."""
    with suppress(LevelerError):
        await verb(deliveries)


class Planted(Witness):
    """An adapter whose receivers have the bug."""

    def __init__(self, inner: Adapter, bug: type[Bug]) -> None:
        super().__init__(inner, Nobody())
        self._bug = bug
        self._memory: Counter[str] = Counter()

    def sender(self, queue: QueueSpec) -> Sender:
        return self._inner.sender(queue)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        return self._bug(self._inner.receiver(queue, capacity=capacity, dead=dead), self.sender(queue), self._memory)


@dataclass(frozen=True)
class Plant:
    """One bug: in every receiver, or in leveler itself."""

    bug: type[Bug] = Bug
    where: Any = None
    name: str = ""
    instead: Any = None

    def adapter(self, inner: Adapter) -> Adapter:
        return Planted(inner, self.bug)

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While inside, leveler has it."""
        with patch.object(self.where, self.name, self.instead) if self.where is not None else nullcontext():
            yield


_drain = Runtime.drain


async def _drain_late(self: Runtime, drain_seconds: float) -> int:
    await self.clock.sleep(3.0)
    return await _drain(self, drain_seconds)


def _first_come(mark: Mark | None, ask: Ask, now: float) -> tuple[Mark | None, float]:
    return Mark(now, 0.0), 0.0


def _wait_in_vain(self: Gate, fleet: FleetRate, now: float, wait: float) -> float:
    if self._paused_until <= now and all(limit.wait(now) <= 0 for limit in self.limits if limit is not fleet):
        fleet.want()
    return wait  # for what nobody has asked for


BUGS: Final[tuple[type[Bug], ...]] = (
    CompletesBeforeTheHandler,
    SettlesTwice,
    CompletesWhatFailed,
    CompletesWhatIsDead,
    DropsOnReceiverLoss,
    ForgetsToGiveBack,
    IgnoresLostLeases,
    KeepsAttemptsInMemory,
    NeverCounts,
    CountsWhatIsNobodysFault,
    RetriesHot,
    SwallowsCompletions,
    SwallowsExtensions,
    CopiesWithoutConfirmation,
    GivesBackByACopyThatIsNoNewGeneration,
    TurnsAround,
    ShowsDeliveriesTwice,
)
PLANTS: Final[Mapping[str, Plant]] = {
    **{bug.__name__: Plant(bug) for bug in BUGS},
    "HasNoConcurrencyLimit": Plant(where=FixedConcurrency, name="wait", instead=lambda self, now: 0.0),
    "HasNoRate": Plant(where=Rate, name="wait", instead=lambda self, now: 0.0),
    "IsDeafToSignals": Plant(where=Runtime, name="drain", instead=_drain_late),
    "HasNoQuarantine": Plant(where=decision, name="starts_alone", instead=lambda delivery, rules: False),
}
#: Those that only workers can have who have one rate together: seeds of `fleets` find them.
FLEET_PLANTS: Final[Mapping[str, Plant]] = {
    "EverybodyIsFirst": Plant(where=leveler_memory.adapter, name="reserve", instead=_first_come),
    "SavesUpWhatHasPassed": Plant(where=FleetRate, name="_let_pass", instead=lambda self, now: None),
    "HasAllOfTheRateWithoutTheStore": Plant(
        where=FleetRate, name="local_per_second", instead=property(lambda self: self.per_second)
    ),
    "NeverComesBack": Plant(where=fleet, name="AGAIN_SECONDS", instead=1e9),
    "SleepsThroughTheEndOfAPause": Plant(where=Gate, name="_want", instead=_wait_in_vain),
}
