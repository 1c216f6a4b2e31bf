"""Intake: how many deliveries to ask for now, and the loop that asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from leveler.adapter import Delivery, Receiver
from leveler.clock import Clock
from leveler.consumer.buffer import Buffer
from leveler.consumer.held import Held
from leveler.errors import BrokerUnavailable, ReceiverLost

#: How far ahead startable messages are asked for. About one slow trip to a broker: shorter starves fast handlers,
#: longer holds messages that another worker could have started.
HORIZON_SECONDS: Final = 0.1

#: One receive waits no longer, so that a stop never waits longer for the one under way.
WAIT_SECONDS: Final = 5.0

_FIRST_RETRY_SECONDS: Final = 0.1
_LAST_RETRY_SECONDS: Final = 5.0
_SHORTEST_WAIT_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Demand:
    """What decides how many deliveries to ask for."""

    #: Runs that the limits let start within the horizon.
    startable: float
    #: Received and not started.
    buffered: int
    #: Received and not settled, the buffered ones included.
    held: int
    #: Most that may be held.
    capacity: int

    def credit(self) -> int:
        """How many to ask for now; 0 = do not ask.

        While the buffer still holds more than could be asked for, it is better to wait: few large receives cost
        less than many small ones, and nobody is waiting for them.
        """
        credit = min(self.startable - self.buffered, self.capacity - self.held)
        return int(credit) if credit >= 1 and credit >= self.buffered else 0


class Intake:
    """The loop that asks.

    Args:
        clock: time.
        buffer: where what it got waits for a worker.
        startable: how many runs the limits let start within so many seconds.
        wait: seconds until one may start; infinity where only the end of another can bring that.
        held: how many deliveries this consumer holds in all.
        capacity: most that it may hold.
        receive_timeout_seconds: a receive that takes longer than its wait and this is given up: the receiver is dead.
        admit: takes new deliveries and returns those that may be started, in order.
        on_ready: told when the broker's side knows that we consume.
        on_unavailable: told when the broker did not answer a receive.
    """

    def __init__(
        self,
        clock: Clock,
        buffer: Buffer,
        *,
        startable: Callable[[float], float],
        wait: Callable[[], float],
        held: Callable[[], int],
        capacity: int,
        receive_timeout_seconds: float,
        admit: Callable[[Receiver, Sequence[Delivery]], Sequence[Held]],
        on_ready: Callable[[], object],
        on_unavailable: Callable[[BrokerUnavailable], object],
    ) -> None:
        self._clock = clock
        self._startable = startable
        self._wait = wait
        self._held = held
        self._capacity = capacity
        self._receive_timeout = receive_timeout_seconds
        self._admit = admit
        self._on_ready = on_ready
        self._on_unavailable = on_unavailable
        self._buffer = buffer
        self._changed = asyncio.Event()
        self._flow = asyncio.Lock()
        self._resting = asyncio.Event()
        self._resting.set()
        self._closed = False
        self._paused = 0
        self._careful = False
        self._holding = 0

    def changed(self) -> None:
        """Something that decides the credit may have changed."""
        if not self._changed.is_set():
            self._changed.set()

    async def run(self, receiver: Receiver) -> None:
        """Ask `receiver` for what can be started, until `close`.

        Raises:
            ReceiverLost: it is gone, or has not answered within its wait and the deadline.
        """
        self._holding = 0
        retry_seconds = _FIRST_RETRY_SECONDS
        while not self._closed:
            self._changed.clear()
            credit = self._credit()
            if credit < 1:
                await self._wait_for_change()
                continue
            try:
                deliveries = await self._receive(receiver, credit)
            except BrokerUnavailable as error:
                self._on_unavailable(error)
                await self._clock.sleep(retry_seconds)
                retry_seconds = min(retry_seconds * 2, _LAST_RETRY_SECONDS)
                continue
            retry_seconds = _FIRST_RETRY_SECONDS
            self._careful = self._careful and bool(deliveries)
            if deliveries:
                self._buffer.put(self._admit(receiver, deliveries))
                await asyncio.sleep(0)  # let workers have them before the next credit is counted

    async def stop(self, receiver: Receiver) -> None:
        """Stop the flow, and return when the receive under way has ended."""
        async with self._flow:
            self._holding = 0
            await receiver.hold(0)
        await self._resting.wait()

    def pause(self) -> None:
        """Ask for nothing until `resume`. `stop` ends what is under way."""
        self._paused += 1

    def resume(self) -> None:
        self._paused -= 1
        self.changed()

    def be_careful(self) -> None:
        """One delivery at a time, until none comes or `admit` finds one that need not start alone."""
        self._careful = True

    def be_careless(self) -> None:
        self._careful = False

    def close(self) -> None:
        """Ask no more."""
        self._closed = True
        self.changed()

    def _credit(self) -> int:
        if self._paused or self._closed:
            return 0
        credit = Demand(self._startable(HORIZON_SECONDS), len(self._buffer), self._held(), self._capacity).credit()
        return min(credit, 1 - len(self._buffer)) if self._careful else credit

    async def _wait_for_change(self) -> None:
        """Until something happened, or time alone has made credit: rate tokens come without an event."""
        wait = self._wait()
        if wait in (0.0, float("inf")):
            await self._changed.wait()
            return
        timer = self._clock.call_later(max(wait - HORIZON_SECONDS, _SHORTEST_WAIT_SECONDS), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def _receive(self, receiver: Receiver, credit: int) -> Sequence[Delivery]:
        """One receive. It is never cancelled: an answer that nobody reads is a lost attempt, or a lost message."""
        self._resting.clear()
        timer = None
        try:
            await self._open(receiver, credit)
            if self._paused or self._closed:
                return []
            answer = asyncio.ensure_future(receiver.receive(credit, WAIT_SECONDS))
            overdue = asyncio.get_running_loop().create_future()
            timer = self._clock.call_later(
                WAIT_SECONDS + self._receive_timeout, lambda: overdue.done() or overdue.cancel()
            )
            await asyncio.wait({answer, overdue}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ReceiverLost(f"no answer to a receive within {WAIT_SECONDS + self._receive_timeout:.0f} s")
            return answer.result()
        finally:
            if timer is not None:
                timer.cancel()
            self._resting.set()

    async def _open(self, receiver: Receiver, credit: int) -> None:
        """Let the broker hand over as many as we ask for. Its answer says that it knows us as a consumer."""
        async with self._flow:
            holding = next_hold(self._holding, self._held() + credit, self._capacity)
            if holding == self._holding or self._paused or self._closed:
                return
            await receiver.hold(holding)
            if self._holding < 1:
                self._on_ready()
            self._holding = holding


def next_hold(current: int, wanted: int, capacity: int) -> int:
    """How many deliveries the broker may let us hold. Powers of two, and slow to shrink: a change may cost the
    broker a new subscription."""
    wanted = min(wanted, capacity)
    if current < wanted or wanted * 4 <= current:
        return min(1 << (wanted - 1).bit_length(), capacity) if wanted > 0 else 0
    return current
