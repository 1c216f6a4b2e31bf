"""EventAdapter: the broker as an app on Lambda sees it. Nothing is fetched: messages are handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from leveler_sqs import SQSAdapter, policy
from leveler_sqs.envelope import seal

from leveler.adapter import Adapter, Capabilities, Depth, QueueSpec, Receiver, Sender
from leveler.errors import ConfigError
from leveler.message import Message
from leveler_lambda.batch import Batch, Record
from leveler_lambda.opening import Opening
from leveler_lambda.receiver import EventReceiver, Mailbox

#: The largest batch of an event source mapping.
_MOST_RECORDS = 10_000


class EventAdapter(Adapter):
    """
    Args:
        sqs: not entered; for what is sent.
        consumed: the queues whose messages are handed in.
    """

    def __init__(self, sqs: SQSAdapter, consumed: Sequence[str]) -> None:
        super().__init__(sqs.url, sqs.settings, clock=sqs.clock, deadline_seconds=sqs.deadline_seconds)
        self._sqs = Opening(sqs)
        self._consumed = frozenset(consumed)
        self._mailboxes: dict[str, Mailbox] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sqs.close()

    def put(self, batch: Batch, queues: Mapping[str, QueueSpec], leased_until: float) -> list[str]:
        """Hand in the records of `queues`; the names of those for which there are any."""
        by_name = {self.sqs_name(queue): name for name, queue in queues.items() if name in self._consumed}
        found: dict[str, list[Record]] = {}
        for record in batch.records:
            if (name := by_name.get(record.queue)) is not None:
                found.setdefault(name, []).append(record)
        now = self.clock.now()
        for name, records in found.items():
            self._mailboxes[name] = Mailbox(batch, [record.delivery(leased_until, now) for record in records])
        return list(found)

    def sqs_name(self, queue: QueueSpec) -> str:
        """As SQS knows the queue."""
        return self._sqs.closed.name(queue)

    def sender(self, queue: QueueSpec) -> Sender:
        return _LateSender(queue, self._sqs)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        if dead:
            raise ConfigError(
                f"queue {queue.name!r}: dead letters are not handed to Lambda; look at them from elsewhere"
            )
        return EventReceiver(queue, self._mailboxes[queue.name], self._sqs, self.clock, capacity)

    async def declare(self, queue: QueueSpec) -> Capabilities:
        if queue.name not in self._consumed:
            return await (await self._sqs.opened()).declare(queue)
        policy.check(queue)
        fifo = policy.is_fifo(queue)
        return Capabilities(
            scope="network",
            durable=True,
            max_message_bytes=policy.MOST_BYTES - policy.RESERVE_BYTES,
            max_batch=_MOST_RECORDS,
            max_delay_seconds=0.0 if fifo else policy.LONGEST_DELAY_SECONDS,
            max_abandon_seconds=policy.LONGEST_LEASE_SECONDS,
            lease_range_seconds=(1.0, policy.LONGEST_LEASE_SECONDS),
            max_lease_seconds=queue.lease_seconds,
            uncounted="none",
            attempts="approximate",
            ordering=fifo,
            dedup_seconds=policy.DEDUP_SECONDS if fifo else 0.0,
            depth="approximate",
            peek=False,
            push=True,
            concurrent_verbs=True,
        )

    async def drop(self, queue: QueueSpec) -> None:
        await (await self._sqs.opened()).drop(queue)

    async def depth(self, queue: QueueSpec) -> Depth:
        return await (await self._sqs.opened()).depth(queue)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        return await (await self._sqs.opened()).peek(queue, limit, dead=dead)

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int | None:
        return await (await self._sqs.opened()).purge(queue, dead=dead)


class _LateSender(Sender):
    def __init__(self, queue: QueueSpec, sqs: Opening[SQSAdapter]) -> None:
        self._queue = queue
        self._sqs = sqs

    def size(self, message: Message) -> int:
        return seal(message).size

    async def send(self, messages: Sequence[Message]) -> None:
        await (await self._sqs.opened()).sender(self._queue).send(messages)
