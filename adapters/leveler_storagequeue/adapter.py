"""StorageQueueAdapter: one storage account, as seen by one process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import ClassVar, Final, Self

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage

from leveler.adapter import Abandon, Adapter, Capabilities, Delivery, Depth, QueueSpec
from leveler.clock import Clock
from leveler.errors import ConfigError, NotStarted
from leveler.message import Message
from leveler_storagequeue.account import account_of
from leveler_storagequeue.letter import MOST_BYTES, RESERVE_BYTES, read
from leveler_storagequeue.looking import Looking
from leveler_storagequeue.options import StorageQueueOptions
from leveler_storagequeue.receiver import StorageQueueReceiver
from leveler_storagequeue.sender import LONGEST_HIDDEN_SECONDS, StorageQueueSender
from leveler_storagequeue.service import Service

#: In whole seconds.
_SHORTEST_LEASE_SECONDS: Final = 1.0
#: Of one verb: each is a request, and all of them must be over within the deadline.
_MOST_ITEMS: Final = 256
#: What one look shows, and one purge takes at once.
_MOST_SEEN: Final = 32


class StorageQueueAdapter(Adapter):
    """Queues of one account: ``azurequeue://ACCOUNT.queue.core.windows.net`` with Entra ID, ``ACCOUNT:KEY@`` before it
    with the account's key."""

    schemes: ClassVar[tuple[str, ...]] = ("azurequeue",)
    options: ClassVar[type[StorageQueueOptions]] = StorageQueueOptions
    loggers: ClassVar[tuple[str, ...]] = ("azure",)

    def __init__(self, url: str, options: StorageQueueOptions, *, clock: Clock, deadline_seconds: float) -> None:
        super().__init__(url, options, clock=clock, deadline_seconds=deadline_seconds)
        self._settings = options
        self._account = account_of(url, options)
        self._opened: Service | None = None

    async def __aenter__(self) -> Self:
        service = Service(self._account, self.deadline_seconds, self._settings.connections)
        try:
            await service.open()
            await service.ask(service.look(), str(self._account))
        except BaseException:
            await service.close()
            raise
        self._opened = service
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            service, self._opened = self._opened, None
            await service.close()

    async def declare(self, queue: QueueSpec) -> Capabilities:
        self._refuse(queue)
        service = self._service()
        for name in (queue.name, queue.dead_name):
            if queue.declare == "create":
                await service.ask(_created(service, name), name)
            elif queue.declare == "verify":
                await service.ask(service.queue(name).get_queue_properties(), name)
        return self._capabilities()

    async def drop(self, queue: QueueSpec) -> None:
        service = self._service()
        for name in (queue.name, queue.dead_name):
            await service.ask(_dropped(service, name), name)

    def sender(self, queue: QueueSpec) -> StorageQueueSender:
        return StorageQueueSender(queue, self._service(), self.clock)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> StorageQueueReceiver:
        return StorageQueueReceiver(
            queue,
            self._service(),
            self.clock,
            capacity=capacity,
            looking=Looking(self._settings.poll_seconds),
            base64_of_others=self._settings.encoding == "base64",
            dead=dead,
        )

    async def depth(self, queue: QueueSpec) -> Depth:
        """Exactly what is ready where that is less than one look shows; else all that there is, hidden or not: the
        service counts no better."""
        total = await self._count(queue.name)
        seen = await self._seen(queue.name, _MOST_SEEN)
        ready = len(seen) if len(seen) < _MOST_SEEN else max(total, len(seen))
        ages = [(self.clock.now() - self._ready_at(raw)).total_seconds() for raw in seen]
        return Depth(ready, None, None, await self._count(queue.dead_name), max([0.0, *ages]))

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        """The service shows the first 32 and no others. To see more dead letters they are taken, and given back."""
        if dead and limit > _MOST_SEEN:
            return await self._taken(queue, limit)
        name = queue.dead_name if dead else queue.name
        return [self._read(raw) for raw in await self._seen(name, min(limit, _MOST_SEEN))]

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        """What is delayed or leased stays: clearing the queue would take what somebody is working on."""
        receiver = self.receiver(queue, capacity=_MOST_SEEN, dead=dead)
        removed = 0
        try:
            while deliveries := await receiver.receive(_MOST_SEEN, 0.0):
                await receiver.complete(deliveries)
                removed += len(deliveries)
        finally:
            await receiver.close()
        return removed

    async def _count(self, name: str) -> int:
        service = self._service()
        properties = await service.ask(service.queue(name).get_queue_properties(), name)
        return properties.approximate_message_count or 0

    async def _taken(self, queue: QueueSpec, limit: int) -> list[Message]:
        """Up to `limit` dead letters, whose deliveries nobody counts; they are back when this returns."""
        receiver = self.receiver(queue, capacity=limit, dead=True)
        taken: list[Delivery] = []
        try:
            while len(taken) < limit and (came := await receiver.receive(limit - len(taken), 0.0)):
                taken += came
        finally:
            await receiver.abandon([Abandon(delivery, counted=False) for delivery in taken])
            await receiver.close()
        return [delivery.message for delivery in taken]

    async def _seen(self, name: str, most: int) -> list[QueueMessage]:
        service = self._service()
        return await service.ask(service.queue(name).peek_messages(most), name) if most > 0 else []

    def _read(self, raw: QueueMessage) -> Message:
        message, _ = read(
            raw.content,
            received_at=raw.inserted_on or self.clock.now(),
            native_id=raw.id,
            dequeue_count=raw.dequeue_count or 0,
            base64_of_others=self._settings.encoding == "base64",
        )
        return message

    def _ready_at(self, raw: QueueMessage) -> datetime:
        inserted, not_before = raw.inserted_on or self.clock.now(), self._read(raw).not_before
        return inserted if not_before is None else max(inserted, not_before)

    def _service(self) -> Service:
        if self._opened is None:
            raise NotStarted(f"{self!r} is not open: use it inside 'async with'")
        return self._opened

    def _refuse(self, queue: QueueSpec) -> None:
        if not _SHORTEST_LEASE_SECONDS <= queue.lease_seconds <= LONGEST_HIDDEN_SECONDS:
            raise ConfigError(
                f"queue {queue.name!r}: lease is {queue.lease_seconds:g} s, and Storage Queue keeps those of "
                f"{_SHORTEST_LEASE_SECONDS:g} to {LONGEST_HIDDEN_SECONDS} s"
            )
        wanted = {"ordered": queue.ordered, "dedup": queue.dedup_seconds > 0, "max_depth": queue.max_depth is not None}
        for setting, is_set in wanted.items():
            if is_set:
                raise ConfigError(
                    f"queue {queue.name!r}: {setting} is set, and Storage Queue has no such thing: unset it, or use "
                    "another broker for this queue, such as Service Bus"
                )

    def _capabilities(self) -> Capabilities:
        plain = "messages cross the network as they are (insecure=true to another host)"
        return Capabilities(
            scope="network",
            durable=True,
            max_message_bytes=MOST_BYTES - RESERVE_BYTES,
            max_batch=_MOST_ITEMS,
            max_delay_seconds=LONGEST_HIDDEN_SECONDS,
            max_abandon_seconds=LONGEST_HIDDEN_SECONDS,
            lease="timed",
            lease_range_seconds=(_SHORTEST_LEASE_SECONDS, LONGEST_HIDDEN_SECONDS),
            uncounted="native",
            attempts="approximate",  # an answer that got lost has counted all that was in it
            depth="approximate",
            concurrent_verbs=True,
            degraded=(plain,) if self._account.is_plain_to_another_host else (),
        )


async def _created(service: Service, name: str) -> None:
    try:
        await service.queue(name).create_queue()
    except ResourceExistsError as error:
        if getattr(error, "error_code", "") != "QueueAlreadyExists":
            raise


async def _dropped(service: Service, name: str) -> None:
    try:
        await service.queue(name).delete_queue()
    except ResourceNotFoundError:
        return
