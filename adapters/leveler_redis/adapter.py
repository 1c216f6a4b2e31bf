"""RedisAdapter: one server, as seen by one process."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import ClassVar, Final, Self

import redis

from leveler.adapter import INFINITE, Adapter, Capabilities, Depth, QueueSpec
from leveler.clock import Clock
from leveler.errors import ConfigError, NotStarted, QueueNotFound
from leveler.holdings import Holdings
from leveler.message import MAX_PRIORITY, Message
from leveler.schedule import Ask, Stretch
from leveler_redis.entry import read
from leveler_redis.keys import rate_keys
from leveler_redis.location import location_of
from leveler_redis.options import RedisOptions
from leveler_redis.queues import Queues
from leveler_redis.reading import Reading
from leveler_redis.receipt import Receipt
from leveler_redis.receiver import RedisReceiver
from leveler_redis.script import Script, Scripts
from leveler_redis.sender import RedisSender
from leveler_redis.server import Settings, check, degraded, settings_of
from leveler_redis.session import Answer
from leveler_redis.tending import tending_of
from leveler_redis.wire import Wire

#: More in one call would keep the server, which does one thing at a time, from everybody else for too long.
_MOST_ITEMS: Final = 1000
#: Shorter than this a lease might be over when the answer that began it arrives.
_SHORTEST_LEASE_SECONDS: Final = 0.1

#: Before this one a cancelled command could give its answer to somebody else (CVE-2023-28859).
_OLDEST_CLIENT: Final = (5, 0)


class RedisAdapter(Adapter):
    """Queues on one server: ``redis://user:password@host:6379/0``, or ``rediss://`` for TLS, which is verified.

    A forked process needs an adapter of its own.
    """

    schemes: ClassVar[tuple[str, ...]] = ("redis", "rediss")
    options: ClassVar[type[RedisOptions]] = RedisOptions
    keeps_rates: ClassVar[bool] = True

    def __init__(self, url: str, options: RedisOptions, *, clock: Clock, deadline_seconds: float) -> None:
        super().__init__(url, options, clock=clock, deadline_seconds=deadline_seconds)
        self._settings = options
        self._location = location_of(url)
        self._server = str(self._location)
        self._scripts = Scripts()
        self._opened: Wire | None = None
        self._queues: Queues | None = None

    async def __aenter__(self) -> Self:
        _check_client(redis.__version__)
        wire = self._wire()
        try:
            await wire.connect()
        except BaseException:
            await wire.close()
            raise
        self._opened = wire
        self._queues = Queues(wire, self._scripts, self._settings.prefix, self._server)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            wire, self._opened = self._opened, None
            await wire.close()

    async def declare(self, queue: QueueSpec) -> Capabilities:
        if queue.lease_seconds < _SHORTEST_LEASE_SECONDS:
            raise ConfigError(
                f"queue {queue.name!r}: lease is {queue.lease_seconds:g} s, and Redis keeps those of "
                f"{_SHORTEST_LEASE_SECONDS} s or more"
            )
        wire, queues = self._open()
        settings = await settings_of(wire, self._server)
        if queue.declare != "skip":
            check(settings, self._server)
        await queues.declare(queue)
        return self._capabilities(queue, settings)

    async def drop(self, queue: QueueSpec) -> None:
        _, queues = self._open()
        await queues.drop(queue)

    @property
    def remade(self) -> Mapping[str, int]:
        """How often each queue was gone from the server and had to be made again."""
        return self._open()[1].remade

    def sender(self, queue: QueueSpec) -> RedisSender:
        wire, queues = self._open()
        return RedisSender(
            queue,
            queues.keys(queue),
            wire,
            self._scripts,
            self.clock,
            max_message_bytes=self._settings.max_message_bytes,
            server=self._server,
            restore=partial(queues.restore, queue),
        )

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> RedisReceiver:
        wire, queues = self._open()
        keys, me, own_wire = queues.keys(queue, dead=dead), _consumer_name(), self._wire()
        holdings: Holdings[Receipt] = Holdings(capacity)
        reading = Reading(
            queue,
            keys,
            me,
            own_wire,
            self._scripts,
            self.clock,
            holdings=holdings,
            poll_seconds=self._settings.poll_seconds,
            max_message_bytes=self._settings.max_message_bytes,
            restore=partial(queues.restore, queue, dead=dead),
        )
        return RedisReceiver(
            queue,
            keys,
            queues.keys(queue, dead=True),
            me,
            reading=reading,
            own_wire=own_wire,
            wire=wire,
            scripts=self._scripts,
            clock=self.clock,
            holdings=holdings,
            dead=dead,
        )

    async def depth(self, queue: QueueSpec) -> Depth:
        ready, leased, delayed, age = await self._look(queue, self._scripts.depth)
        dead_ready, dead_leased, dead_delayed, _ = await self._look(queue, self._scripts.depth, dead=True)
        return Depth(ready, leased, delayed, dead_ready + dead_leased + dead_delayed, max(0.0, age / 1000))

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        ready, waiting = await self._look(queue, self._scripts.peek, (limit,), dead=dead)
        later = [read(raw) for raw in waiting]
        if queue.ordered:
            later.sort(key=lambda entry: entry[2].rpartition(b"\0")[2])
        return [message for message, _, _ in (*map(read, ready), *later)]

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        total = 0
        while removed := await self._look(queue, self._scripts.purge, dead=dead):
            total += removed
        return total

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        wire, _ = self._open()
        times = (ask.interval_seconds, ask.ahead_seconds, ask.late_seconds, ask.present_seconds)
        arguments: list[str | int] = [ask.holder, ask.starts, *(str(1e6 * seconds) for seconds in times)]
        keys = rate_keys(self._settings.prefix, rate)
        wait_us, starts, workers = await wire.run(self._scripts.reserve, keys, arguments)
        return Stretch(wait_us / 1e6, starts, workers)

    async def _look(
        self, queue: QueueSpec, script: Script, arguments: Sequence[int] = (), *, dead: bool = False
    ) -> Answer:
        """The answer of a script, once all that is due has been tended."""
        wire, queues = self._open()
        keys = queues.keys(queue, dead=dead).all
        while True:
            tended = await wire.run(self._scripts.tend, keys)
            if tended is None or not tending_of(tended).more:
                break
        answer = None if tended is None else await wire.run(script, keys, arguments)
        if answer is None:
            name = queue.dead_name if dead else queue.name
            raise QueueNotFound(f"queue {name!r} is not on {self._server}: declare it, or correct the name")
        return answer

    def _wire(self) -> Wire:
        return Wire(lambda: self._location.connection(self._settings), self._server, self.deadline_seconds)

    def _open(self) -> tuple[Wire, Queues]:
        if self._opened is None or self._queues is None:
            raise NotStarted(f"{self!r} is not open: use it inside 'async with'")
        return self._opened, self._queues

    def _capabilities(self, queue: QueueSpec, settings: Settings) -> Capabilities:
        return Capabilities(
            scope="network",
            durable=settings.durable,
            max_message_bytes=self._settings.max_message_bytes,
            max_batch=_MOST_ITEMS,
            lease="timed",
            lease_range_seconds=(_SHORTEST_LEASE_SECONDS, INFINITE),
            uncounted="native",
            attempts="exact",
            ordering=queue.ordered,
            dedup_seconds=queue.dedup_seconds,
            priority_levels=MAX_PRIORITY + 1,
            depth="exact",
            concurrent_verbs=True,
            degraded=degraded(settings, plain=self._location.is_plain_to_another_host),
        )


def _consumer_name() -> str:
    """Says to whoever looks at the server where the receiver is; no other receiver has it."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(6)}"


def _check_client(version: str) -> None:
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST_CLIENT:
        raise ConfigError(
            f"redis-py {version} may give one command's answer to another (CVE-2023-28858, CVE-2023-28859): "
            "pip install -U 'leveler-mq[redis]'"
        )
