"""RabbitMQAdapter: queues of a RabbitMQ server or cluster."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Final, Self

from pamqp import commands

from leveler.adapter import Adapter, Capabilities, Depth, QueueSpec
from leveler.clock import Clock
from leveler.errors import AccessDenied, ConfigError, QueueNotFound, Unsupported
from leveler.message import Message
from leveler_rabbitmq import topology
from leveler_rabbitmq.address import address_of
from leveler_rabbitmq.connections import Connections
from leveler_rabbitmq.delays import rooms_of, solo_rooms
from leveler_rabbitmq.errors import ChannelClosed
from leveler_rabbitmq.options import RabbitMQOptions
from leveler_rabbitmq.peeking import peek
from leveler_rabbitmq.post import Post
from leveler_rabbitmq.receiver import RabbitMQReceiver
from leveler_rabbitmq.rooms import Rooms, written_down
from leveler_rabbitmq.sender import RabbitMQSender

log: Final = logging.getLogger("leveler.rabbitmq")

#: The first with quorum queues that can expire messages and dead-letter them at least once.
_OLDEST: Final = (3, 10)
_MOST_ITEMS: Final = 1000
_MIB: Final = 1024 * 1024
#: Shorter than this a lease might be over when the delivery has been looked at.
_SHORTEST_LEASE_SECONDS: Final = 0.1


class RabbitMQAdapter(Adapter):
    """Quorum queues: ``amqp://user:password@host:5672/vhost``, ``amqps://`` for TLS.

    Several nodes of one cluster: ``amqp://user:password@one:5672,two:5672/vhost``; the first one that answers is used,
    and another one when it is gone.
    """

    schemes: ClassVar[tuple[str, ...]] = ("amqp", "amqps")
    options: ClassVar[type[RabbitMQOptions]] = RabbitMQOptions
    loggers: ClassVar[tuple[str, ...]] = ("aiormq", "aio_pika")

    def __init__(self, url: str, options: RabbitMQOptions, *, clock: Clock, deadline_seconds: float) -> None:
        super().__init__(url, options, clock=clock, deadline_seconds=deadline_seconds)
        self._settings = options
        self._address = address_of(url)
        self._connections = Connections(self._address, self._tls, options.heartbeat_seconds, deadline_seconds)
        self._post = Post(self._connections, Rooms(self._connections, clock))
        self._version: tuple[int, ...] = ()
        self._declared: set[str] = set()

    async def __aenter__(self) -> Self:
        link = await self._connections.open()
        self._version = topology.version_of(link.version)
        if self._version < _OLDEST:
            await self._connections.close()
            raise ConfigError(
                f"{self!r} is RabbitMQ {link.version}: leveler needs 3.10 or newer, whose quorum queues can hand on "
                "delayed messages without losing any"
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.close()

    async def declare(self, queue: QueueSpec) -> Capabilities:
        self._check(queue)
        if queue.declare == "skip":
            return self._capabilities(())
        missing = [name for name in (queue.dead_name, queue.name) if not await self._exists(name)]
        if missing and queue.declare == "verify":
            raise QueueNotFound(f"queue {missing[-1]!r} does not exist: declare it with declare: create")
        for name in self._declared.intersection(missing):
            log.error("queue %r is gone, with what waited in it; it is made again", name)
        degraded = [found for name in (queue.dead_name, queue.name) if (found := await self._agree(queue, name))]
        # It must be there for some time when it is needed.
        made = queue.declare == "create" and await self._post.rooms.make(solo_rooms(queue.name)[0])
        if missing or made:
            await written_down()
        self._declared.update((queue.name, queue.dead_name))
        return self._capabilities(tuple(degraded))

    async def _exists(self, name: str) -> bool:
        try:
            await self._connections.ready(name)
        except QueueNotFound:
            return False
        return True

    async def _agree(self, queue: QueueSpec, name: str) -> str:
        """Create it, or see that what it is will do; what could not be seen."""
        try:
            await self._declare(queue, name, topology.arguments_of(queue, dead=name == queue.dead_name))
        except AccessDenied:
            if queue.declare == "create":
                raise
            return f"the settings of queue {name!r} could not be verified: this user has no configure permission"
        return ""

    async def drop(self, queue: QueueSpec) -> None:
        self._declared.difference_update((queue.name, queue.dead_name))
        rooms = rooms_of(queue.name)
        await self._delete([queue.name, queue.dead_name, *(room.name for room in rooms)])
        self._post.rooms.forget(room.name for room in rooms)

    def sender(self, queue: QueueSpec) -> RabbitMQSender:
        return RabbitMQSender(queue, self._post, self.clock, self._max_message_bytes)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> RabbitMQReceiver:
        longest = self._settings.consumer_timeout_seconds
        return RabbitMQReceiver(
            queue, self._connections, self._post, self.clock, capacity=capacity, dead=dead, longest_seconds=longest
        )

    async def depth(self, queue: QueueSpec) -> Depth:
        ready, dead = await asyncio.gather(
            self._connections.ready(queue.name), self._connections.ready(queue.dead_name)
        )
        return Depth(ready, None, None, dead, None)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        if not dead:
            raise Unsupported(
                f"queue {queue.name!r}: RabbitMQ cannot show messages without delivering them, which counts an attempt"
            )
        return await peek(self._connections, queue.dead_name, limit, self.clock)

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        name = queue.dead_name if dead else queue.name
        async with self._connections.talk(f"queue {name!r}") as lane:
            purged = await lane.ask(commands.Queue.Purge(queue=name), commands.Queue.PurgeOk)
        count = purged.message_count or 0
        if not dead:
            rooms = rooms_of(queue.name)
            count += await self._delete([room.name for room in rooms])
            self._post.rooms.forget(room.name for room in rooms)
        return count

    async def _declare(self, queue: QueueSpec, name: str, arguments: topology.Arguments) -> None:
        """Create it, or see that it is there and what is different about it."""
        for _ in range(topology.MOST_DIFFERENCES):
            async with self._connections.talk(f"queue {name!r}") as lane:
                try:
                    declaration = commands.Queue.Declare(queue=name, durable=True, arguments=dict(arguments))
                    await lane.ask(declaration, commands.Queue.DeclareOk)
                except ChannelClosed as error:
                    if (found := topology.difference_of(error)) is None:
                        raise
                    topology.reconcile(queue, name, found, self._version)
                    arguments = topology.adopt(arguments, found)
                else:
                    return
        raise ConfigError(f"queue {name!r} was declared in a way that leveler does not understand: delete it")

    async def _delete(self, names: Sequence[str]) -> int:
        """How many messages were in them; one that does not exist is as good as deleted."""
        async with self._connections.talk(f"queue {names[0]!r}") as lane:
            answers = await asyncio.gather(
                *(lane.ask(commands.Queue.Delete(queue=name), commands.Queue.DeleteOk) for name in names)
            )
        return sum(answer.message_count or 0 for answer in answers)

    def _check(self, queue: QueueSpec) -> None:
        longest = self._settings.consumer_timeout_seconds
        if not _SHORTEST_LEASE_SECONDS <= queue.lease_seconds <= longest:
            raise ConfigError(
                f"queue {queue.name!r}: lease is {queue.lease_seconds:g} s; RabbitMQ takes back what is held longer "
                f"than consumer_timeout, {longest:g} s, and shorter than {_SHORTEST_LEASE_SECONDS} s makes no sense"
            )
        if queue.ordered:
            raise ConfigError(
                f"queue {queue.name!r}: ordered is set, but RabbitMQ keeps no order per key; remove it, or use another "
                "broker for this queue"
            )
        if queue.dedup_seconds > 0:
            raise ConfigError(
                f"queue {queue.name!r}: dedup is {queue.dedup_seconds:g} s, but RabbitMQ drops no duplicates; remove "
                "it, or use another broker for this queue"
            )

    @property
    def _max_message_bytes(self) -> int:
        return self._settings.max_message_bytes or (16 if self._version >= (4,) else 128) * _MIB

    def _capabilities(self, degraded: tuple[str, ...]) -> Capabilities:
        longest = self._settings.consumer_timeout_seconds
        return Capabilities(
            scope="network",
            durable=True,
            max_message_bytes=self._max_message_bytes,
            max_batch=_MOST_ITEMS,
            lease="connection",
            lease_range_seconds=(_SHORTEST_LEASE_SECONDS, longest),
            max_lease_seconds=longest,
            uncounted="copy",
            attempts="approximate",
            solos="marked",
            priority_levels=2 if self._version >= (4,) else 1,
            depth="approximate",
            peek=False,
            concurrent_verbs=True,
            degraded=degraded,
        )

    def _tls(self) -> ssl.SSLContext | None:
        if not self._address.tls:
            return None
        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
            if settings.cert_file:
                context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(filter(None, (settings.ca_file, settings.cert_file, settings.key_file)))
            raise ConfigError(f"the TLS files ({files}) cannot be used: {error}") from error
        return context
