"""Bugs, planted on purpose: what cannot find these cannot find anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler.consumer import consumer, settlement
from leveler.consumer.decision import Rules
from leveler.consumer.settlement import Settlement


def acknowledge_first() -> None:
    """The message is completed before its handler runs: a crash loses it."""
    real = consumer.Consumer._handle

    async def handle(self: Any, held: Any) -> Any:
        await held.receiver.complete([held.delivery])
        return await real(self, held)

    consumer.Consumer._handle = handle  # type: ignore[method-assign]


def lose_failures() -> None:
    """A failed message is completed instead of given back."""

    def settle(self: Settlement, held: Any, decision: Any) -> None:
        real(self, held, held.delivery if isinstance(decision, Abandon) else decision)

    real = Settlement.settle
    Settlement.settle = settle  # type: ignore[method-assign]


def drop_dead_letters() -> None:
    """A dead letter is completed, not moved."""

    def settle(self: Settlement, held: Any, decision: Any) -> None:
        real(self, held, held.delivery if isinstance(decision, DeadLetter) else decision)

    real = Settlement.settle
    Settlement.settle = settle  # type: ignore[method-assign]


def swallow_completions() -> None:
    """Every seventh completion is believed and never made: the message comes again, without a cause in the ledger."""
    count = 0
    real = settlement._failures

    async def failures(verb: Callable[[Sequence[Any]], Any], items: list[Any]) -> Any:
        nonlocal count
        kept = []
        for item in items:
            count += 1
            if not (isinstance(item, Delivery) and count % 7 == 0):
                kept.append(item)
        return await real(verb, kept) if kept else {}

    settlement._failures = failures


def no_quarantine() -> None:
    """What arrives too often starts among its neighbours, and takes them along."""
    consumer.starts_alone = lambda delivery, rules: False  # type: ignore[attr-defined]


def no_limit_of_deliveries() -> None:
    """A message that kills its process is started for ever."""
    real = Rules.__init__

    def init(self: Rules, **words: Any) -> None:
        real(self, **{**words, "max_deliveries": 1_000_000})

    Rules.__init__ = init  # type: ignore[method-assign]


def deaf_to_signals() -> None:
    """SIGTERM does not stop the intake: messages are started after it."""

    async def stop(self: Any, drain_seconds: float) -> int:
        import asyncio

        await asyncio.sleep(3)
        return int(await real(self, drain_seconds))

    real = consumer.Consumer.stop
    consumer.Consumer.stop = stop  # type: ignore[method-assign]


PLANTS: Final[dict[str, Callable[[], None]]] = {
    plant.__name__: plant
    for plant in (
        acknowledge_first,
        lose_failures,
        drop_dead_letters,
        swallow_completions,
        no_quarantine,
        no_limit_of_deliveries,
        deaf_to_signals,
    )
}


def plant(name: str) -> None:
    """Plant one, by name; none if the name is empty."""
    if name:
        PLANTS[name]()
