"""The model forbids nothing that the contract leaves open: these odd adapters are right, and no run finds fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import leveler_memory.adapter
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from leveler_memory import MemoryAdapter, MemoryOptions
from leveler_memory.leases import Owner
from leveler_memory.personality import PersonalityName
from leveler_memory.queue import MemoryQueue
from leveler_memory.receiver import MemoryReceiver

from leveler.adapter import Abandon, Adapter, Delivery
from leveler.clock import Clock
from leveler.testing import VirtualClock
from leveler.testing.contract import Target
from leveler.testing.model import Machine


class Odd(Target):
    lease_seconds = 20.0

    def __init__(self, name: str, personality: PersonalityName, grace_seconds: float, spec: dict[str, Any]) -> None:
        self.name = name
        self.grace_seconds = grace_seconds
        self.options = MemoryOptions(personality=personality)
        self.spec = spec

    def clock(self) -> Clock:
        return VirtualClock()

    def adapter(self, clock: Clock) -> Adapter:
        return MemoryAdapter("memory://", self.options, clock=clock, deadline_seconds=5.0)


class GivesOneAtATime(MemoryReceiver):
    """A list may be shorter than the credit."""

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        return await super().receive(1, wait_seconds)


class GivesTheLatestFirst(MemoryQueue):
    """Only messages of one key are ordered, and only where that was asked for."""

    def take(self, count: int, owner: Owner, now: float) -> list[Delivery]:
        entries = self._waiting.take(len(self._waiting), now)
        for entry in entries[:-count]:
            self._waiting.put_back(entry, now)
        return self.leases.begin(entries[-count:][::-1], owner, now) if entries else []


class CountsWhatItCannotGiveBackUncounted(MemoryReceiver):
    """Where ``uncounted`` is "none" it is refused, or counts."""

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await super().abandon([item._replace(counted=True) for item in items])


class FetchesAhead(MemoryReceiver):
    """What it has fetched and not handed out nobody else can have, until it is stopped or closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fetched: list[Delivery] = []

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        if not any(self._is_held(delivery) for delivery in self.fetched):
            self.fetched = list(await super().receive(credit + 3, wait_seconds))
        held = [delivery for delivery in self.fetched if self._is_held(delivery)]
        came, self.fetched = held[:credit], held[credit:]
        await self.extend(came)
        return came

    async def hold(self, limit: int) -> None:
        await self._return()
        await super().hold(limit)

    async def close(self) -> None:
        if not self._closed:
            await self._return()
        await super().close()

    async def _return(self) -> None:
        fetched, self.fetched = self.fetched, []
        held = [delivery for delivery in fetched if self._is_held(delivery)]
        for start in range(0, len(held), 10):
            await self.abandon([Abandon(delivery) for delivery in held[start : start + 10]])

    def _is_held(self, delivery: Delivery) -> bool:
        if self._queue is not None:
            self._queue.catch_up()
        return self._queue is not None and self._queue.leases.of(delivery.receipt, self.owner) is not None


ODD: list[tuple[type, PersonalityName, float, dict[str, Any]]] = [
    (GivesOneAtATime, "plain", 0.0, {"ordered": True}),
    (GivesOneAtATime, "servicebus", 0.0, {}),
    (GivesTheLatestFirst, "plain", 0.0, {}),
    (GivesTheLatestFirst, "rabbitmq", 0.0, {}),
    (CountsWhatItCannotGiveBackUncounted, "fifo", 0.0, {"ordered": True}),
    (FetchesAhead, "sqs", 1.0, {}),
]


@pytest.mark.parametrize(("odd", "personality", "grace_seconds", "spec"), ODD)
def test_nothing_is_wrong_with_it(
    odd: type, personality: PersonalityName, grace_seconds: float, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (MemoryReceiver, MemoryQueue):
        if issubclass(odd, part):
            monkeypatch.setattr(leveler_memory.adapter, part.__name__, odd)
    target = Odd(odd.__name__, personality, grace_seconds, spec)
    machine = seed(1)(type(odd.__name__, (Machine,), {"target": target}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
