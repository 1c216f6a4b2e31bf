"""Fleet: goes to the store for the rates that this process shares with others, and says so when the store is away."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from typing import Final

from leveler import units
from leveler.adapter import Adapter
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.consumer.limits import FleetRate
from leveler.consumer.limits.fleet import AHEAD_SECONDS, LATE_SECONDS, PRESENT_SECONDS
from leveler.discovery import find
from leveler.events import Observers, RateScopeChanged, log
from leveler.patience import Unanswered, answer
from leveler.schedule import Ask, Stretch

#: An answer that takes longer counts as none: a start may be as late as that, and the promise says how late.
PATIENCE_SECONDS: Final = 1.0


def open_store(url: str, clock: Clock) -> Adapter:
    """The adapter for a store that no queue is on; not entered.

    Raises:
        ConfigError: nobody answers to `url`, or it is none that can be had.
    """
    # Its client gives up when we do: half of its deadline goes to a connection that swallows everything.
    return find(url, clock=clock, deadline_seconds=2 * PATIENCE_SECONDS)


class Fleet:
    """
    Args:
        store: open; keeps rates.
        rates: by the name that all of the fleet know them by.
        queues: whose handlers each of them limits, by the same names.
        clock: time.
        observers: told when the store goes and comes.
    """

    def __init__(
        self,
        store: Adapter,
        rates: Mapping[str, FleetRate],
        queues: Mapping[str, Sequence[str]],
        clock: Clock,
        observers: Observers,
    ) -> None:
        self._store = store
        self._rates = rates
        self._queues = queues
        self._clock = clock
        self._observers = observers
        self._holder = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(6)}"
        self._bells = {name: Bell(clock) for name in rates}
        self._stopping = False

    async def run(self) -> None:
        """Ask for what is wanted, until `stop`."""
        async with asyncio.TaskGroup() as group:
            for name, rate in self._rates.items():
                group.create_task(self._keep(name, rate, self._bells[name]))

    def stop(self) -> None:
        """Ask no more. What is in hand passes."""
        self._stopping = True
        for bell in self._bells.values():
            bell.ring()

    def degraded(self) -> dict[str, list[str]]:
        """What is weaker than promised just now, by queue."""
        lines: dict[str, list[str]] = {}
        for name, rate in self._rates.items():
            for queue in self._queues[name] if rate.is_lost else ():
                lines.setdefault(queue, []).append(f"{name}.rate: {self._local(rate)}")
        return lines

    async def _keep(self, name: str, rate: FleetRate, bell: Bell) -> None:
        rate.listen(bell.ring)
        while not self._stopping:
            bell.clear()
            if rate.ask_at > self._clock.monotonic():
                await bell.wait(rate.ask_at)
            else:
                await self._reserve(name, rate)

    async def _reserve(self, name: str, rate: FleetRate) -> None:
        was_lost = rate.is_lost
        ask = Ask(self._holder, rate.ask, rate.interval_seconds, AHEAD_SECONDS, LATE_SECONDS, PRESENT_SECONDS)
        try:
            stretch = await self._answer(name, ask)
        except Exception as error:  # an adapter's bug must not end consumption either
            rate.lose(self._clock.monotonic())
            if not was_lost:
                log.warning("%s.rate: %s: %s", name, self._local(rate), error)
                self._tell(name, rate)
            return
        rate.supply(stretch, self._clock.monotonic())
        if was_lost:
            log.info("%s.rate: %r answers again: %s for all", name, self._store, units.rate(rate.per_second))
            self._tell(name, rate)

    async def _answer(self, name: str, ask: Ask) -> Stretch:
        asked_at = self._clock.monotonic()
        stretch = await answer(self._store.reserve(name, ask), self._clock, PATIENCE_SECONDS)
        # Who stood still meanwhile hears it before the timer that has run out: what was reserved for then has passed.
        if self._clock.monotonic() > asked_at + PATIENCE_SECONDS:
            raise Unanswered(f"no answer within {PATIENCE_SECONDS:g} s")
        return stretch

    def _local(self, rate: FleetRate) -> str:
        does = "starts nothing before it has heard how many share it"
        if share := rate.local_per_second:
            does = f"keeps to its share, {units.rate(share)}"
        return f"{self._store!r}, which keeps it for all workers, is away: this one {does}"

    def _tell(self, name: str, rate: FleetRate) -> None:
        for queue in self._queues[name] if self._observers.present else ():
            shown = rate.local_per_second if rate.is_lost else rate.per_second
            self._observers.tell(RateScopeChanged(queue, name, not rate.is_lost, shown))
