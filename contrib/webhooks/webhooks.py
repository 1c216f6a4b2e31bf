"""Webhooks as deliveries: any source that calls a URL, and calls again unless the answer is 2xx.

The first delivery of a message is its request, and the answer waits for the handler: 200 once it is done. What the
handler does not finish is kept in a store, any other broker of leveler's, before the request is answered: from there
come its retries, with their delays and their count, and there its dead letters are. So the source has to try again only
when we are not there, or have no room (429).

    store = find("sqlite:///inbox.db", clock=SystemClock(), deadline_seconds=10)
    app = Leveler(WebhookAdapter(store, "127.0.0.1:8080"))

    @app.consumer("orders")                      # POST http://127.0.0.1:8080/orders
    async def handle(order: Order) -> None: ...

CloudEvents are read in binary mode (``ce-`` headers) and in structured mode (``application/cloudevents+json``);
anything else is a message whose body is the request's.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Final, NamedTuple, Self, TypeVar

from leveler_cloudtasks.headers import message_of
from leveler_cloudtasks.push import Arrived, Desks, Endpoint, Exchange, Guard, PushReceiver, Server
from leveler_cloudtasks.verification import OpenGuard

from leveler.adapter import Abandon, Adapter, Capabilities, DeadLetter, Delivery, Depth, QueueSpec, Receiver, Sender
from leveler.clock import Clock
from leveler.errors import BatchError, ConfigError
from leveler.message import Message

Item = TypeVar("Item", Delivery, Abandon, DeadLetter)

#: What sources send as the name of an event, the same when they send it again.
_ID_HEADERS: Final = ("webhook-id", "x-github-delivery", "x-request-id", "idempotency-key")
#: Between two looks into the store while nothing comes.
_LOOK_SECONDS: Final = 0.5
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class BearerGuard:
    """Lets in who knows a secret: ``Authorization: Bearer SECRET``."""

    def __init__(self, secret: str) -> None:
        self._expected = f"Bearer {secret}".encode()

    async def check(self, headers: Mapping[str, str]) -> int:
        given = headers.get("authorization", "").encode("latin-1", "replace")
        return 0 if hmac.compare_digest(given, self._expected) else 401


@dataclass(frozen=True)
class WebhookOptions:
    """None: it is constructed by hand."""


class WebhookAdapter(Adapter):
    """
    Args:
        store: keeps what is retried, and what is dead; also what is sent from here.
        listen: host:port; None = mount `endpoint` in a web application.
        guard: who may call; None = everybody, on the loopback address.
        source_waits_seconds: how long the source waits for an answer. A queue's lease must not be longer.
        max_body_bytes: of a request.
    """

    schemes: ClassVar[tuple[str, ...]] = ("webhook",)
    options: ClassVar[type[Any]] = WebhookOptions

    def __init__(
        self,
        store: Adapter,
        listen: str | None = None,
        *,
        guard: Guard | None = None,
        source_waits_seconds: float = 30.0,
        max_body_bytes: int = 1024 * 1024,
    ) -> None:
        super().__init__("webhook://", WebhookOptions(), clock=store.clock, deadline_seconds=store.deadline_seconds)
        self._store = store
        self._waits = source_waits_seconds
        host, _, port = (listen or "").rpartition(":")
        if listen and guard is None and host.strip("[]") not in _LOOPBACK:
            raise ConfigError(f"{listen} can be reached by others: give a guard, or listen on 127.0.0.1")
        self.endpoint = Endpoint(guard or OpenGuard(), self._read, max_body_bytes=max_body_bytes, clock=self.clock)
        self._server = Server(host.strip("[]"), int(port), self.endpoint) if listen else None

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await self._server.stop()
        await self._store.__aexit__(kind, error, trace)

    async def declare(self, queue: QueueSpec) -> Capabilities:
        if queue.lease_seconds > self._waits:
            raise ConfigError(
                f"queue {queue.name!r}: lease is {queue.lease_seconds:g} s, but the source waits for {self._waits:g} s"
            )
        if queue.ordered:
            raise ConfigError(f"queue {queue.name!r}: ordered is set, but a source keeps to no order")
        can = await self._store.declare(queue)
        lease = queue.lease_seconds
        return replace(can, push=True, extend=False, max_lease_seconds=lease, concurrent_verbs=False, ordering=False)

    async def drop(self, queue: QueueSpec) -> None:
        await self._store.drop(queue)

    def sender(self, queue: QueueSpec) -> Sender:
        return self._store.sender(queue)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        stored = partial(self._store.receiver, queue, capacity=capacity, dead=dead)
        if dead:
            return stored()
        sender = self._store.sender(queue)
        return WebhookReceiver(queue, stored, sender, self._opened, capacity=capacity, clock=self.clock)

    async def depth(self, queue: QueueSpec) -> Depth:
        return await self._store.depth(queue)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        return await self._store.peek(queue, limit, dead=dead)

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int | None:
        return await self._store.purge(queue, dead=dead)

    async def _opened(self) -> Desks:
        if self._server is not None:
            await self._server.start()
        return self.endpoint.desks

    def _read(self, headers: Mapping[str, str], body: bytes) -> Arrived:
        origin = next((headers[name] for name in _ID_HEADERS if name in headers), "")
        message = message_of(headers, body, received_at=self.clock.now(), native_id=origin)
        return Arrived(message, message.attempts + 1, origin, None)


class Dying(NamedTuple):
    """On its way to the dead letters."""

    item: DeadLetter
    done: asyncio.Future[None]


class WebhookReceiver(PushReceiver):
    """Takes requests, and what is due in the store.

    Args:
        queue: which.
        stored_receiver: makes a receiver of the store.
        sender: puts into the store.
        open_desks: makes sure that the endpoint is there.
        capacity: the most that it may hold.
        clock: time.
    """

    def __init__(
        self,
        queue: QueueSpec,
        stored_receiver: Callable[[], Receiver],
        sender: Sender,
        open_desks: Callable[[], Awaitable[Desks]],
        *,
        capacity: int,
        clock: Clock,
    ) -> None:
        super().__init__(queue.name, queue.lease_seconds, capacity=capacity, clock=clock)
        self._stored_receiver = stored_receiver
        self._stored = stored_receiver()
        self._sender = sender
        self.opened = open_desks  # type: ignore[method-assign]
        self._from_store: set[int] = set()
        #: By the id of their message: a source may send one twice at the same moment.
        self._dying: dict[str, list[Dying]] = {}

    def room(self) -> int:
        return max(0, super().room() - len(self._from_store))

    async def hold(self, limit: int) -> None:
        await super().hold(limit)
        await self._stored.hold(limit)

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        end = self._clock.monotonic() + wait_seconds
        while True:
            came = [one for one in await self._look(credit) if not await self._buried(self._stored, one)]
            self._from_store |= {id(one) for one in came}
            left = end - self._clock.monotonic()
            wait = 0.0 if came else min(max(0.0, left), _LOOK_SECONDS)
            got = [*came, *await super().receive(credit - len(came), wait)] if credit > len(came) else list(came)
            if got or left <= 0 or self._stopped:
                return got

    async def _look(self, credit: int) -> Sequence[Delivery]:
        """What is due in the store."""
        return await self._stored.receive(min(credit, self.room()), 0.0) if self.room() else ()

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self._split(deliveries, lambda one: one, super().complete, self._stored.complete)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self._split(items, lambda one: one.delivery, super().abandon, self._stored.abandon)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await self._split(items, lambda one: one.delivery, super().dead_letter, self._stored.dead_letter)

    async def close(self) -> None:
        await super().close()
        await self._stored.close()

    # -- what a request that is not done becomes

    async def copied(self, item: Abandon) -> bool:
        """Refusals go back to the source; what counts, and what must wait, goes into the store."""
        if not item.counted and item.delay_seconds <= 0:
            return False
        await self._sender.send([item.copy(self._clock.now())])
        return True

    async def buried(self, item: DeadLetter) -> None:
        """Into the store, and dead there. A crash in between leaves it in the store, to be tried once more."""
        message = item.delivery.message.copy(attempts=item.delivery.attempt - 1, not_before=None, failed_at=None)
        dead = Dying(item, asyncio.get_running_loop().create_future())
        self._dying.setdefault(message.id, []).append(dead)
        undertaker = self._stored_receiver()
        try:
            await self._sender.send([message])
            while not dead.done.done():  # our other receiver may meet it first
                for delivery in await undertaker.receive(1, _LOOK_SECONDS):
                    if not await self._buried(undertaker, delivery):
                        await undertaker.abandon([Abandon(delivery, counted=False)])
        finally:
            self._forget(message.id, dead)
            await undertaker.close()

    async def _buried(self, receiver: Receiver, delivery: Delivery) -> bool:
        """Bury what has come out of the store, if it is there for that."""
        name = delivery.message.id
        if not (waiting := self._dying.get(name)):
            return False
        dead = waiting[0]
        self._forget(name, dead)  # each has one delivery to bury, and nobody else buries for it meanwhile
        try:
            await receiver.dead_letter([DeadLetter(delivery, dead.item.death)])
        except BaseException:
            self._dying.setdefault(name, []).append(dead)
            raise
        dead.done.set_result(None)
        return True

    def _forget(self, name: str, dead: Dying) -> None:
        waiting = [one for one in self._dying.pop(name, ()) if one is not dead]
        if waiting:
            self._dying[name] = waiting

    async def resend(self, message: Message) -> None:
        await self._sender.send([message])

    async def _split(
        self,
        items: Sequence[Item],
        delivery_of: Callable[[Item], Delivery],
        push: Callable[[Sequence[Item]], Awaitable[None]],
        store: Callable[[Sequence[Item]], Awaitable[None]],
    ) -> None:
        """Each to where it came from; errors by their place in the whole batch."""
        places: dict[bool, list[int]] = {True: [], False: []}
        for place, item in enumerate(items):
            places[isinstance(delivery_of(item).receipt, Exchange)].append(place)
        failed = {}
        for verb, own in ((push, places[True]), (store, places[False])):
            try:
                if own:
                    await verb([items[place] for place in own])
            except BatchError as error:
                failed.update({own[index]: one for index, one in error.failed.items()})
        self._from_store -= {id(delivery_of(items[place])) for place in places[False]}
        if failed:
            raise BatchError(failed)
