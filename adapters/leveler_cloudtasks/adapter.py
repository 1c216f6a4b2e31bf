"""CloudTasksAdapter: one project and location, and the endpoint at which its tasks arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import ClassVar, Final, Self

from leveler.adapter import Adapter, Capabilities, Depth, QueueSpec, Receiver
from leveler.clock import Clock, SystemClock
from leveler.errors import ConfigError, NotStarted
from leveler.message import Message
from leveler_cloudtasks.attempt import LONGEST_LEASE_SECONDS, due_at, failures, lease_of, task_id
from leveler_cloudtasks.client import Client
from leveler_cloudtasks.dead import DeadReceiver
from leveler_cloudtasks.headers import message_of
from leveler_cloudtasks.inspection import Inspection
from leveler_cloudtasks.keys import Keys
from leveler_cloudtasks.options import CloudTasksOptions
from leveler_cloudtasks.place import Place
from leveler_cloudtasks.push import Arrived, Desks, Endpoint, Guard, Server, Servers
from leveler_cloudtasks.queues import Queues
from leveler_cloudtasks.receiver import CloudTasksReceiver
from leveler_cloudtasks.sender import MAX_MESSAGE_BYTES, CloudTasksSender
from leveler_cloudtasks.tasks import MAX_DELAY_SECONDS, Tasks
from leveler_cloudtasks.verification import OidcGuard, OpenGuard

#: How long the name of a task that is over is remembered.
_DEDUP_SECONDS: Final = 3600.0
_MOST_ITEMS: Final = 100
_MAX_BODY_BYTES: Final = 1024 * 1024

#: Which addresses this process listens on: a port is the process's, whichever adapter of it asks.
_SERVERS: Final = Servers()


class CloudTasksAdapter(Adapter):
    """Queues of ``cloudtasks://PROJECT/LOCATION``. Credentials are the environment's, as with all of Google's clients.

    `mounted` makes one whose requests arrive through a web application of the user's own.
    """

    schemes: ClassVar[tuple[str, ...]] = ("cloudtasks",)
    options: ClassVar[type[CloudTasksOptions]] = CloudTasksOptions
    loggers: ClassVar[tuple[str, ...]] = ("uvicorn",)

    def __init__(self, url: str, options: CloudTasksOptions, *, clock: Clock, deadline_seconds: float) -> None:
        super().__init__(url, options, clock=clock, deadline_seconds=deadline_seconds)
        self._at = options
        self._place = Place.of(url)
        self._client: Client | None = None
        self._calls = asyncio.Semaphore(options.calls) if options.url else None
        self._server: Server | None = None
        #: The ASGI app, for a web application to mount; None where this adapter listens itself.
        self.endpoint: Endpoint | None = None

    async def __aenter__(self) -> Self:
        self._client = Client(self._place, self._at.emulator, self.deadline_seconds)
        try:
            await self._client.connect()
            if self._at.listen_first:
                await self._desks()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await _SERVERS.leave(server)
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def declare(self, queue: QueueSpec) -> Capabilities:
        self._check(queue)
        degraded = await Queues(self._open(), self._at.longest_backoff).declare(queue)
        return Capabilities(
            scope="network",
            durable=True,
            max_message_bytes=MAX_MESSAGE_BYTES,
            max_batch=_MOST_ITEMS,
            max_delay_seconds=MAX_DELAY_SECONDS,
            max_abandon_seconds=MAX_DELAY_SECONDS,
            lease="request",
            lease_range_seconds=(self._at.shortest_lease, LONGEST_LEASE_SECONDS),
            max_lease_seconds=queue.lease_seconds,
            extend=False,
            uncounted="native",
            # A try that never reached a worker is one for the service, and cannot be told from a crash.
            attempts="approximate",
            dedup_seconds=_DEDUP_SECONDS if queue.dedup_seconds > 0 else 0.0,
            depth="approximate",
            push=True,
            concurrent_verbs=True,
            degraded=degraded,
        )

    async def drop(self, queue: QueueSpec) -> None:
        client = self._open()
        await client.delete_queue(queue.name)
        await client.delete_queue(queue.dead_name)

    def sender(self, queue: QueueSpec) -> CloudTasksSender:
        return CloudTasksSender(queue.name, self._tasks(queue), self._open(), self._calls)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        client, tasks = self._open(), self._tasks(queue)
        if dead:
            return DeadReceiver(queue, capacity=capacity, clock=self.clock, tasks=tasks, client=client)
        return CloudTasksReceiver(
            queue, capacity=capacity, clock=self.clock, tasks=tasks, client=client, open_desks=self._desks
        )

    async def depth(self, queue: QueueSpec) -> Depth:
        return await Inspection(self._open(), self.clock).depth(queue)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        return await Inspection(self._open(), self.clock).peek(queue, limit, dead=dead)

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int | None:
        return await Inspection(self._open(), self.clock).purge(queue, dead=dead)

    # -- what arrives

    async def _desks(self) -> Desks:
        """Of the endpoint, which listens from now on."""
        if self.endpoint is not None:
            return self.endpoint.desks
        if self._server is None:
            host, port = self._at.address()
            kind = (self._at.service_account, self._at.token_audience, self._at.keys)
            self._server = _SERVERS.join(host, port, kind, self._made_endpoint)
        await self._server.start()
        return self._server.endpoint.desks

    def _made_endpoint(self) -> Endpoint:
        return Endpoint(
            self._guard(),
            self._read,
            # A task may say GET, and no web page can write this header without asking first.
            takes_any_method=lambda headers: task_id(headers) != "",
            max_body_bytes=_MAX_BODY_BYTES,
            clock=self.clock,
        )

    def _guard(self) -> Guard:
        if not self._at.service_account:
            return OpenGuard()
        keys = Keys(self._at.keys, self.clock)
        return OidcGuard(keys, self._at.service_account, self._at.token_audience, self.clock)

    def _read(self, headers: Mapping[str, str], body: bytes) -> Arrived:
        origin = task_id(headers)
        message = message_of(headers, body, received_at=due_at(headers, self.clock.now()), native_id=origin)
        failed = failures(headers)
        copy = message.copy(attempts=message.attempts + 1, not_before=None, failed_at=message.failed_at)
        attempt = message.attempts + failed + 1
        return Arrived(message, attempt, origin, lease_of(headers), instead=copy if failed else None)

    # -- the rest

    def _tasks(self, queue: QueueSpec) -> Tasks:
        return Tasks(queue, self._place, self._at, self.clock)

    def _open(self) -> Client:
        if self._client is None:
            raise NotStarted("the adapter is not connected: use it inside 'async with'")
        return self._client

    def _check(self, queue: QueueSpec) -> None:
        shortest = self._at.shortest_lease
        if not shortest <= queue.lease_seconds <= LONGEST_LEASE_SECONDS:
            raise _refused(
                queue, f"lease is {queue.lease_seconds:g} s", f"keeps {shortest:g} s to {LONGEST_LEASE_SECONDS:g} s"
            )
        if queue.ordered:
            raise _refused(queue, "ordered is set", "has no order at all")
        if queue.max_depth is not None:
            raise _refused(queue, "max_depth is set", "does not say how many tasks wait before it takes one more")
        if queue.dedup_seconds > _DEDUP_SECONDS:
            raise _refused(
                queue, f"dedup is {queue.dedup_seconds:g} s", f"remembers names for {_DEDUP_SECONDS:g} s at most"
            )


def mounted(
    url: str, options: CloudTasksOptions, *, clock: Clock | None = None, deadline_seconds: float = 10.0
) -> CloudTasksAdapter:
    """An adapter that does not listen: mount its `endpoint`, an ASGI app, in a web application of yours.

    Args:
        url: ``cloudtasks://PROJECT/LOCATION``.
        options: `endpoint` is the URL at which the service reaches what is mounted.
        clock: time.
        deadline_seconds: of each call to the service.

    Raises:
        ConfigError: nobody could tell who calls.
    """
    if not options.service_account and not options.emulator:
        raise ConfigError("cloudtasks: set service_account: without it anybody who reaches your application can call")
    adapter = CloudTasksAdapter(url, options, clock=clock or SystemClock(), deadline_seconds=deadline_seconds)
    adapter.endpoint = adapter._made_endpoint()
    return adapter


def _refused(queue: QueueSpec, what: str, limit: str) -> ConfigError:
    return ConfigError(f"queue {queue.name!r}: {what}, but Cloud Tasks {limit}; change the setting")
