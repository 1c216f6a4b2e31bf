"""ServiceBusAdapter: one namespace, as seen by one process."""

from __future__ import annotations

import logging
import ssl
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from weakref import WeakSet

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceiveMode, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient

from leveler.adapter import INFINITE, Adapter, Capabilities, Depth, QueueSpec, Receiver
from leveler.clock import Clock
from leveler.errors import AccessDenied, ConfigError, NotStarted, Unsupported
from leveler.holdings import Holdings
from leveler.message import Message
from leveler_servicebus.admin import Admin, Facts
from leveler_servicebus.clocks import Clocks
from leveler_servicebus.envelope import open_up
from leveler_servicebus.links import Link, Settling, Taking, Unread
from leveler_servicebus.options import ServiceBusOptions
from leveler_servicebus.ordered_receiver import OrderedReceiver
from leveler_servicebus.place import place_of
from leveler_servicebus.receipt import Receipt
from leveler_servicebus.receiver import ServiceBusReceiver
from leveler_servicebus.sender import RESERVE_BYTES, ServiceBusSender
from leveler_servicebus.session_link import SessionLink, emptied
from leveler_servicebus.sessions import Sessions

log: Final = logging.getLogger("leveler.servicebus")

#: Of the service. An emulator keeps shorter ones, too, which is good for tests.
_LEASE_SECONDS: Final = (5.0, 300.0)
_SHORTEST_EMULATED_SECONDS: Final = 1.0
_DEDUP_SECONDS: Final = (20.0, 7 * 24 * 3600.0)
#: Of one verb: what is sent together goes into few transfers.
_MOST_ITEMS: Final = 500
#: Each may be of a session of its own, with a connection of its own.
_MOST_ITEMS_IN_ORDER: Final = 100
#: Of one bite of a purge.
_MOST_TAKEN: Final = 250
#: Of the part of the deadline that one call of the library gets: a verb makes two at most.
_PATIENCE: Final = 0.45
_STANDARD_BYTES: Final = 256 * 1024
#: One link ends over each that cannot be read; more in a row are no such messages, but a service that is not well.
_MOST_UNREAD: Final = 100
#: Nothing has come for so long: there is nothing more to purge.
_PURGE_SECONDS: Final = 0.5
#: A delay in an ordered queue keeps its session, and with it a connection of this process.
_LONGEST_REST_SECONDS: Final = 900.0


