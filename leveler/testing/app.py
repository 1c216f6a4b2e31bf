"""TestApp: a user's app on the memory adapter, with a clock that stands still, to see what its handlers do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import Any, Self, TypeVar, Unpack

from leveler.adapter import Depth
from leveler.app import Leveler
from leveler.deadletter import DeadLetters
from leveler.discovery import find
from leveler.errors import BrokerUnavailable
from leveler.events import (
    DeliveryLost,
    Event,
    MessageCompleted,
    MessageDeadLettered,
    MessageRetried,
    MessageReturned,
    MessageStarted,
)
from leveler.message import Message
from leveler.producer import SendWords
from leveler.runtime import Runtime
from leveler.settings import BrokerSettings
from leveler.testing.clock import VirtualClock, quiet
from leveler.testing.faults import FaultPlan, FaultyAdapter

E = TypeVar("E", bound=Event)
T = TypeVar("T")

#: Handlers may do real work in a test, on a real network even; one that never ends is told apart by this.
_PATIENCE_SECONDS = 10.0


class TestApp:
    """``async with TestApp(app) as t:`` runs `app` with all its consumers, whatever broker it is configured for.

    Time passes only in `advance` and `expire_leases` (and in `drain`, as far as a rate limit asks for it), so retries,
    delays and timeouts of hours take no time at all.

    Args:
        app: not started.
        personality: which broker's ways the memory adapter keeps: ``plain``, ``sqs``, ``fifo``, ``rabbitmq``,
            ``servicebus`` or ``push``.
        seed: of the retry jitter.
    """

    __test__ = False  # pytest: this is no test case

    def __init__(self, app: Leveler, *, personality: str = "plain", seed: int = 0) -> None:
        self.app = app
        self.clock = VirtualClock()
        #: Make the broker fail: see `leveler.testing.faults`.
        self.faults = FaultPlan()
        #: Everything that happened, in order.
        self.events: list[Event] = []
        url = f"memory://?personality={personality}"
        self.adapter = FaultyAdapter(find(url, clock=self.clock, deadline_seconds=5.0), self.faults)
        self._rng = random.Random(seed)  # jitter, not secrets
        self._runtime: Runtime | None = None

    async def __aenter__(self) -> Self:
        settings = self.app.settings(connecting=False)
        names = {"default", *settings.brokers, *(queue.broker for queue in settings.queues.values())}
        brokers = {name: BrokerSettings(adapter=self.adapter) for name in names}
        self.app._observers.add(self._see)
        try:
            self._runtime = await self.app._start(
                replace(settings, brokers=brokers, store="default"), self.clock, self._rng
            )
        except BaseException:
            self.app._observers.remove(self._see)
            raise
        try:
            await self._pass_time(self._runtime.consume(None, self.app._state))
        except BaseException:
            await self._end()
            raise
        await quiet()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self.stop(0.0)
        finally:
            await self._end()

    # Do

    async def send(self, queue: str, value: Any, **words: Unpack[SendWords]) -> Message:
        """See `Leveler.send`."""
        return await self.app.send(queue, value, **words)

    async def send_many(self, queue: str, values: Iterable[Any], **words: Unpack[SendWords]) -> list[Message]:
        """See `Leveler.send_many`."""
        return await self.app.send_many(queue, values, **words)

    async def duplicate(self, queue: str, message: Message) -> None:
        """Deliver `message` once more, as any broker may."""
        declared = await self._started().queue(queue)
        if declared.can.dedup_seconds:  # only a copy gets past a broker that drops what it has seen
            message = message.copy(attempts=message.attempts, not_before=None, failed_at=message.failed_at)
        await declared.adapter.sender(declared.spec).send([message])

    async def stop(self, drain_seconds: float = 30.0) -> int:
        """Stop the consumers as SIGTERM does; how many deliveries were left to the end of their lease. Time passes as
        long as it takes. It is also how ``async with`` ends, without any time for handlers that still run."""
        if self._runtime is None:
            return 0
        return await self._pass_time(self._runtime.drain(drain_seconds))

    async def drain(self) -> None:
        """Until every message that may be handled now has been. Delayed ones stay: `advance` to them.

        Raises:
            TimeoutError: a handler does not end.
        """
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while True:
            await quiet()
            if await self._idle():
                return
            if time.monotonic() > give_up_at:
                running = {name: c.health().running for name, c in self._started().consumers.items()}
                raise TimeoutError(f"not drained after {_PATIENCE_SECONDS:.0f} s; handlers still running: {running}")
            await self._go_on()

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, with all that falls due in them."""
        await self.clock.advance(seconds)
        await self._threads()

    async def expire_leases(self) -> None:
        """Let every lease that is held now end, as a long pause or a broken network would: somebody else gets them."""
        longest = max((queue.spec.lease_seconds for queue in self._started().queues()), default=0.0)
        with self.faults.failing("extend", BrokerUnavailable("the test lets leases expire")):
            await self.clock.advance(longest + 0.001)
        await quiet()

    # See

    @property
    def started(self) -> list[MessageStarted]:
        return self._of(MessageStarted)

    @property
    def completed(self) -> list[MessageCompleted]:
        return self._of(MessageCompleted)

    @property
    def retried(self) -> list[MessageRetried]:
        return self._of(MessageRetried)

    @property
    def returned(self) -> list[MessageReturned]:
        return self._of(MessageReturned)

    @property
    def dead(self) -> list[MessageDeadLettered]:
        return self._of(MessageDeadLettered)

    @property
    def lost(self) -> list[DeliveryLost]:
        return self._of(DeliveryLost)

    async def depth(self, queue: str) -> Depth:
        return await self.app.depth(queue)

    async def dead_letters(self, queue: str) -> DeadLetters:
        return await self.app.dead_letters(queue)

    def _of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def _started(self) -> Runtime:
        if self._runtime is None:
            raise RuntimeError("use it inside 'async with TestApp(app) as t:'")
        return self._runtime

    async def _idle(self) -> bool:
        runtime = self._started()
        for name, consumer in runtime.consumers.items():
            if consumer.busy or (await self.depth(name)).ready:
                return False
        return True

    async def _end(self) -> None:
        await self.app._end()
        self.app._observers.remove(self._see)
        self._runtime = None

    def _see(self, event: Event) -> None:
        self.events.append(event)

    async def _pass_time(self, work: Awaitable[T]) -> T:
        """The result of `work`. Time passes as far as it waits for it, and handlers that do real work get a little real
        time on the way."""
        done = asyncio.ensure_future(work)
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            await quiet()
            if done.done():
                return done.result()
            if self._running():
                await asyncio.sleep(0.005)
            if not done.done() and (due := self.clock.next_due()) is not None:
                await self.clock.advance(due)
        done.cancel()
        raise TimeoutError(f"the consumers have not started, or not stopped, within {_PATIENCE_SECONDS:.0f} s")

    def _running(self) -> bool:
        return any(consumer.health().running for consumer in self._started().consumers.values())

    async def _go_on(self) -> None:
        """A handler does real work, or a limit waits for time to pass."""
        if self._running():
            await asyncio.sleep(0.001)
        elif (due := self.clock.next_due()) is not None:
            await self.clock.advance(due)

    async def _threads(self) -> None:
        """`def` handlers run in threads, which no clock can move on: let those that are ending end."""
        await asyncio.sleep(0)
        await quiet()
