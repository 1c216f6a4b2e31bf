"""Leases: keep deliveries ours while their handlers run, and end runs whose time is up. One sweep, no timer each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from leveler.adapter import Capabilities, Receiver
from leveler.clock import Clock
from leveler.consumer.held import LEASE_LOST, RUNNING, SETTLING, TIMEOUT, Held
from leveler.consumer.limits import Memory
from leveler.errors import BatchError, LeaseLost, LevelerError, ReceiverLost
from leveler.events import log

# A lease is renewed when a third of it is gone: two more sweeps may fail before it is lost.
_RENEW_AT: Final = 2 / 3
_SWEEPS_PER_LEASE: Final = 6
_SWEEPS_PER_TIMEOUT: Final = 20
_LONGEST_SWEEP_SECONDS: Final = 1.0
_SHORTEST_SWEEP_SECONDS: Final = 0.01
# A loop that stands still so long starves everything in it, and a lease of a few seconds much sooner.
_BLOCKED_SECONDS: Final = 1.0


class Sweep(NamedTuple):
    """What one look at everything held found to be done."""

    renew: list[Held]
    overdue: list[Held]
    lost: list[Held]
    #: Not started, soon over, and there is no way to renew them.
    stale: list[Held]


class Leases:
    """Everything that this consumer holds, and until when.

    Args:
        lease_seconds: the queue's lease.
        timeout_seconds: how long one run may take; a delivery is renewed no longer than that.
        can: whether leases can be extended, and how far.
        clock: time.
        verbs: as many verbs as the broker bears at once, shared with the settlement.
        memory: told of what is here; None = nobody asks.
        on_lost: told of each delivery whose lease has ended before it was settled.
        on_extended: told when an extension has ended: what waited for it may be settled.
        on_stale: told when there are deliveries that had better go back while they can.
        on_stuck: told of each run that goes on though it was cut at its timeout, and for how long it has run.
        on_blocked: told for how many seconds the event loop stood still.
    """

    def __init__(
        self,
        lease_seconds: float,
        timeout_seconds: float,
        can: Capabilities,
        clock: Clock,
        verbs: asyncio.Semaphore,
        memory: Memory | None = None,
        *,
        on_lost: Callable[[Held], object],
        on_extended: Callable[[], object],
        on_stale: Callable[[], object],
        on_stuck: Callable[[Held, float], object],
        on_blocked: Callable[[float], object],
    ) -> None:
        self._lease = lease_seconds
        self._timeout = timeout_seconds
        self._can = can
        self._clock = clock
        self._verbs = verbs
        self._memory = memory
        self._on_lost = on_lost
        self._on_extended = on_extended
        self._on_stale = on_stale
        self._on_stuck = on_stuck
        self._on_blocked = on_blocked
        self._held: dict[Held, None] = {}
        self._wanted = asyncio.Event()
        self._renewals: dict[Receiver, asyncio.Task[None]] = {}
        self._stuck: set[Held] = set()
        self.interval_seconds = max(
            _SHORTEST_SWEEP_SECONDS,
            min(lease_seconds / _SWEEPS_PER_LEASE, timeout_seconds / _SWEEPS_PER_TIMEOUT, _LONGEST_SWEEP_SECONDS),
        )

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        return sum([len(held.delivery.message.body) for held in self._held])

    def keep(self, held: Sequence[Held]) -> None:
        """These are ours from now on."""
        if not self._held:
            self._wanted.set()
        self._held.update(dict.fromkeys(held))
        if self._memory is not None:
            self._memory.take(held)

    def forget(self, held: Sequence[Held]) -> None:
        """These are settled, or lost."""
        if self._memory is not None:
            self._memory.give([one for one in held if one in self._held])
        forget = self._held.pop
        for one in held:
            forget(one, None)
            if one.outcome is not None:  # an error remembers the frames that it came through, and they remember `one`
                one.outcome = None
        if self._stuck:
            self._stuck.difference_update(held)

    async def run(self) -> None:
        """Sweep for ever. Asleep while nothing is held."""
        while True:
            if not self._held:
                self._wanted.clear()
                await self._wanted.wait()
            planned = self._clock.monotonic() + self.interval_seconds
            await self._clock.sleep(self.interval_seconds)
            late = self._clock.monotonic() - planned
            if late > min(self._lease / 3, _BLOCKED_SECONDS):
                self._on_blocked(late)
            self.sweep()

    def sweep(self) -> None:
        """Look at everything held once: end what is over, tell what is lost, renew what is due.

        The next sweep does not wait for the renewal: a slow broker must not delay a timeout.
        """
        found = self.look(self._clock.monotonic())
        for held in found.overdue:
            self._end(held)
        for held in found.lost:
            self.lose(held)
        if found.stale:
            self._on_stale()
        if found.renew:
            self._renew(found.renew)

    def look(self, now: float) -> Sweep:
        """Decide; pure."""
        found = Sweep([], [], [], [])
        due = now + self._lease * _RENEW_AT
        late = now + self._lease * (1 - _RENEW_AT)
        for held in self._held:
            if held.state == SETTLING:
                continue  # its settlement finds out for itself
            if held.delivery.leased_until <= now:
                found.lost.append(held)
            elif held.state == RUNNING and self._ran(held, now) >= self._timeout:
                found.overdue.append(held)
            elif self._can.extend:
                if held.delivery.leased_until < due:
                    found.renew.append(held)
            elif held.state < RUNNING and held.delivery.leased_until < late:
                found.stale.append(held)
        return found

    def late(self, batch: Sequence[Held]) -> list[Held]:
        """Those that must not start any more: their lease is over, or is not renewed and ends before a run may."""
        now = self._clock.monotonic()
        needed = now if self._can.extend else now + self._timeout
        if min([held.delivery.leased_until for held in batch]) > needed:
            return []
        for held in batch:
            if held.delivery.leased_until <= now:  # the process stood still, and no sweep has seen it yet
                self.lose(held)
        return [held for held in batch if held.lost or held.delivery.leased_until <= needed]

    def lose(self, held: Held) -> None:
        """Its lease is over: stop its run, and never settle it."""
        if not held.lost:
            held.lost = True
            if held.cut == TIMEOUT and held.state == RUNNING:
                self._tell_stuck(held)
            held.interrupt(LEASE_LOST)
            self.forget((held,))
            self._on_lost(held)

    def lose_all(self, receiver: Receiver) -> None:
        """The receiver is gone, and all that it gave out. What is being settled finds out for itself."""
        for held in list(self._held):
            if held.receiver is receiver and held.state != SETTLING:
                self.lose(held)

    def interrupt(self, why: str) -> None:
        """Cut all runs short."""
        for held in list(self._held):
            if held.state == RUNNING:
                held.interrupt(why)

    def _end(self, held: Held) -> None:
        """Its time is up. An async handler may clean up, for as long as its last lease surely lasts."""
        held.interrupt(TIMEOUT)
        grace = self._lease * (1 - _RENEW_AT)
        if held.task is None or self._ran(held, self._clock.monotonic()) >= self._timeout + grace:
            self._tell_stuck(held)

    def _tell_stuck(self, held: Held) -> None:
        """It runs on after it was cut: it is a thread, or does not let itself be cancelled. Said once."""
        if held not in self._stuck:
            self._stuck.add(held)
            self._on_stuck(held, self._ran(held, self._clock.monotonic()))

    @staticmethod
    def _ran(held: Held, now: float) -> float:
        return 0.0 if held.started_at is None else now - held.started_at

    def _renew(self, due: list[Held]) -> None:
        """Start the renewals, each receiver's on its own: one that does not answer must not cost the others theirs."""
        self._renewals = {receiver: task for receiver, task in self._renewals.items() if not task.done()}
        batches: dict[Receiver, list[Held]] = {}
        for held in due:
            batches.setdefault(held.receiver, []).append(held)
        for receiver, batch in batches.items():
            if receiver not in self._renewals:
                self._renewals[receiver] = asyncio.create_task(self._extend_all(receiver, batch))

    async def _extend_all(self, receiver: Receiver, batch: list[Held]) -> None:
        size = self._can.max_batch
        parts = [batch[start : start + size] for start in range(0, len(batch), size)]
        await asyncio.gather(*(self._extend(receiver, part) for part in parts))

    async def _extend(self, receiver: Receiver, batch: list[Held]) -> None:
        async with self._verbs:
            # Others may have been settled or lost while this waited for its turn.
            batch = [held for held in batch if held.state != SETTLING and not held.lost]
            if not batch:
                return
            for held in batch:
                held.extending = True
            try:
                await receiver.extend([held.delivery for held in batch])
            except BatchError as error:
                for index, cause in error.failed.items():
                    self._failed(batch[index], cause)
            except Exception as error:  # an adapter's bug costs these renewals, not all that follow
                for held in batch:
                    self._failed(held, error)
            finally:
                for held in batch:
                    held.extending = False
                self._on_extended()

    def _failed(self, held: Held, error: Exception) -> None:
        """Only a lost lease is final; whatever else went wrong, the next sweep tries again until it is lost."""
        if isinstance(error, LeaseLost | ReceiverLost):
            self.lose(held)
        else:
            log.log(
                logging.WARNING if isinstance(error, LevelerError) else logging.ERROR,
                "the lease of message %s could not be renewed: %r", held.delivery.message.id, error,
            )  # fmt: skip
