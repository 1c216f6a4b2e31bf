"""Intake: how many deliveries to ask for now, and the loop that asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from leveler.adapter import Delivery, Receiver
from leveler.bell import Bell
from leveler.clock import Clock
from leveler.consumer.buffer import Buffer
from leveler.consumer.held import Held
from leveler.consumer.limits import Limits, Memory
from leveler.errors import BrokerUnavailable, ReceiverLost
from leveler.patience import Unanswered, answer, ended

T = TypeVar("T")

#: How far ahead startable messages are asked for. About one slow trip to a broker: shorter starves fast handlers,
#: longer holds messages that another worker could have started.
HORIZON_SECONDS: Final = 0.1

#: One receive waits no longer, so that a stop never waits longer for the one under way.
WAIT_SECONDS: Final = 5.0

# Enough for handlers so quick that a trip to the broker is long beside them.
_MIN_CAPACITY: Final = 1500
_FIRST_RETRY_SECONDS: Final = 0.1
_LAST_RETRY_SECONDS: Final = 2.0
_SHORTEST_WAIT_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Demand:
    """What decides how many deliveries to ask for."""

    #: Runs that the limits let start within the horizon.
    startable: float
    #: Received, and a worker could take them now.
    buffered: int
    #: Received and not settled, the buffered ones included.
    held: int
    #: Most that may be held.
    capacity: int

    def credit(self) -> int:
        """How many to ask for now; 0 = do not ask.

        While the buffer still holds more than could be asked for, it is better to wait: few large receives cost
        less than many small ones, and nobody is waiting for them. Never for more than a third of what may be held: so
        the broker fetches one third and settles another while handlers run on the last.
        """
        third = (self.capacity + 2) // 3
        credit = min(self.startable - self.buffered, self.capacity - self.held, third)
        return int(credit) if credit >= 1 and credit >= self.buffered else 0


class Intake:
    """The loop that asks.

    Args:
        clock: time.
        buffer: where what it got waits for a worker.
        limits: how many runs may start, and when.
        held: how many deliveries this consumer holds in all.
        capacity: most that it may hold.
        deadline_seconds: of every verb, besides the wait of a receive. A receiver that answers later is dead.
        admit: takes new deliveries, none if a receive brought none, and returns those that may be started, in order.
        most: how many may wait to be started, those included that are asked for now.
        watch: told after each receive whether anything is held; notices that nothing comes although there is something.
        on_ready: told when the broker's side knows that we consume.
        on_unavailable: told when the broker did not answer.
    """

    def __init__(
        self,
        clock: Clock,
        buffer: Buffer,
        limits: Limits,
        *,
        held: Callable[[], int],
        capacity: int,
        deadline_seconds: float,
        admit: Callable[[Receiver, Sequence[Delivery]], Sequence[Held]],
        most: Callable[[], float],
        watch: Callable[[bool], Awaitable[None]],
        on_ready: Callable[[], object],
        on_unavailable: Callable[[Exception], object],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._memory = limits.memory
        self._held = held
        self._capacity = capacity
        self._deadline = deadline_seconds
        self._admit = admit
        self._most = most
        self._watch = watch
        self._on_ready = on_ready
        self._on_unavailable = on_unavailable
        self._buffer = buffer
        self._bell = Bell(clock)
        self._flow = asyncio.Lock()
        self._resting = asyncio.Event()
        self._resting.set()
        self._closed = asyncio.Event()
        self._paused = 0
        self._holding = 0
        self._ready = False
        self._receiver: Receiver | None = None
        self._receiving: Receiver | None = None

    def changed(self) -> None:
        """Something that decides the credit may have changed."""
        if not self._bell.is_rung:
            self._bell.ring()
            if self._memory is not None:
                self._allow(self._memory)

    async def run(self, receiver: Receiver) -> None:
        """Ask `receiver` for what can be started, until `close`.

        Raises:
            ReceiverLost: it is gone, or has not answered in time, or brings nothing although there is something.
        """
        self._receiver, self._holding, self._ready = receiver, 0, False
        try:
            await self._watch(True)
            await self._ask(receiver)
        finally:
            self._receiver = None

    async def _ask(self, receiver: Receiver) -> None:
        retry_seconds = _FIRST_RETRY_SECONDS
        while not self._closed.is_set():
            self._bell.clear()
            credit = self._credit()
            if credit < 1:
                await self._wait_for_change()
                continue
            try:
                deliveries = await self._receive(receiver, credit)
            except BrokerUnavailable as error:
                self._ready = False
                self._on_unavailable(error)
                await self._rest(retry_seconds)
                retry_seconds = min(retry_seconds * 2, _LAST_RETRY_SECONDS)
                continue
            retry_seconds = _FIRST_RETRY_SECONDS
            await self._watch(bool(deliveries) or self._held() > 0)
            admitted = self._admit(receiver, deliveries)
            if admitted:
                self._buffer.put(admitted)

    async def stop(self) -> None:
        """Stop the flow, and return when the receive under way has ended: no more deliveries come. First `pause` or
        `close`."""
        try:
            async with self._flow:
                self._holding = 0
                if self._receiver is not None:
                    await self._answer(self._receiver.hold(0), 0.0)
        except Exception as error:  # then it is lost, or the receive under way ends by itself
            self._on_unavailable(error)
        await self._resting.wait()

    def pause(self) -> None:
        """Ask for nothing until `resume`. `stop` ends what is under way."""
        self._paused += 1

    def resume(self) -> None:
        self._paused -= 1
        self.changed()

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()
        self.changed()

    @property
    def _stopped(self) -> bool:
        return self._paused > 0 or self._closed.is_set()

    def _credit(self) -> int:
        if self._stopped or (self._memory is not None and not self._memory.room()):
            return 0
        startable = min(self._limits.credit(HORIZON_SECONDS), self._most())
        return Demand(startable, len(self._buffer), self._held(), self._capacity).credit()

    async def _wait_for_change(self) -> None:
        """Until something happened, or time alone has made credit: rate tokens come without an event."""
        wait = self._limits.wait()
        if wait in (0.0, float("inf")) or self._stopped:
            await self._bell.wait()
        else:
            soon = max(wait - HORIZON_SECONDS, _SHORTEST_WAIT_SECONDS)
            await self._bell.wait(self._clock.monotonic() + soon)

    async def _rest(self, seconds: float) -> None:
        """Leave the broker alone for so long, or until `close`."""
        closing = asyncio.ensure_future(self._closed.wait())
        await ended((closing,), self._clock, seconds)
        closing.cancel()

    async def _receive(self, receiver: Receiver, credit: int) -> Sequence[Delivery]:
        """One receive. It is never cancelled: an answer that nobody reads is a lost attempt, or a lost message."""
        self._resting.clear()
        try:
            await self._open(receiver, credit)
            if self._stopped:
                return []
            self._receiving = receiver
            if self._memory is not None:
                self._allow(self._memory)
            # The first one is a look: its answer says at once whether the broker lets us receive.
            wait = WAIT_SECONDS if self._ready else 0.0
            deliveries = await self._answer(receiver.receive(credit, wait), wait)
            if not self._ready:
                self._ready = True
                self._on_ready()
            return deliveries
        finally:
            self._receiving = None
            self._resting.set()

    def _allow(self, memory: Memory) -> None:
        """Let the receive under way bring as much as there is room for; that can only have grown since it was asked."""
        if self._receiving is not None and memory.is_told and (room := memory.room()):
            self._receiving.bound_bytes(room)

    async def _open(self, receiver: Receiver, credit: int) -> None:
        """Let the broker hand over as many as we ask for."""
        async with self._flow:
            holding = next_hold(self._holding, self._held() + credit, self._capacity)
            if holding == self._holding or self._stopped:
                return
            await self._answer(receiver.hold(holding), 0.0)
            self._holding = holding

    async def _answer(self, verb: Coroutine[Any, Any, T], wait_seconds: float) -> T:
        try:
            return await answer(verb, self._clock, wait_seconds + self._deadline)
        except Unanswered as error:
            raise ReceiverLost(f"the receiver is silent: {error}") from error


def next_hold(current: int, wanted: int, capacity: int) -> int:
    """How many deliveries the broker may let us hold. Powers of two, and slow to shrink: a change may cost the
    broker a new subscription."""
    wanted = min(wanted, capacity)
    if current < wanted or wanted * 4 <= current:
        return min(1 << (wanted - 1).bit_length(), capacity) if wanted > 0 else 0
    return current


def capacity_of(workers: int, memory: Memory | None = None) -> int:
    """Most deliveries to be received and not settled: as many as can run, wait to run, and are being settled."""
    capacity = max(_MIN_CAPACITY, 3 * workers)
    return capacity if memory is None else int(min(capacity, memory.capacity))
