"""Leveler: what users hold. Handlers are registered on it and messages sent through it; no I/O until it is started."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from leveler.adapter import Adapter, Depth
from leveler.blocking import Blocking
from leveler.checks import check_queue_name
from leveler.clock import Clock, SystemClock
from leveler.consumer.batch import BatchContext
from leveler.consumer.handler import Handler, Middleware
from leveler.deadletter import DeadLetters
from leveler.errors import ConfigError, LevelerError, NotStarted
from leveler.events import Observer, Observers
from leveler.message import Message
from leveler.monitor.figures import AppFigures
from leveler.producer import SendOptions, SendWords
from leveler.queue import Queue
from leveler.registration import add, settings_of
from leveler.runtime import Health, Runtime
from leveler.settings import Adaptive, BrokerSettings, ConsumerSettings, LimitSettings, QueueSettings, Settings
from leveler.worker import work

if TYPE_CHECKING:
    from leveler.config import Row

T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., Any])
#: A handler that takes batches.
B = TypeVar("B", bound=Callable[[list[Any]], Any] | Callable[[list[Any], BatchContext], Any])
#: Runs around the app's life; what it yields is every handler's ``ctx.state``.
Lifespan = Callable[["Leveler"], AbstractAsyncContextManager[Any]]


class Leveler:
    """An application: its consumers, its brokers, its way to send.

    Args:
        broker: URL of the broker for queues that name no other, or an adapter that you made.
        settings: everything else; `broker` is its ``brokers["default"]``. What stands in code is the weakest:
            ``leveler.yaml`` and ``LEVELER_*`` are read at the start and hold instead, key by key.
        queues: policies by queue name.
        consumers: limits by queue name.
        downstreams: shared limits by name.
        config: the file to read; None = what ``LEVELER_CONFIG`` names, or ``./leveler.yaml`` if there is one.
        lifespan: ``async with lifespan(app) as state`` around the app's life; the state is ``ctx.state``.
        middleware: around every handler run, the first one outermost.
        observers: told of every named moment.
        source: who sends, in the messages; a URI reference.
        clock: time; a `leveler.testing.VirtualClock` in tests.
    """

    def __init__(
        self,
        broker: str | Adapter | None = None,
        *,
        settings: Settings | None = None,
        queues: Mapping[str, QueueSettings] | None = None,
        consumers: Mapping[str, ConsumerSettings] | None = None,
        downstreams: Mapping[str, LimitSettings] | None = None,
        config: str | Path | None = None,
        lifespan: Lifespan | None = None,
        middleware: Sequence[Middleware] = (),
        observers: Iterable[Observer] = (),
        source: str = "/leveler",
        clock: Clock | None = None,
    ) -> None:
        settings = settings or Settings()
        brokers = dict(settings.brokers)
        if isinstance(broker, str):
            brokers["default"] = BrokerSettings(url=broker)
        elif broker is not None:
            brokers["default"] = BrokerSettings(adapter=broker)
        self._settings = replace(
            settings,
            brokers=brokers,
            queues={**settings.queues, **(queues or {})},
            consumers={**settings.consumers, **(consumers or {})},
            downstreams={**settings.downstreams, **(downstreams or {})},
        )
        self._config = config
        self._broker: str | None = None
        self._listen: str | None = None
        self._processes: str | None = None
        if lifespan is not None and (not callable(lifespan) or inspect.isasyncgenfunction(lifespan)):
            raise ConfigError("lifespan must make a context manager: write @contextlib.asynccontextmanager above it")
        self._lifespan = lifespan
        self._middleware = list(middleware)
        self._observers = Observers(list(observers))
        self._source = source
        self._clock = clock or SystemClock()
        self._handlers: dict[str, list[Handler]] = {}
        self._runtime: Runtime | None = None
        self._state: Any = None
        self._life = AsyncExitStack()

    # Define

    @overload
    def consumer(
        self,
        queue: str,
        *,
        type: str | None = None,
        concurrency: int | Adaptive | None = None,
        rate: str | None = None,
        downstream: str | None = None,
    ) -> Callable[[H], H]: ...

    @overload
    def consumer(
        self,
        queue: str,
        *,
        type: str | None = None,
        concurrency: int | Adaptive | None = None,
        rate: str | None = None,
        downstream: str | None = None,
        batch_size: int,
        batch_wait: str | float | None = None,
    ) -> Callable[[B], B]: ...

    def consumer(
        self,
        queue: str,
        *,
        type: str | None = None,
        concurrency: int | Adaptive | None = None,
        rate: str | None = None,
        downstream: str | None = None,
        batch_size: int | None = None,
        batch_wait: str | float | None = None,
    ) -> Callable[[H], H]:
        """Register a handler: ``def`` or ``async def``, taking the value, or the value and a `Context`.

        The function itself is returned unchanged, so it can be called in a test as it is.

        Args:
            queue: whose messages it takes.
            type: only messages of this type; several handlers may share a queue so. None = any.
            concurrency: runs at once, in this process; a number, or `Adaptive` for as many as the downstream serves
                well.
            rate: starts per time, in this process: ``"50/s"``, ``"500/min"``.
            downstream: whose limits hold besides.
            batch_size: the handler takes lists of so many values at most, and may raise `BatchFailed`. A batch is one
                run, and has its queue to itself: no other handler takes from it.
            batch_wait: how long what has come waits until a batch is whole: ``"500ms"``, or seconds.

        Raises:
            ConfigError: the signature cannot be called, or another handler takes the same messages.
            InvalidMessage: the queue's name is not legal on every broker.
        """
        if callable(queue):
            raise ConfigError("consumer takes the name of a queue: @app.consumer('new-orders')")
        check_queue_name(queue)
        said = settings_of(
            queue,
            concurrency=concurrency,
            rate=rate,
            downstream=downstream,
            batch_size=batch_size,
            batch_wait=batch_wait,
        )
        if said != ConsumerSettings():  # the settings are the stronger voice, key by key
            known = self._settings.consumer(queue).filled_from(said)
            self._settings = replace(self._settings, consumers={**self._settings.consumers, queue: known})

        def register(function: H) -> H:
            add(self._handlers, queue, Handler(function, type, in_batches=batch_size is not None))
            return function

        return register

    def queue(self, name: str, type: type[T]) -> Queue[T]:
        """A typed handle on queue `name`: a type checker knows what may be sent to it."""
        return Queue(self, check_queue_name(name), type)

    def add_middleware(self, middleware: Middleware) -> Middleware:
        """``async def middleware(value, ctx, call_next)`` around every run, inside those added before."""
        self._middleware.append(middleware)
        return middleware

    def observe(self, observer: Observer) -> Observer:
        """Tell `observer` of every named moment; see `leveler.events`."""
        self._observers.add(observer)
        return observer

    @property
    def handlers(self) -> Mapping[str, Sequence[Handler]]:
        """By queue, in the order in which they were registered."""
        return self._handlers

    # Configure

    def configure(
        self,
        *,
        config: str | Path | None = None,
        broker: str | None = None,
        listen: str | None = None,
        processes: str | None = None,
    ) -> None:
        """For command lines: read the file `config`; what else is given holds whatever it and ``LEVELER_*`` say."""
        self._config = config if config is not None else self._config
        self._broker = broker if broker is not None else self._broker
        self._listen = listen if listen is not None else self._listen
        self._processes = processes if processes is not None else self._processes

    def settings(self, *, connecting: bool = True) -> Settings:
        """What holds if it starts now.

        Args:
            connecting: False: nobody will use the brokers, so that their secrets may be missing.

        Raises:
            ConfigError: one line for each setting that is wrong.
        """
        # Here, because pydantic takes longer to import than all of leveler, and not everybody starts what he imports.
        from leveler.config import load

        return load(
            self._settings,
            self._config,
            broker=self._broker,
            listen=self._listen,
            processes=self._processes,
            connecting=connecting,
        )

    def explain(self) -> list[Row]:
        """Every setting that holds and who said it, without secrets."""
        from leveler.config import explain

        return explain(self._settings, self._config, broker=self._broker, queues=self._handlers)

    # Send

    async def send(self, queue: str, value: Any, **words: Unpack[SendWords]) -> Message:
        """Send `value`; return when the broker has accepted it.

        Args:
            queue: its name.
            value: anything the codec takes: structs, dataclasses, pydantic models, dicts, bytes, text.
            words: see `SendOptions`.

        Returns:
            The message as it was sent; its id is in it.

        Raises:
            NotStarted: outside ``async with app`` or a worker.
            SendUnknown: it may or may not be queued: send again with the same id.
            BrokerUnavailable, QueueFull: it is not queued.
            MessageError: it cannot be sent as it is.
        """
        producer = (await self._started().queue(queue)).producer
        options = SendOptions(**words)
        message = producer.message(value, options)
        await producer.send_one(message, options.block_seconds)
        return message

    async def send_many(self, queue: str, values: Iterable[Any], **words: Unpack[SendWords]) -> list[Message]:
        """Send all of `values`, in as few calls as the broker allows.

        Raises:
            BatchError: some were not accepted; by their index. The others were.
        """
        producer = (await self._started().queue(queue)).producer
        options = SendOptions(**words)
        messages = producer.messages(list(values), options)
        await producer.send(messages, options.block_seconds)
        return messages

    def blocking(self) -> Blocking:
        """The same for code without an event loop: ``with app.blocking() as out: out.send(...)``. Thread-safe."""
        return Blocking(self)

    # Look

    async def depth(self, queue: str) -> Depth:
        """How many messages wait, are leased, are delayed, are dead."""
        declared = await self._started().queue(queue)
        return await declared.adapter.depth(declared.spec)

    async def dead_letters(self, queue: str) -> DeadLetters:
        """Browse, replay, purge."""
        return await self._started().dead_letters(queue)

    def health(self) -> Health:
        """Whether every consumer is consuming, and what is weaker than promised."""
        return self._started().health()

    async def figures(self) -> AppFigures:
        """Everything in numbers, as a worker's endpoint shows it; the brokers are asked how much waits."""
        return await self._started().figures()

    # Live

    async def __aenter__(self) -> Self:
        """Start without consuming: for producers, for example in a web framework's lifespan."""
        await self._start(self.settings(), self._clock, random.Random())  # jitter, not secrets
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @asynccontextmanager
    async def working(self, only: Collection[str] | None = None) -> AsyncIterator[Self]:
        """Consume inside; drain when it ends.

        Args:
            only: these queues; all that have handlers by default.
        """
        async with self:
            runtime = self._started()
            await runtime.consume(only, self._state)
            try:
                yield self
            finally:
                await runtime.drain(runtime.settings.drain_timeout_seconds)

    def run(self, only: Collection[str] | None = None) -> int:
        """Be a worker until SIGTERM or SIGINT, then drain; a second signal gives everything back at once.

        Returns:
            The exit code: 0, or 1 if deliveries had to be left to the end of their lease.
        """
        return asyncio.run(self.serve(only))

    async def serve(self, only: Collection[str] | None = None) -> int:
        """`run`, in a loop that runs already."""
        async with self:
            return await work(self._started(), self._state, only)

    async def _start(self, settings: Settings, clock: Clock, rng: random.Random) -> Runtime:
        if self._runtime is not None:
            raise LevelerError("this app is started already; make a second Leveler for a second life beside it")
        if not settings.brokers:
            raise ConfigError(
                "no broker: name one in leveler.yaml, as 'broker: sqlite:///orders.db', in the environment, as "
                "LEVELER_BROKER=sqlite:///orders.db, or in code, as Leveler('sqlite:///orders.db')"
            )
        runtime = Runtime(
            settings,
            self._handlers,
            clock=clock,
            rng=rng,
            observers=self._observers,
            middleware=tuple(self._middleware),
            source=self._source,
        )
        await runtime.open()
        self._runtime = runtime
        self._life.push_async_callback(self._stop)
        try:
            if self._lifespan is not None:
                self._state = await self._life.enter_async_context(self._lifespan(self))
        except BaseException:
            await self._end()
            raise
        return runtime

    async def _end(self) -> None:
        life, self._life = self._life, AsyncExitStack()
        await life.aclose()

    async def _stop(self) -> None:
        runtime, self._runtime, self._state = self._runtime, None, None
        if runtime is not None:
            await runtime.close()

    def _forget(self) -> None:
        """What was started belongs to the process that this one was forked from."""
        self._runtime, self._state, self._life = None, None, AsyncExitStack()

    def _started(self) -> Runtime:
        if self._runtime is None:
            raise NotStarted("the app is not started: use it inside 'async with app:', or with app.blocking()")
        return self._runtime
