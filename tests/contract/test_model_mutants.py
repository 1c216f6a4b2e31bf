"""The model sees: each of these memory adapters has one bug, and the runs find it, always in the same way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import leveler_memory.adapter
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from leveler_memory import MemoryAdapter, MemoryOptions
from leveler_memory.entry import Entry
from leveler_memory.personality import PersonalityName
from leveler_memory.queue import MemoryQueue
from leveler_memory.receiver import MemoryReceiver
from msgspec.structs import replace

from leveler.adapter import Abandon, Adapter, DeadLetter, Delivery, Depth, QueueSpec
from leveler.clock import Clock
from leveler.errors import BatchError
from leveler.message import Message
from leveler.testing import VirtualClock
from leveler.testing.contract import Target
from leveler.testing.model import Machine, Violation, model_test

#: Most are found by the first ten.
EXAMPLES = 500


class Mutant(Target):
    lease_seconds = 20.0
    grace_seconds = 0.0

    def __init__(self, broken: type, personality: PersonalityName, spec: dict[str, Any]) -> None:
        self.name = broken.__name__
        self.adapter_class = broken if issubclass(broken, MemoryAdapter) else MemoryAdapter
        self.options = MemoryOptions(personality=personality)
        self.spec = spec
        self.connections = 0

    def clock(self) -> Clock:
        return VirtualClock()

    def adapter(self, clock: Clock) -> Adapter:
        self.connections += 1
        adapter: Adapter = self.adapter_class("memory://", self.options, clock=clock, deadline_seconds=5.0)
        return adapter


# -- leases


class ExtendsOnPaper(MemoryReceiver):
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        queue, now = self._begin(len(deliveries))
        mine = [one for one in deliveries if queue.leases.of(one.receipt, self.owner)]
        for delivery in mine:
            delivery.leased_until = now + queue.leases.length_seconds
        await super().extend([delivery for delivery in deliveries if delivery not in mine])


class LetsStaleHoldersComplete(MemoryReceiver):
    """By the message, whoever has it now."""

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        queue, now = self._begin(len(deliveries))
        for delivery in deliveries:
            for entry in [entry for entry in queue.leases if entry.message.body == delivery.message.body]:
                queue.remove(entry, now)


class KeepsSilentAboutStaleHolders(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        with suppress(BatchError):
            await super().complete(deliveries)


class LosesWhatACrashedReceiverHeld(MemoryQueue):
    """Nobody looks for leases that nobody gave back."""

    def catch_up(self) -> float:
        self.leases.first_end = float("inf")
        return super().catch_up()


class HandsOutWhatIsLeasedOnceMore(MemoryQueue):
    """A lease that is extended at its end has been taken for over already."""

    def catch_up(self) -> float:
        now = super().catch_up()
        for entry in [entry for entry, lease in self.leases.items() if lease.until - now < 1.0]:
            if not entry.message.headers.get("x-again"):
                self.send([entry.message], now)
        return now


class ForgetsWhatWasHeldWhenTheConnectionEnds(MemoryReceiver):
    async def close(self) -> None:
        if self._queue is not None and not self._closed:
            for entry in self._queue.leases.owned(self.owner):
                self._queue.remove(entry, self._clock.monotonic())
        await super().close()


class IgnoresItsCapacity(MemoryReceiver):
    def __init__(self, *args: Any, capacity: int) -> None:
        super().__init__(*args, capacity=10_000)


# -- giving back


class LosesTheDelay(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await super().abandon([item._replace(delay_seconds=0.0) for item in items])


class TakesTheFirstDelayForAll(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await super().abandon([item._replace(delay_seconds=items[0].delay_seconds) for item in items])


class RestoresNoCount(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await super().abandon([item._replace(counted=True) for item in items])


class ForgetsTheCountOfACopy(MemoryReceiver):
    def _copy(self, item: Abandon) -> Message:
        return replace(super()._copy(item), attempts=0)


class MakesCopiesThatLookLikeDuplicates(MemoryReceiver):
    def _copy(self, item: Abandon) -> Message:
        return replace(super()._copy(item), generation=item.delivery.message.generation)


class WakesNobodyWhenGivenBack(MemoryQueue):
    def give_back(self, entry: Entry, now: float, *, delay_seconds: float, counted: bool) -> None:
        waiting, self.waiters._futures = self.waiters._futures, {}
        super().give_back(entry, now, delay_seconds=delay_seconds, counted=counted)
        self.waiters._futures = waiting


class LosesTheOrderOfWhatIsGivenBack(MemoryQueue):
    def give_back(self, entry: Entry, now: float, *, delay_seconds: float, counted: bool) -> None:
        if entry.message.key:
            entry.position = self._sent
            self._sent += 1
        super().give_back(entry, now, delay_seconds=delay_seconds, counted=counted)


class LetsAKeyGoOnDuringADelay(MemoryQueue):
    """The delayed message is put behind the others of its key."""

    def give_back(self, entry: Entry, now: float, *, delay_seconds: float, counted: bool) -> None:
        if delay_seconds and entry.message.key:
            entry.position = self._sent + 1_000_000
        super().give_back(entry, now, delay_seconds=delay_seconds, counted=counted)


# -- duplicates


class DropsNoDuplicate(MemoryQueue):
    def _is_duplicate(self, message: Message, now: float) -> bool:
        return False


class RemembersForEver(MemoryQueue):
    def configure(self, **settings: Any) -> None:
        super().configure(**{**settings, "dedup_seconds": settings.get("dedup_seconds", 0.0) * 1e6})


# -- dead letters


class KeepsTheSourceOfADeadLetter(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        queue, now = self._begin(len(items))
        if queue.dead is None:
            await super().dead_letter(items)
        mine = [item for item in items if queue.leases.of(item.delivery.receipt, self.owner)]
        await super().dead_letter(items)
        queue.send([item.delivery.message for item in mine], now)


class LosesHeadersOfTheDead(MemoryReceiver):
    def _carried(self, message: Message) -> Message:
        return replace(super()._carried(message), headers={}) if message.death else super()._carried(message)


class CutsBodiesOfTheDead(MemoryReceiver):
    def _carried(self, message: Message) -> Message:
        return replace(super()._carried(message), body=message.body[:1]) if message.death else super()._carried(message)


class CountsTheDead(MemoryQueue):
    def _return(self, entry: Entry, *args: Any, **options: Any) -> None:
        entry.attempt += self.dead is None
        super()._return(entry, *args, **options)


# -- looks


class PurgesWhatIsLeased(MemoryQueue):
    def purge(self) -> int:
        for entry in list(self.leases):
            self.leases.end(entry)
            self._waiting.release(entry, 0.0)
        return super().purge()


class MiscountsByOne(MemoryAdapter):
    """What was dead-lettered and replayed is counted as dead still."""

    async def depth(self, queue: QueueSpec) -> Depth:
        depth = await super().depth(queue)
        return depth._replace(ready=depth.ready - 1) if depth.ready and depth.delayed else depth


class CountsALook(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        messages = await super().peek(queue, limit, dead=dead)
        for entry in self._find(queue.name)._waiting:
            entry.attempt += 1
        return messages


class NeverTakesNotBeforeSeriously(MemoryQueue):
    def _delay_seconds(self, message: Message) -> float:
        return super()._delay_seconds(message) / 2


MUTANTS: list[tuple[type, PersonalityName, dict[str, Any], str]] = [
    (ExtendsOnPaper, "plain", {}, "held twice|refused|depth"),
    (LetsStaleHoldersComplete, "plain", {}, "a stale holder"),
    (KeepsSilentAboutStaleHolders, "plain", {}, "a stale holder"),
    (LosesWhatACrashedReceiverHeld, "plain", {}, "lost|stuck|depth|a stale holder"),
    (HandsOutWhatIsLeasedOnceMore, "plain", {}, "held twice|depth|attempt"),
    (ForgetsWhatWasHeldWhenTheConnectionEnds, "rabbitmq", {}, "lost|stuck|depth"),
    (IgnoresItsCapacity, "sqs", {}, "too many"),
    (LosesTheDelay, "sqs", {}, "too early"),
    (TakesTheFirstDelayForAll, "sqs", {}, "too early|stuck"),
    (RestoresNoCount, "plain", {}, "attempt"),
    (ForgetsTheCountOfACopy, "rabbitmq", {}, "attempt"),
    (MakesCopiesThatLookLikeDuplicates, "servicebus", {}, "lost|stuck|depth"),
    (WakesNobodyWhenGivenBack, "plain", {}, "stuck"),
    (LosesTheOrderOfWhatIsGivenBack, "fifo", {"ordered": True}, "order"),
    (LetsAKeyGoOnDuringADelay, "fifo", {"ordered": True}, "order|stuck"),
    (DropsNoDuplicate, "plain", {"dedup_seconds": 5.0}, "phantom|depth"),
    (RemembersForEver, "plain", {"dedup_seconds": 5.0}, "lost|stuck|depth"),
    (KeepsTheSourceOfADeadLetter, "sqs", {}, "phantom|purged"),
    (LosesHeadersOfTheDead, "plain", {}, "changed"),
    (CutsBodiesOfTheDead, "plain", {}, "phantom|held twice|peek"),
    (CountsTheDead, "sqs", {}, "attempt"),
    (PurgesWhatIsLeased, "plain", {}, "refused|depth"),
    (MiscountsByOne, "plain", {}, "depth"),
    (CountsALook, "plain", {}, "attempt"),
    (NeverTakesNotBeforeSeriously, "sqs", {}, "too early"),
]


@pytest.mark.parametrize(
    ("broken", "personality", "spec", "sees"), MUTANTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_bug_is_found(
    broken: type, personality: PersonalityName, spec: dict[str, Any], sees: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (MemoryReceiver, MemoryQueue):
        if issubclass(broken, part):
            monkeypatch.setattr(leveler_memory.adapter, part.__name__, broken)
    machine = seed(1)(type(broken.__name__, (Machine,), {"target": Mutant(broken, personality, spec)}))
    with pytest.raises(Violation, match=f"^({sees})"):
        run_state_machine_as_test(machine, settings=_search())


def test_a_failing_run_is_replayed_from_the_line_that_it_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leveler_memory.adapter, "MemoryReceiver", ForgetsWhatWasHeldWhenTheConnectionEnds)
    target = Mutant(ForgetsWhatWasHeldWhenTheConnectionEnds, "rabbitmq", {})

    def printed() -> str:
        with pytest.raises(Violation) as failed:
            model_test(target, steps=10)("runTest").debug()
        return "\n".join([*getattr(failed.value, "__notes__", []), capsys.readouterr().out])

    monkeypatch.setenv("LEVELER_TEST_SEED", "1")
    first = printed()
    [blob] = re.findall(r"@reproduce_failure\('[\d.]+', b'([^']+)'\)", first)
    assert "a closes" in first
    monkeypatch.setenv("LEVELER_TEST_REPLAY", blob)
    target.connections = 0
    assert _steps(printed()) == _steps(first)
    assert target.connections <= 3, "it searched again"


def _steps(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("state.then")]


def _search() -> settings:
    """Until the first failure, whatever it takes to show it."""
    return settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
