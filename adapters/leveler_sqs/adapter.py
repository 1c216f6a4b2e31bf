"""SQSAdapter: queues of Amazon SQS, in one region."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Final, Self

from leveler.adapter import Adapter, Capabilities, Depth, QueueSpec
from leveler.clock import Clock
from leveler.errors import AccessDenied, Unsupported
from leveler.message import Message
from leveler_sqs import inspection, policy
from leveler_sqs.background import Background
from leveler_sqs.calls import Calls
from leveler_sqs.location import location_of
from leveler_sqs.options import SQSOptions
from leveler_sqs.post import Post
from leveler_sqs.queues import Queues
from leveler_sqs.receiver import SQSReceiver
from leveler_sqs.sender import SQSSender
from leveler_sqs.source import Source

#: Ten requests' worth, side by side.
_MOST_ITEMS: Final = 100
#: A poll that was under way when its receiver was closed waits no longer than this.
_LONGEST_WAIT_SECONDS: Final = 20.0


class SQSAdapter(Adapter):
    """Standard queues, and FIFO queues where the order of keys or the dropping of duplicates is asked for.

    ``sqs://eu-central-1``, or ``sqs://`` for the region that botocore is configured with. Credentials are found where
    botocore finds them. An emulator: ``sqs://us-east-1?endpoint_url=http://127.0.0.1:4566``.
    """

    schemes: ClassVar[tuple[str, ...]] = ("sqs",)
    options: ClassVar[type[SQSOptions]] = SQSOptions
    loggers: ClassVar[tuple[str, ...]] = ("botocore", "aiobotocore")

    def __init__(self, url: str, options: SQSOptions, *, clock: Clock, deadline_seconds: float) -> None:
        super().__init__(url, options, clock=clock, deadline_seconds=deadline_seconds)
        self._options = options
        self._location = location_of(url, options)
        self._calls = Calls(self._location, options, deadline_seconds)
        self._queues = Queues(self._calls, options)
        self._background = Background()

    async def __aenter__(self) -> Self:
        try:
            await self._calls.open()
        except BaseException:
            await self._calls.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._background.finish(_LONGEST_WAIT_SECONDS + self.deadline_seconds)
        await self._calls.close()

    async def declare(self, queue: QueueSpec) -> Capabilities:
        policy.check(queue)
        degraded = await self._queues.declare(queue)
        if self._location.is_plain_to_another_host:
            degraded.append(f"messages cross the network as they are: {self._location.endpoint_url} is not https")
        return self._capabilities(queue, tuple(degraded))

    async def drop(self, queue: QueueSpec) -> None:
        await self._queues.drop(queue)

    def sender(self, queue: QueueSpec) -> SQSSender:
        return SQSSender(self.post(queue, reserve_bytes=policy.RESERVE_BYTES))

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> SQSReceiver:
        return SQSReceiver(
            queue,
            self.source(queue, dead=dead),
            self.post(queue),
            None if dead else self.post(queue, dead=True),
            self.clock,
            self._background,
            capacity=capacity,
            pollers=self._options.pollers,
        )

    async def depth(self, queue: QueueSpec) -> Depth:
        try:
            ready, leased, delayed = await self._queues.depths(self._queues.name(queue))
            dead = sum(await self._queues.depths(self._queues.name(queue, dead=True)))
        except AccessDenied:
            return Depth(None, None, None, None, None)
        return Depth(ready, leased, delayed, dead, None)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        if not dead:
            raise Unsupported(f"queue {queue.name!r}: SQS shows no messages without delivering them, which counts")
        return await inspection.peek(self.source(queue, dead=True), limit)

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        return await inspection.purge(self.source(queue, dead=dead))

    def name(self, queue: QueueSpec) -> str:
        """As SQS knows the queue."""
        return self._queues.name(queue)

    def source(self, queue: QueueSpec, *, dead: bool) -> Source:
        """Its messages, request by request. `source` and `post` are also for whoever is handed messages by others."""
        name = self._queues.name(queue, dead=dead)
        return Source(name, self._calls, self._queues, self.clock, lease_seconds=queue.lease_seconds, dead=dead)

    def post(self, queue: QueueSpec, *, dead: bool = False, reserve_bytes: int = 0) -> Post:
        """To the queue, or to its dead letters. What a user sends leaves room for what a dead letter adds."""
        return Post(
            self._queues.name(queue, dead=dead),
            self._calls,
            self._queues,
            self.clock,
            fifo=policy.is_fifo(queue),
            most_bytes=lambda: self._queues.most_bytes(queue) - reserve_bytes,
        )

    def _capabilities(self, queue: QueueSpec, degraded: tuple[str, ...]) -> Capabilities:
        fifo = policy.is_fifo(queue)
        return Capabilities(
            scope="network",
            durable=True,
            max_message_bytes=self._queues.most_bytes(queue) - policy.RESERVE_BYTES,
            max_batch=_MOST_ITEMS,
            max_delay_seconds=0.0 if fifo else policy.LONGEST_DELAY_SECONDS,
            max_abandon_seconds=policy.LONGEST_LEASE_SECONDS,
            lease_range_seconds=(1.0, policy.LONGEST_LEASE_SECONDS),
            max_lease_seconds=policy.LONGEST_LEASE_SECONDS,
            uncounted="none" if fifo else "copy",
            attempts="approximate",
            ordering=fifo,
            dedup_seconds=policy.DEDUP_SECONDS if fifo else 0.0,
            depth="none" if self._queues.name(queue) in self._queues.hidden else "approximate",
            peek=False,
            concurrent_verbs=True,
            degraded=degraded,
        )
