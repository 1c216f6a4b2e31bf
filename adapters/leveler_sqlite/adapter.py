"""SQLiteAdapter: one file, as seen by one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import ClassVar, Final, Self, TypeVar

from leveler.adapter import INFINITE, Adapter, Capabilities, Depth, QueueSpec
from leveler.clock import Clock
from leveler.errors import ConfigError, NotStarted
from leveler.message import MAX_PRIORITY, Message
from leveler.schedule import Ask, Stretch
from leveler_sqlite import inspection, queues, rates, removal
from leveler_sqlite.committer import Committer
from leveler_sqlite.deliveries import unpack
from leveler_sqlite.job import Job
from leveler_sqlite.location import create, is_there, locate, path_of
from leveler_sqlite.options import SQLiteOptions
from leveler_sqlite.receiver import SQLiteReceiver
from leveler_sqlite.sender import SQLiteSender
from leveler_sqlite.transaction import Transaction
from leveler_sqlite.writer import Writer

R = TypeVar("R")

#: More in one call would hold up everybody else's commit.
_MOST_ITEMS: Final = 1000
#: Shorter than this a lease might be over when the commit that began it is.
_SHORTEST_LEASE_SECONDS: Final = 0.1

_LAZY: Final = (
    "synchronous=normal: accepted messages may be lost on power loss (not on a crash of a process); set "
    "synchronous=full to keep them"
)


class SQLiteAdapter(Adapter):
    """Queues in one file: ``sqlite:///relative.db`` or ``sqlite:////absolute/path.db``.

    A forked process needs an adapter of its own: SQLite's connections do not survive a fork, nor does the thread.
    """

    schemes: ClassVar[tuple[str, ...]] = ("sqlite",)
    options: ClassVar[type[SQLiteOptions]] = SQLiteOptions
    keeps_rates: ClassVar[bool] = True

    def __init__(self, url: str, options: SQLiteOptions, *, clock: Clock, deadline_seconds: float) -> None:
        super().__init__(url, options, clock=clock, deadline_seconds=deadline_seconds)
        self._settings = options
        self._path = path_of(url)
        self._receivers: set[SQLiteReceiver] = set()
        self._opened: Writer | None = None

    async def __aenter__(self) -> Self:
        path = locate(self._path)
        settings, deadline = self._settings, self.deadline_seconds
        writer = Writer(
            lambda: self._committer(path),
            path,
            deadline_seconds=deadline,
            poll_seconds=settings.poll_seconds,
            on_touched=self._ring,
            on_changed=self._ring_all,
        )
        if is_there(path):  # else the first queue that is made makes it: whoever only looks leaves nothing behind
            await writer.start()
        self._opened = writer
        return self

    def _committer(self, path: str) -> Committer:
        create(path)
        return Committer(path, self._settings.synchronous, self.clock, wait_seconds=self.deadline_seconds)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            writer, self._opened = self._opened, None
            await writer.stop()

    async def declare(self, queue: QueueSpec) -> Capabilities:
        if queue.lease_seconds < _SHORTEST_LEASE_SECONDS:
            raise ConfigError(
                f"queue {queue.name!r}: lease is {queue.lease_seconds:g} s, and SQLite keeps those of "
                f"{_SHORTEST_LEASE_SECONDS} s or more"
            )
        if queue.declare == "create":
            await self._writer.start()
        elif queue.declare == "skip" and not await self._writer.found():
            return self._capabilities(queue, queue.ordered)
        ordered = await self._do(lambda transaction: queues.declare(transaction, queue))
        return self._capabilities(queue, ordered)

    async def drop(self, queue: QueueSpec) -> None:
        if not await self._writer.found():
            return
        for name in (queue.name, queue.dead_name):
            await self._in_portions(name, removal.empty)
        await self._do(lambda transaction: queues.drop(transaction, queue))

    def sender(self, queue: QueueSpec) -> SQLiteSender:
        return SQLiteSender(queue, self._writer, self.clock, self._settings.max_message_bytes)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> SQLiteReceiver:
        receiver = SQLiteReceiver(
            queue, self._writer, self.clock, capacity=capacity, dead=dead, on_closed=self._receivers.discard
        )
        self._receivers.add(receiver)
        return receiver

    async def depth(self, queue: QueueSpec) -> Depth:
        return await self._look(lambda transaction: inspection.depth(transaction, queue.name, queue.dead_name))

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        name = queue.dead_name if dead else queue.name
        found = await self._look(lambda transaction: inspection.peek(transaction, name, limit))
        return [message for row in found for message in unpack(*row)][:limit]

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        return await self._in_portions(queue.dead_name if dead else queue.name, removal.purge)

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        await self._writer.start()  # a file that holds nothing but rates is made by the first who asks
        # Not synced: what a power cut takes away has passed by the time that the host is up again.
        return await self._writer.do(Job(lambda transaction: rates.reserve(transaction, rate, ask), synced=False))

    @property
    def _writer(self) -> Writer:
        if self._opened is None:
            raise NotStarted(f"{self!r} is not open: use it inside 'async with'")
        return self._opened

    async def _do(self, act: Callable[[Transaction], R]) -> R:
        return await self._writer.do(Job(act))

    async def _look(self, look: Callable[[Transaction], R]) -> R:
        return await self._writer.do(Job(look, look=look))

    async def _in_portions(self, name: str, remove: Callable[[Transaction, str], int]) -> int:
        total = 0
        while removed := await self._do(lambda transaction: remove(transaction, name)):
            total += removed
        return total

    def _ring(self, touched: set[int]) -> None:
        for receiver in self._receivers:
            if not receiver.queue or receiver.queue in touched:
                receiver.ring()

    def _ring_all(self) -> None:
        for receiver in self._receivers:
            receiver.ring()

    def _capabilities(self, queue: QueueSpec, ordered: bool) -> Capabilities:
        return Capabilities(
            scope="host",
            durable=True,
            max_message_bytes=self._settings.max_message_bytes,
            max_batch=_MOST_ITEMS,
            bounds_bytes=True,
            lease="timed",
            lease_range_seconds=(_SHORTEST_LEASE_SECONDS, INFINITE),
            uncounted="native",
            attempts="exact",
            ordering=ordered,
            dedup_seconds=queue.dedup_seconds,
            priority_levels=MAX_PRIORITY + 1,
            depth="exact",
            concurrent_verbs=True,
            degraded=(_LAZY,) if self._settings.synchronous == "normal" else (),
        )
