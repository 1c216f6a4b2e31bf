"""Leases: keep deliveries ours while their handlers run, and end runs whose time is up. One sweep, no timer each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from leveler.adapter import Capabilities
from leveler.clock import Clock
from leveler.consumer.held import LEASE_LOST, RUNNING, SETTLING, TIMEOUT, Held
from leveler.errors import BatchError, LeaseLost, LevelerError, ReceiverLost

# A lease is renewed when a third of it is gone: two more sweeps may fail before it is lost.
_RENEW_AT: Final = 2 / 3
_SWEEPS_PER_LEASE: Final = 6
_SWEEPS_PER_TIMEOUT: Final = 20
_LONGEST_SWEEP_SECONDS: Final = 1.0
_SHORTEST_SWEEP_SECONDS: Final = 0.01


class Sweep(NamedTuple):
    """What one look at everything held found to be done."""

    renew: list[Held]
    overdue: list[Held]
    lost: list[Held]


class Leases:
    """Everything that this consumer holds, and until when.

    Args:
        lease_seconds: the queue's lease.
        timeout_seconds: how long one run may take; a delivery is renewed no longer than that.
        can: whether leases can be extended, and how far.
        clock: time.
        verbs: as many verbs as the broker bears at once, shared with the settlement.
        on_lost: told of each delivery whose lease has ended before it was settled.
        on_stuck: told of each ``def`` handler that runs past its timeout, and for how long it has run.
        on_blocked: told for how many seconds the event loop stood still.
    """

    def __init__(
        self,
        lease_seconds: float,
        timeout_seconds: float,
        can: Capabilities,
        clock: Clock,
        verbs: asyncio.Semaphore,
        *,
        on_lost: Callable[[Held], object],
        on_stuck: Callable[[Held, float], object],
        on_blocked: Callable[[float], object],
    ) -> None:
        self._lease = lease_seconds
        self._timeout = timeout_seconds
        self._can = can
        self._clock = clock
        self._verbs = verbs
        self._on_lost = on_lost
        self._on_stuck = on_stuck
        self._on_blocked = on_blocked
        self._held: dict[Held, None] = {}
        self._wanted = asyncio.Event()
        self._extended = asyncio.Event()
        self._extended.set()
        self._stuck: set[Held] = set()
        self.interval_seconds = max(
            _SHORTEST_SWEEP_SECONDS,
            min(lease_seconds / _SWEEPS_PER_LEASE, timeout_seconds / _SWEEPS_PER_TIMEOUT, _LONGEST_SWEEP_SECONDS),
        )

    def __len__(self) -> int:
        return len(self._held)

    def held(self) -> list[Held]:
        """All deliveries that are ours now."""
        return list(self._held)

    def keep(self, held: Sequence[Held]) -> None:
        """These are ours from now on."""
        if not self._held:
            self._wanted.set()
        for one in held:
            self._held[one] = None

    def forget(self, held: Held) -> None:
        """It is settled, or lost."""
        self._held.pop(held, None)
        if self._stuck:
            self._stuck.discard(held)

    async def extensions(self) -> None:
        """Wait until no extension is under way: no delivery ever has two verbs at once."""
        await self._extended.wait()

    async def run(self) -> None:
        """Sweep for ever. Asleep while nothing is held."""
        while True:
            if not self._held:
                self._wanted.clear()
                await self._wanted.wait()
            planned = self._clock.monotonic() + self.interval_seconds
            await self._clock.sleep(self.interval_seconds)
            late = self._clock.monotonic() - planned
            if late > max(self._lease / 3, _LONGEST_SWEEP_SECONDS):
                self._on_blocked(late)
            await self.sweep()

    async def sweep(self) -> None:
        """Look at everything held once: end what is over, tell what is lost, renew what is due."""
        found = self.look(self._clock.monotonic())
        for held in found.overdue:
            self._end(held)
        for held in found.lost:
            self.lose(held)
        if found.renew:
            await self._renew(found.renew)

    def look(self, now: float) -> Sweep:
        """Decide; pure."""
        found = Sweep([], [], [])
        due = now + self._lease * _RENEW_AT
        for held in self._held:
            if held.state == SETTLING:
                continue  # its settlement finds out for itself
            if held.delivery.leased_until <= now:
                found.lost.append(held)
            elif held.state == RUNNING and self._ran(held, now) >= self._timeout:
                found.overdue.append(held)
            elif self._can.extend and held.delivery.leased_until < due:
                found.renew.append(held)
        return found

    def lose(self, held: Held) -> None:
        """Its lease is over: stop its run, and never settle it."""
        if not held.lost:
            held.lost = True
            held.interrupt(LEASE_LOST)
            self.forget(held)
            self._on_lost(held)

    def _end(self, held: Held) -> None:
        held.interrupt(TIMEOUT)
        if held.task is None and held not in self._stuck:  # a thread: nobody can end it
            self._stuck.add(held)
            self._on_stuck(held, self._ran(held, self._clock.monotonic()))

    @staticmethod
    def _ran(held: Held, now: float) -> float:
        return 0.0 if held.started_at is None else now - held.started_at

    async def _renew(self, due: list[Held]) -> None:
        self._extended.clear()
        try:
            for start in range(0, len(due), self._can.max_batch):
                await self._extend([h for h in due[start : start + self._can.max_batch] if h.state != SETTLING])
        finally:
            self._extended.set()

    async def _extend(self, batch: list[Held]) -> None:
        by_receiver = {held.receiver for held in batch if not held.lost}
        for receiver in by_receiver:
            mine = [held for held in batch if held.receiver is receiver and not held.lost]
            for held in mine:
                held.extending = True
            try:
                async with self._verbs:
                    await receiver.extend([held.delivery for held in mine])
            except BatchError as error:
                for index, cause in error.failed.items():
                    self._failed(mine[index], cause)
            except LevelerError as error:
                for held in mine:
                    self._failed(held, error)
            finally:
                for held in mine:
                    held.extending = False

    def _failed(self, held: Held, error: LevelerError) -> None:
        """Only a lost lease is final; whatever else went wrong, the next sweep tries again until it is lost."""
        if isinstance(error, LeaseLost | ReceiverLost):
            self.lose(held)