class ServiceBusAdapter(Adapter):
    """Queues of one namespace: ``servicebus://NAMESPACE.servicebus.windows.net`` with Entra ID, ``POLICY:KEY@`` before
    it with a shared access policy."""

    schemes: ClassVar[tuple[str, ...]] = ("servicebus",)
    options: ClassVar[type[ServiceBusOptions]] = ServiceBusOptions
    loggers: ClassVar[tuple[str, ...]] = ("azure",)

    def __init__(self, url: str, options: ServiceBusOptions, *, clock: Clock, deadline_seconds: float) -> None:
        super().__init__(url, options, clock=clock, deadline_seconds=deadline_seconds)
        self._settings = options
        self._place = place_of(url, options)
        self._patience = deadline_seconds * _PATIENCE
        self._clocks = Clocks()
        self._facts: dict[str, Facts] = {}
        self._link_bytes: dict[str, int] = {}
        self._senders: dict[str, Link] = {}
        #: What is held of each queue here, which the service counts as waiting.
        self._held: defaultdict[str, WeakSet[Holdings[Receipt]]] = defaultdict(WeakSet)
        #: Of ordered queues. A delay there outlives the receiver that was asked for it.
        self._sessions: list[Sessions] = []
        self._life = AsyncExitStack()
        self._opened: ServiceBusClient | None = None

    async def __aenter__(self) -> Self:
        try:
            credential = None if self._place.connection_string else await self._entra()
            self._admin = Admin(self._place, credential, self.deadline_seconds * 0.9)
            await self._admin.open()
            self._life.push_async_callback(self._admin.close)
            await self._look()
            self._opened = await self._life.enter_async_context(self._client(credential))
        except BaseException:
            await self._life.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened = None
        for sessions in self._sessions:
            await sessions.cut()
        for link in self._senders.values():
            await link.drop()
        await self._life.aclose()

    async def declare(self, queue: QueueSpec) -> Capabilities:
        self._refuse(queue)
        facts = await self._look_at(queue)
        self._facts[queue.name] = facts
        if queue.declare != "skip":
            self._link_bytes[queue.name] = await self._sending(queue).ask(_size_of_batch)
        return self._capabilities(queue, facts)

    async def drop(self, queue: QueueSpec) -> None:
        self._client_or_raise()
        if link := self._senders.pop(queue.name, None):
            await link.drop()
        await self._admin.drop(queue.name)

    def sender(self, queue: QueueSpec) -> ServiceBusSender:
        most = self._link_bytes.get(queue.name, _STANDARD_BYTES)
        return ServiceBusSender(queue, self._sending(queue), self.clock, self._clocks, max_link_bytes=most)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        facts = self._facts.get(queue.name, Facts(lock_seconds=queue.lease_seconds))
        holdings: Holdings[Receipt] = Holdings(capacity)
        if not dead:
            self._held[queue.name].add(holdings)
        if queue.ordered and not dead:
            return OrderedReceiver(queue.name, partial(self._new_sessions, queue, facts), self.clock, holdings)
        place = queue.dead_name if dead else queue.name
        return ServiceBusReceiver(
            queue,
            Taking(partial(self._receiving, queue, dead), place, self._patience),
            Settling(partial(self._receiving, queue, dead), place, self._patience),
            self.sender(queue),
            self.clock,
            clocks=self._clocks,
            holdings=holdings,
            lock_seconds=facts.lock_seconds,
            silence_seconds=self._settings.silence_seconds,
            dead=dead,
        )

    async def depth(self, queue: QueueSpec) -> Depth:
        """The service counts what is locked as waiting: what is known to be held here is taken off."""
        self._client_or_raise()
        counts = await self._admin.counts(queue.name)
        ready = max(0, (counts.active_message_count or 0) - len(self._sequences(queue)))
        return Depth(ready, None, counts.scheduled_message_count, counts.dead_letter_message_count, None)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        """What is locked by others is shown, too: nobody but they can tell. What cannot be read the log tells of."""
        if queue.ordered and not dead:
            raise Unsupported(f"queue {queue.name!r}: nobody can look into all sessions at once")
        link = Settling(partial(self._receiving, queue, dead), queue.name, self._patience)
        held = set() if dead else self._sequences(queue)
        try:
            seen = await link.peek(limit + len(held))
        finally:
            await link.drop()
        waiting = [one for one in seen if one.is_active and one.sequence not in held][:limit]
        for one in waiting:
            if one.raw is None:
                log.warning(_UNREADABLE[dead], "?" if one.sequence is None else one.sequence, queue.name)
        return [open_up(one.raw, self.clock.now()) for one in waiting if one.raw is not None]

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int | None:
        """What is scheduled or locked stays; so do sessions that others have locked. What cannot be read goes, too, and
        what has come with it has not been counted."""
        mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
        if queue.ordered and not dead:
            return await emptied(self._session(queue, mode, _PURGE_SECONDS))
        link = Taking(partial(self._receiving, queue, dead, mode), queue.name, self._patience)
        removed = unread = 0
        try:
            while True:
                try:
                    came = await link.take(_MOST_TAKEN, _PURGE_SECONDS)
                except Unread:
                    unread += 1
                    if unread > _MOST_UNREAD:
                        raise
                    continue
                if not came:
                    return None if unread else removed
                removed += len(came)
        finally:
            await link.drop()

    # -- links

    def _client(self, credential: Any) -> ServiceBusClient:
        options: dict[str, Any] = {"retry_total": 0, "ssl_context": self._tls()}
        if self._place.connection_string:
            return ServiceBusClient.from_connection_string(self._place.connection_string, **options)
        return ServiceBusClient(self._place.host, credential, **options)

    def _tls(self) -> ssl.SSLContext:
        """One for all links: left to itself the client reads all authorities for each, and stops the loop meanwhile."""
        if self._place.insecure:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; it trusts nobody
        context = ssl.create_default_context(cafile=self._settings.tls_ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _client_or_raise(self) -> ServiceBusClient:
        if self._opened is None:
            raise NotStarted(f"{self!r} is not open: use it inside 'async with'")
        return self._opened

    def _sending(self, queue: QueueSpec) -> Link:
        """One for all senders of a queue."""
        if queue.name not in self._senders:
            client = self._client_or_raise()
            make = partial(client.get_queue_sender, queue.name)
            self._senders[queue.name] = Link(make, queue.name, self._patience)
        return self._senders[queue.name]

    def _new_sessions(self, queue: QueueSpec, facts: Facts, changed: Callable[[], object]) -> Sessions:
        self._sessions = [sessions for sessions in self._sessions if not sessions.are_over]
        made = Sessions(
            partial(self._session, queue, ServiceBusReceiveMode.PEEK_LOCK),
            self.clock,
            self._clocks,
            lock_seconds=facts.lock_seconds,
            silence_seconds=self._settings.silence_seconds,
            changed=changed,
        )
        self._sessions.append(made)
        return made

    def _session(self, queue: QueueSpec, mode: ServiceBusReceiveMode, wait_seconds: float) -> SessionLink:
        def make() -> Any:
            return self._client_or_raise().get_queue_receiver(
                queue.name, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=wait_seconds, receive_mode=mode
            )

        return SessionLink(make, queue.name, self._patience, wait_seconds=wait_seconds)

    def _receiving(
        self, queue: QueueSpec, dead: bool, mode: ServiceBusReceiveMode = ServiceBusReceiveMode.PEEK_LOCK
    ) -> Any:
        sub = ServiceBusSubQueue.DEAD_LETTER if dead else None
        return self._client_or_raise().get_queue_receiver(queue.name, sub_queue=sub, receive_mode=mode)

    async def _entra(self) -> Any:
        try:
            from azure.identity.aio import DefaultAzureCredential
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{self._place}: without a policy and its key Entra ID says who we are, and azure-identity is not "
                "installed: pip install 'leveler-mq[servicebus]'"
            ) from error
        return await self._life.enter_async_context(DefaultAzureCredential())

    # -- queues

    async def _look(self) -> None:
        """Whether anybody is there. A key that may only send and listen is good enough."""
        try:
            await self._admin.look()
        except AccessDenied:
            return

    async def _look_at(self, queue: QueueSpec) -> Facts:
        self._client_or_raise()
        assumed = Facts(
            lock_seconds=queue.lease_seconds,
            sessions=queue.ordered,
            dedup_seconds=queue.dedup_seconds,
            degraded=(_BLIND,),
        )
        if queue.declare == "skip":
            return assumed
        try:
            return await self._admin.ensure(queue)
        except AccessDenied:
            return assumed

    def _sequences(self, queue: QueueSpec) -> set[int]:
        """Of what is held here."""
        now = self.clock.monotonic()
        held = (receipt for holdings in self._held[queue.name] for receipt in holdings)
        return {receipt.sequence for receipt in held if receipt.leased_until > now}

    def _refuse(self, queue: QueueSpec) -> None:
        shortest, longest = self._lease_range
        if not shortest <= queue.lease_seconds <= longest:
            raise ConfigError(
                f"queue {queue.name!r}: lease is {queue.lease_seconds:g} s, and Service Bus keeps locks of "
                f"{shortest:g} to {longest:g} s"
            )
        shortest, longest = _DEDUP_SECONDS
        if queue.dedup_seconds and not shortest <= queue.dedup_seconds <= longest:
            raise ConfigError(
                f"queue {queue.name!r}: dedup is {queue.dedup_seconds:g} s, and Service Bus remembers ids for "
                f"{shortest:g} s to {longest:g} s"
            )
        if queue.max_depth is not None:
            raise ConfigError(
                f"queue {queue.name!r}: max_depth is set, and Service Bus bounds a queue by bytes only: unset it"
            )

    @property
    def _lease_range(self) -> tuple[float, float]:
        shortest, longest = _LEASE_SECONDS
        return (_SHORTEST_EMULATED_SECONDS if self._place.insecure else shortest), longest

    def _capabilities(self, queue: QueueSpec, facts: Facts) -> Capabilities:
        plain = "messages cross the network as they are (insecure=true to another host)"
        return Capabilities(
            scope="network",
            durable=True,
            max_message_bytes=self._link_bytes.get(queue.name, _STANDARD_BYTES) - RESERVE_BYTES,
            max_batch=_MOST_ITEMS_IN_ORDER if facts.sessions else _MOST_ITEMS,
            lease="timed",
            lease_range_seconds=self._lease_range,
            max_abandon_seconds=_LONGEST_REST_SECONDS if facts.sessions else INFINITE,
            uncounted="native" if facts.sessions else "copy",
            attempts="approximate",  # what came to a link that was lost has been counted
            ordering=facts.sessions,
            dedup_seconds=facts.dedup_seconds,
            depth="approximate",
            peek=not facts.sessions,
            concurrent_verbs=True,
            degraded=(*facts.degraded, *((plain,) if self._place.is_plain_to_another_host else ())),
        )


_BLIND: Final = (
    "nobody has looked at the queue's settings (the key lacks Manage, or declare is skip): LockDuration, "
    "MaxDeliveryCount and DefaultMessageTimeToLive may be weaker than what leveler promises"
)

#: By whether it is dead: what to do about one that is in nobody's way, but cannot be shown.
_UNREADABLE: Final = {
    True: "dead letter %s of queue %r cannot be read and is not shown: 'leveler dead purge' removes it, with all "
    "others: replay those first",
    False: "message %s of queue %r cannot be read and is not shown: it dies once the service has delivered it "
    "MaxDeliveryCount times",
}


async def _size_of_batch(sender: Any) -> int:
    """What the link takes at once, as the service has said when it was opened."""
    batch = await sender.create_message_batch()
    return int(batch.max_size_in_bytes)
