"""Witness: an adapter that changes nothing and tells an eye what passes. One stands on either side of the network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from leveler.adapter import Abandon, Adapter, Capabilities, DeadLetter, Delivery, Depth, QueueSpec, Receiver, Sender
from leveler.errors import BatchError
from leveler.message import Message
from leveler.schedule import Ask, Stretch

T = TypeVar("T")

#: The error of each item that failed; or of the call.
Failures = Mapping[int, BaseException]
Item = Delivery | Abandon | DeadLetter


class Seen(Protocol):
    """A receiver that is watched."""

    queue: str


class Eye(Protocol):
    """Whoever is told."""

    def sends(self) -> None: ...

    def sent(self, messages: Sequence[Message], failed: Failures) -> None: ...

    def refused(self, receiver: Seen, verb: str, error: BaseException) -> None: ...

    def receives(self, receiver: Seen) -> None: ...

    def received(self, receiver: Seen, deliveries: Sequence[Delivery], error: BaseException | None) -> None: ...

    def settles(self, receiver: Seen, verb: str, items: Sequence[Item]) -> None: ...

    def settled(self, receiver: Seen, verb: str, items: Sequence[Item], failed: Failures) -> None: ...

    def closes(self, receiver: Seen) -> None: ...

    def reserves(self, ask: Ask) -> int: ...

    def reserved(self, number: int, ask: Ask, stretch: Stretch | None) -> None: ...


class Witness(Adapter):
    """`inner`, seen by `eye`. Entering it does not enter `inner`: many processes share one broker."""

    schemes: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[type[Any]] = object
    keeps_rates: ClassVar[bool] = True  # all simulated brokers do

    def __init__(self, inner: Adapter, eye: Eye) -> None:
        super().__init__(inner.url, inner.settings, clock=inner.clock, deadline_seconds=inner.deadline_seconds)
        self._inner, self._eye = inner, eye

    async def declare(self, queue: QueueSpec) -> Capabilities:
        return await self._inner.declare(queue)

    async def drop(self, queue: QueueSpec) -> None:
        await self._inner.drop(queue)

    async def depth(self, queue: QueueSpec) -> Depth:
        return await self._inner.depth(queue)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        return await self._inner.peek(queue, limit, dead=dead)

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int | None:
        return await self._inner.purge(queue, dead=dead)

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        number = self._eye.reserves(ask)
        try:
            stretch = await self._inner.reserve(rate, ask)
        except BaseException:
            self._eye.reserved(number, ask, None)
            raise
        self._eye.reserved(number, ask, stretch)
        return stretch

    def sender(self, queue: QueueSpec) -> Sender:
        return _Sender(self._inner.sender(queue), self._eye)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        return _Receiver(self._inner.receiver(queue, capacity=capacity, dead=dead), self._eye, queue.name)


class _Sender(Sender):
    def __init__(self, inner: Sender, eye: Eye) -> None:
        self._inner, self._eye = inner, eye

    def size(self, message: Message) -> int:
        return self._inner.size(message)

    async def send(self, messages: Sequence[Message]) -> None:
        self._eye.sends()
        await _told(self._inner.send, messages, lambda failed: self._eye.sent(messages, failed))


class _Receiver(Receiver):
    def __init__(self, inner: Receiver, eye: Eye, queue: str) -> None:
        self._inner, self._eye = inner, eye
        self.queue = queue

    async def hold(self, limit: int) -> None:
        try:
            await self._inner.hold(limit)
        except BaseException as error:
            self._eye.refused(self, "hold", error)
            raise

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        self._eye.receives(self)
        try:
            deliveries = await self._inner.receive(credit, wait_seconds)
        except BaseException as error:
            self._eye.received(self, (), error)
            raise
        self._eye.received(self, deliveries, None)
        return deliveries

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle("complete", self._inner.complete, deliveries)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self._settle("abandon", self._inner.abandon, items)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await self._settle("dead_letter", self._inner.dead_letter, items)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle("extend", self._inner.extend, deliveries)

    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle("mark_solo", self._inner.mark_solo, deliveries)

    async def close(self) -> None:
        self._eye.closes(self)
        await self._inner.close()

    async def _settle(self, verb: str, call: Callable[[Any], Awaitable[None]], items: Sequence[Any]) -> None:
        self._eye.settles(self, verb, items)
        await _told(call, items, lambda failed: self._eye.settled(self, verb, items, failed))


async def _told(call: Callable[[Any], Awaitable[None]], items: Sequence[Any], tell: Callable[[Failures], None]) -> None:
    try:
        await call(items)
    except BatchError as error:
        tell(error.failed)
        raise
    except BaseException as error:
        tell(dict.fromkeys(range(len(items)), error))
        raise
    tell({})
