"""Bugs, planted on purpose: what cannot find these cannot find anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from leveler import runtime
from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler.consumer import consumer, decision, settlement
from leveler.consumer.decision import Rules
from leveler.consumer.lease import Leases
from leveler.consumer.limits import FleetRate
from leveler.consumer.settlement import Settlement
from leveler.errors import BatchError, BrokerError, BrokerUnavailable, LevelerError, SendUnknown


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
    decision.starts_alone = lambda delivery, rules: False


def no_limit_of_deliveries() -> None:
    """A message that kills its process is started for ever."""
    real = Rules.__init__

    def init(self: Rules, **words: Any) -> None:
        real(self, **{**words, "max_deliveries": 1_000_000})

    Rules.__init__ = init  # type: ignore[method-assign]


def deaf_to_signals() -> None:
    """SIGTERM does not stop the intake: messages are started after it."""

    async def stop(self: Any, drain_seconds: float) -> int:
        await asyncio.sleep(3)
        return int(await real(self, drain_seconds))

    real = consumer.Consumer.stop
    consumer.Consumer.stop = stop  # type: ignore[method-assign]


# At the adapter: what an adapter of a server can do wrong when the way to it is cut.


def forget_unknown_sends() -> None:
    """Whether a message is queued is not known, and it is taken for sent: a cut before it arrived loses it."""

    def believes(sender: Any) -> None:
        real = sender.send

        async def send(messages: Sequence[Any]) -> None:
            failed = {index: error for index, error in (await _failed(real, messages)).items() if not _unknown(error)}
            if failed:
                raise BatchError(failed)

        sender.send = send

    _on_every("sender", believes)


def call_unknown_sends_refused() -> None:
    """Whether a message is queued is not known, and it is said not to be: nobody expects it twice."""

    def denies(sender: Any) -> None:
        real = sender.send

        async def send(messages: Sequence[Any]) -> None:
            failed = await _failed(real, messages)
            if failed:
                gone = BrokerUnavailable("planted")
                raise BatchError({index: gone if _unknown(error) else error for index, error in failed.items()})

        sender.send = send

    _on_every("sender", denies)


def believe_in_completions() -> None:
    """A completion that never arrived is taken for made: the message comes again, without a cause in the ledger."""

    def believes(receiver: Any) -> None:
        real = receiver.complete

        async def complete(deliveries: Sequence[Any]) -> None:
            with suppress(BrokerError):
                await real(deliveries)

        receiver.complete = complete

    _on_every("receiver", believes)


def believe_in_parts() -> None:
    """A batch that was accepted in part is taken for accepted: what the answer says of its messages is not read."""

    def believes(sender: Any) -> None:
        real = sender.send

        async def send(messages: Sequence[Any]) -> None:
            try:
                await real(messages)
            except BatchError as error:
                if len(error.failed) == len(messages):
                    raise

        sender.send = send

    _on_every("sender", believes)


def never_come_back() -> None:
    """Whoever has lost a connection once receives nothing any more, and says nothing of it."""
    lost = False

    def deafens(receiver: Any) -> None:
        real = receiver.receive

        async def receive(credit: int, wait_seconds: float) -> Sequence[Any]:
            nonlocal lost
            if lost:
                await asyncio.sleep(wait_seconds)
                return []
            try:
                return cast(Sequence[Any], await real(credit, wait_seconds))
            except BrokerError:
                lost = True
                raise

        receiver.receive = receive

    _on_every("receiver", deafens)


def _on_every(part: str, breaks: Callable[[Any], None]) -> None:
    """Every sender, or receiver, of every adapter is broken in that way."""
    seam: Any = runtime
    real_find = seam.find

    def find(*words: Any, **options: Any) -> Any:
        adapter = real_find(*words, **options)
        real_make = getattr(adapter, part)

        def make(*words: Any, **options: Any) -> Any:
            made = real_make(*words, **options)
            breaks(made)
            return made

        setattr(adapter, part, make)
        return adapter

    seam.find = find


async def _failed(send: Callable[[Sequence[Any]], Any], messages: Sequence[Any]) -> Mapping[int, LevelerError]:
    try:
        await send(messages)
    except BatchError as error:
        return error.failed
    except BrokerError as error:
        return dict.fromkeys(range(len(messages)), error)
    return {}


def _unknown(error: LevelerError) -> bool:
    return isinstance(error, SendUnknown)


def renew_nothing() -> None:
    """A lease ends when it ends, whatever its handler is at."""
    Leases._renew = lambda self, due: None  # type: ignore[method-assign]


def save_up_starts() -> None:
    """Starts of the fleet's rate that were missed are made up for."""
    FleetRate._let_pass = lambda self, now: None  # type: ignore[method-assign]


def have_all_of_the_rate() -> None:
    """While the store is away each worker starts as many as all may."""
    FleetRate.local_per_second = property(lambda self: self.per_second)  # type: ignore[method-assign,assignment]


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
        forget_unknown_sends,
        call_unknown_sends_refused,
        believe_in_completions,
        believe_in_parts,
        never_come_back,
        renew_nothing,
        save_up_starts,
        have_all_of_the_rate,
    )
}


def plant(name: str) -> None:
    """Plant one, by name; none if the name is empty."""
    if name:
        PLANTS[name]()
