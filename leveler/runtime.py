"""Runtime: a started app. Adapters are connected, queues declared, consumers run until they are drained."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from leveler.adapter import Adapter, Capabilities, QueueSpec
from leveler.checks import check_queue_name
from leveler.clock import Clock
from leveler.consumer.batches import BatchConsumer
from leveler.consumer.consumer import Consumer, Surroundings
from leveler.consumer.handler import Handler, Middleware
from leveler.consumer.quarantine import Quarantine
from leveler.consumer.report import ConsumerHealth
from leveler.deadletter import DeadLetters
from leveler.discovery import find
from leveler.downstreams import Downstreams
from leveler.errors import BrokerUnavailable, ConfigError
from leveler.events import Observers, log
from leveler.fleet import Fleet, open_store
from leveler.monitor.depths import Depths
from leveler.monitor.figures import AppFigures, ConsumerFigures, DepthFigures, QueueFigures
from leveler.monitor.lately import Lately
from leveler.monitor.useful import Useful
from leveler.pressure import Pressure
from leveler.producer import Producer
from leveler.settings import DEFAULT_BATCH_WAIT_SECONDS, BrokerSettings, ConsumerSettings, Settings
from leveler.units import duration

#: Between two tries to declare a queue.
_DECLARE_AGAIN_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Health:
    """Whether the app does what it is there for."""

    #: Every consumer that there is to be is consuming, and no stop is under way.
    ready: bool
    consumers: Mapping[str, ConsumerHealth]
    #: What is weaker than promised and only an operator can judge, by queue.
    degraded: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class DeclaredQueue:
    """A queue that the broker has."""

    spec: QueueSpec
    adapter: Adapter
    can: Capabilities
    producer: Producer


class Runtime:
    """What an app is between start and stop.

    Args:
        settings: all of them.
        handlers: of each queue.
        clock: time.
        rng: chance, for jitter.
        observers: told of everything.
        middleware: around every handler run.
        source: who we are, in the messages sent.
    """

    def __init__(
        self,
        settings: Settings,
        handlers: Mapping[str, Sequence[Handler]],
        *,
        clock: Clock,
        rng: random.Random,
        observers: Observers,
        middleware: Sequence[Middleware],
        source: str,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.consumers: dict[str, Consumer] = {}
        self._handlers = handlers
        self._rng = rng
        self._observers = observers
        self._middleware = middleware
        self._source = source
        self._quarantine = Quarantine()
        self._adapters: dict[str, Adapter] = {}
        self._queues: dict[str, DeclaredQueue] = {}
        self._declaring = asyncio.Lock()
        self._depths = Depths(clock)
        self._began_at = clock.monotonic()
        self._downstreams = Downstreams(settings.downstreams, clock, rng)
        self._fleet: Fleet | None = None
        self._lately = Lately(settings, self._downstreams, self._began_at)
        self._running: list[asyncio.Task[None]] = []
        self._changing = False  # consumers are being started, or stopped
        self._open = AsyncExitStack()

    async def open(self) -> None:
        """Connect to every broker.

        Raises:
            ConfigError: a broker is configured wrongly, or none is.
            BrokerUnavailable, AccessDenied: from the broker.
        """
        try:
            for name, broker in self.settings.brokers.items():
                adapter = self._adapter(broker)
                if adapter not in self._adapters.values():  # one that the user made may go by several names
                    await self._open.enter_async_context(adapter)
                self._adapters[name] = adapter
        except BaseException:
            await self._open.aclose()
            raise

    async def close(self) -> None:
        await self._open.aclose()

    async def queue(self, name: str) -> DeclaredQueue:
        """The queue `name`, declared at its broker on first use."""
        if (known := self._queues.get(name)) is not None:
            return known
        async with self._declaring:
            if name not in self._queues:
                self._queues[name] = await self._declare(check_queue_name(name))
            return self._queues[name]

    def queues(self) -> list[DeclaredQueue]:
        """All that were used so far."""
        return list(self._queues.values())

    async def dead_letters(self, name: str) -> DeadLetters:
        queue = await self.queue(name)
        return DeadLetters(queue.adapter, queue.spec, queue.can, self.clock)

    async def consume(self, only: Collection[str] | None, state: Any) -> None:
        """Start the consumers of all queues that have handlers, or of `only` some.

        Raises:
            ConfigError, BrokerUnavailable: as `prepare` does.
        """
        await self.prepare(only, state)
        self._running = [asyncio.create_task(consumer.run()) for consumer in self.consumers.values()]
        if self._fleet is not None:
            self._running.append(asyncio.create_task(self._fleet.run()))

    async def prepare(self, only: Collection[str] | None, state: Any) -> None:
        """Make the consumers, and start none of them.

        Raises:
            ConfigError: a queue has no handler, or its broker cannot keep the promises.
            BrokerUnavailable: from the store, where a rate is the fleet's: nobody knows how many share it.
        """
        wanted = list(self._handlers) if only is None else list(only)
        for name in wanted:
            if name not in self._handlers:
                known = ", ".join(sorted(self._handlers)) or "none"
                raise ConfigError(f"no consumer for queue {name!r}; there are: {known}")
        self._changing = True
        self.consumers = {name: await self._consumer(name, state) for name in wanted}
        self._fleet = await self._shared_rates()
        self._changing = False

    async def until(self, stop: asyncio.Event) -> None:
        """Wait for `stop`, or until a consumer has broken down: then `drain` says why."""
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((stopping, *self._running), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    def refuse(self) -> None:
        """Start no handler more, from this moment on: `drain` comes a few turns of the loop later."""
        self._changing = True
        for consumer in self.consumers.values():
            consumer.refuse()

    async def drain(self, drain_seconds: float) -> int:
        """Stop all consumers at once; how many deliveries had to be left leased.

        Raises:
            Exception: a consumer had broken down before; the others have drained all the same.
        """
        self._changing = True
        stops = [consumer.stop(drain_seconds) for consumer in self.consumers.values()]
        stopped = await asyncio.gather(*stops, return_exceptions=True)
        if self._fleet is not None:
            self._fleet.stop()
        ended = await asyncio.gather(*self._running, return_exceptions=True)
        self.consumers, self._running = {}, []
        for result in (*stopped, *ended):
            if isinstance(result, Exception):
                raise result
        return sum(left for left in stopped if isinstance(left, int))

    def hurry(self) -> None:
        """End a drain that is under way now."""
        for consumer in self.consumers.values():
            consumer.hurry()

    def health(self) -> Health:
        consumers = {name: consumer.health() for name, consumer in self.consumers.items()}
        now = self._fleet.degraded() if self._fleet is not None else {}
        lines = {name: (*queue.can.degraded, *now.get(name, ())) for name, queue in self._queues.items()}
        degraded = {name: found for name, found in lines.items() if found}
        ready = not self._changing and all(health.ready for health in consumers.values())
        return Health(ready, consumers, degraded)

    async def figures(self) -> AppFigures:
        """Everything in numbers; the brokers are asked how much waits."""
        depths = await self._depths.of(self.queues())
        health = self.health()
        workers = self._lately.workers(self.clock.monotonic(), health.consumers, depths)
        return AppFigures(
            process=f"{socket.gethostname()}:{os.getpid()}",
            up_seconds=self.clock.monotonic() - self._began_at,
            ready=health.ready,
            queues={
                name: QueueFigures(
                    sent=self._queues[name].producer.sent,
                    depth=None if depth is None else DepthFigures.of(depth),
                    consumer=self._consumer_figures(name, health.consumers.get(name), workers.get(name, Useful())),
                )
                for name, depth in depths.items()
            },
            downstreams={name: gate.figures() for name, gate in self._downstreams.gates.items()},
            degraded=health.degraded,
        )

    def _consumer_figures(self, name: str, health: ConsumerHealth | None, workers: Useful) -> ConsumerFigures | None:
        if health is None:
            return None
        own = self._downstreams.own.get(name)
        return ConsumerFigures(
            ready=health.ready,
            running=health.running,
            held=health.held,
            held_bytes=health.held_bytes,
            counts=health.tally,
            limits=None if own is None else own.figures(),
            downstream=self.settings.consumer(name).downstream,
            workers=Useful(needed=workers.needed) if self._changing else workers,
        )

    async def _shared_rates(self) -> Fleet | None:
        """What goes for the rates that are the fleet's, if consumers here have any."""
        rates, queues = self._downstreams.fleet_rates, self._downstreams.fleet_queues
        if not rates:
            return None
        if (store := self._adapters.get(self.settings.store)) is None:
            store = await self._open.enter_async_context(open_store(self.settings.store, self.clock))
        return Fleet(store, rates, queues, self.clock, self._observers)

    def _adapter(self, broker: BrokerSettings) -> Adapter:
        if broker.adapter is not None:
            return broker.adapter
        return find(
            broker.url, clock=self.clock, deadline_seconds=broker.deadline_seconds, extra_options=broker.options
        )

    def _adapter_of(self, name: str) -> Adapter:
        broker = self.settings.queue(name).broker
        if (adapter := self._adapters.get(broker)) is None:
            known = ", ".join(sorted(self._adapters)) or "none"
            raise ConfigError(f"queue {name!r} is on broker {broker!r}, which is not configured; known: {known}")
        return adapter

    async def _queue_in_time(self, name: str) -> DeclaredQueue:
        """Like `queue`, for a worker, which may have started together with its broker, and with others that want the
        same new queue: a broker that cannot declare it yet is asked again, within the deadline of its adapter."""
        give_up_at = self.clock.monotonic() + self._adapter_of(name).deadline_seconds
        while True:
            try:
                return await self.queue(name)
            except BrokerUnavailable as error:
                if self.clock.monotonic() + _DECLARE_AGAIN_SECONDS > give_up_at:
                    raise
                log.warning("%s: not declared yet, tried again: %s", name, error)
            await self.clock.sleep(_DECLARE_AGAIN_SECONDS)

    async def _declare(self, name: str) -> DeclaredQueue:
        settings = self.settings.queue(name)
        adapter = self._adapter_of(name)
        spec = self.settings.spec(name)
        can = await adapter.declare(spec)
        check_lease(name, spec.lease_seconds, settings.timeout_seconds, can)
        check_wait(name, settings.max_wait_seconds, can)
        pressure = Pressure(
            name,
            max_wait_seconds=settings.max_wait_seconds,
            block_seconds=self.settings.send_timeout_seconds if settings.when_full == "block" else 0.0,
            max_batch=can.max_batch,
            depth=lambda: adapter.depth(spec),
            clock=self.clock,
            rng=self._rng,
        )
        producer = Producer(
            name,
            adapter.sender(spec),
            can,
            self.clock,
            self._observers,
            source=self._source,
            timeout_seconds=self.settings.send_timeout_seconds,
            pressure=pressure,
        )
        return DeclaredQueue(spec, adapter, can, producer)

    async def _consumer(self, name: str, state: Any) -> Consumer:
        queue = await self._queue_in_time(name)
        limits, workers = self._downstreams.limits(name, self.settings.consumer(name), queue.can)
        around = Surroundings(
            adapter=queue.adapter,
            clock=self.clock,
            rng=self._rng,
            quarantine=self._quarantine,
            observers=self._observers,
            middleware=self._middleware,
            state=state,
        )
        handlers, settings = self._handlers[name], self.settings.consumer(name)
        parts = (queue.spec, self.settings.queue(name), queue.can, handlers, limits, workers, around)
        if not handlers[0].in_batches:
            check_takes_one(name, handlers[0], settings)
            return Consumer(*parts)
        wait_seconds = settings.batch_wait_seconds
        return BatchConsumer(*parts, wait_seconds=DEFAULT_BATCH_WAIT_SECONDS if wait_seconds is None else wait_seconds)


def check_takes_one(name: str, handler: Handler, settings: ConsumerSettings) -> None:
    """Settings alone cannot make batches for a handler that takes one message at a time.

    Raises:
        ConfigError: they try.
    """
    for word, value in (("batch_size", settings.batch_size), ("batch_wait", settings.batch_wait_seconds)):
        if value is not None:
            raise ConfigError(
                f"consumers.{name}.{word} is {value}, and handler {handler.name} takes one message at a time: "
                "register it with batch_size="
            )


def check_lease(name: str, lease_seconds: float, timeout_seconds: float, can: Capabilities) -> None:
    """What the broker cannot keep, said before anything starts.

    Raises:
        ConfigError: names the setting and what the broker keeps.
    """
    shortest, longest = can.lease_range_seconds
    if not shortest <= lease_seconds <= longest:
        raise ConfigError(
            f"queues.{name}.lease is {duration(lease_seconds)}: this broker keeps {duration(shortest)} to "
            f"{duration(longest)}"
        )
    if not can.extend and timeout_seconds >= lease_seconds:
        raise ConfigError(
            f"queues.{name}.timeout ({duration(timeout_seconds)}) must be below queues.{name}.lease "
            f"({duration(lease_seconds)}): this broker cannot extend a lease; raise the lease, or lower the timeout"
        )
    if timeout_seconds > can.max_lease_seconds:
        raise ConfigError(
            f"queues.{name}.timeout is {duration(timeout_seconds)}: this broker keeps one delivery for at most "
            f"{duration(can.max_lease_seconds)}"
        )


def check_wait(name: str, max_wait_seconds: float | None, can: Capabilities) -> None:
    """Nobody can foresee how long a message would wait where nobody knows how many there are.

    Raises:
        ConfigError: names the setting.
    """
    if max_wait_seconds is not None and can.depth == "none":
        raise ConfigError(
            f"queues.{name}.max_wait is {max_wait_seconds:g} s: this broker cannot tell how many messages wait, so "
            "nobody can foresee it; remove it"
        )
