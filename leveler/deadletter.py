"""Dead letters: browse them, replay them, purge them. What one carries is `leveler.message.Death`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from leveler.adapter import Abandon, Adapter, Capabilities, Delivery, QueueSpec
from leveler.clock import Clock
from leveler.consumer.limits import Rate
from leveler.errors import BatchError, MessageError
from leveler.events import log
from leveler.message import Message

#: Dead letters that one pass holds at most; those that it does not want stay leased until it ends, so that it does
#: not meet them again.
_CAPACITY: Final = 10_000
#: How many to ask for at once.
_BATCH: Final = 100
#: A dead letter is there or it is not: a pass ends when none has come for so long.
_PATIENCE_SECONDS: Final = 1.0

Wanted = Callable[[Message], bool]


@dataclass
class Replayed:
    """What one replay did."""

    #: Sent back to the queue, and gone from the dead letters.
    replayed: list[str] = field(default_factory=list[str])
    #: Not wanted, or not to be sent again, and left.
    left: int = 0


class DeadLetters:
    """The dead letters of one queue.

    Args:
        adapter: where the queue is.
        spec: the queue.
        can: what its broker can do.
        clock: time.
    """

    def __init__(self, adapter: Adapter, spec: QueueSpec, can: Capabilities, clock: Clock) -> None:
        self._adapter = adapter
        self._spec = spec
        self._can = can
        self._clock = clock

    async def browse(self, limit: int = 100) -> Sequence[Message]:
        """Up to `limit` dead letters, the oldest first, each with its `Message.death`. Nothing changes by looking."""
        return await self._adapter.peek(self._spec, limit, dead=True)

    async def purge(self) -> int | None:
        """Remove all of them, for good; how many there were, where the broker says it."""
        return await self._adapter.purge(self._spec, dead=True)

    async def replay(
        self, wanted: Wanted = lambda message: True, *, limit: int | None = None, per_second: float | None = None
    ) -> Replayed:
        """Send dead letters back to their queue, to be tried from the start.

        Each copy is accepted before its dead letter is removed: a fault in between leaves both, never neither. What
        dies again meanwhile is left, and so is, with a line in the log, what the queue does not take from us: a
        message that others have sent, as large as there are any.

        Args:
            wanted: which; all of them by default.
            limit: replay no more than so many.
            per_second: replay no faster, so that what broke the downstream once does not break it again.
        """
        sender, done = self._adapter.sender(self._spec), Replayed()
        rate = Rate(per_second) if per_second is not None else None
        async with self._pass(slow=rate is not None) as one_pass, aclosing(one_pass.deliveries()) as deliveries:
            while limit is None or len(done.replayed) < limit:
                if (delivery := await anext(deliveries, None)) is None:
                    break
                if not wanted(delivery.message):
                    done.left += 1
                    continue
                if rate is not None:
                    await one_pass.sleep(rate.wait(self._clock.monotonic()))
                    rate.start(self._clock.monotonic(), 1)
                try:
                    await sender.send([delivery.message.replayed(self._clock.now())])
                except BatchError as error:
                    if not isinstance(error.failed[0], MessageError):
                        raise
                    log.warning("dead letter %s cannot be replayed: %s", delivery.message.id, error.failed[0])
                    done.left += 1
                    continue
                done.replayed.append(delivery.message.id)
                await one_pass.complete(delivery)
        return done

    async def remove(self, wanted: Wanted) -> int:
        """Remove those that are `wanted`, for good; how many."""
        removed = 0
        async with self._pass() as one_pass, aclosing(one_pass.deliveries()) as deliveries:
            async for delivery in deliveries:
                if wanted(delivery.message):
                    await one_pass.complete(delivery)
                    removed += 1
        return removed

    def _pass(self, *, slow: bool = False) -> _Pass:
        return _Pass(self._adapter, self._spec, self._can, self._clock, batch=1 if slow else _BATCH)


class _Pass:
    """One pass through the dead letters: each is met once, and what is not completed goes back at the end."""

    def __init__(self, adapter: Adapter, spec: QueueSpec, can: Capabilities, clock: Clock, *, batch: int) -> None:
        self._receiver = adapter.receiver(spec, capacity=_CAPACITY, dead=True)
        self._lease_seconds = spec.lease_seconds
        self._can = can
        self._clock = clock
        self._batch = batch
        self._held: dict[Delivery, None] = {}

    async def __aenter__(self) -> _Pass:
        try:
            await self._receiver.hold(_CAPACITY)
        except BaseException:
            await self._receiver.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            for part in self._parts(list(self._held)):
                await _tolerant(self._receiver.abandon([Abandon(delivery, 0.0, counted=False) for delivery in part]))
        finally:
            await self._receiver.close()

    async def deliveries(self) -> AsyncGenerator[Delivery, None]:
        """Each dead letter once, by its id: one that comes again, because its lease has ended or because it has died
        again, is held and not shown."""
        met: set[str] = set()
        again = 0
        while len(self._held) < _CAPACITY and again <= 2 * len(met) + _BATCH:
            received = await self._receiver.receive(self._batch, _PATIENCE_SECONDS)
            if not received:
                return
            self._held.update(dict.fromkeys(received))
            for delivery in received:
                await self._renew()
                if delivery.message.id in met:
                    again += 1
                elif delivery in self._held:
                    met.add(delivery.message.id)
                    yield delivery

    async def complete(self, delivery: Delivery) -> None:
        await self._receiver.complete([delivery])
        del self._held[delivery]

    async def sleep(self, seconds: float) -> None:
        """Wait, and lose nothing of what is held."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, self._lease_seconds / 4))
            await self._renew()

    async def _renew(self) -> None:
        """Keep what would soon be lost. What is lost already, somebody else may have: it is no longer ours."""
        now = self._clock.monotonic()
        self._held = {delivery: None for delivery in self._held if delivery.leased_until > now}
        due = [delivery for delivery in self._held if delivery.leased_until < now + self._lease_seconds / 2]
        if self._can.extend:
            for part in self._parts(due):
                await _tolerant(self._receiver.extend(part))

    def _parts(self, deliveries: list[Delivery]) -> list[list[Delivery]]:
        size = self._can.max_batch
        return [deliveries[start : start + size] for start in range(0, len(deliveries), size)]


async def _tolerant(verb: Awaitable[None]) -> None:
    """One whose lease is over does not end the pass: it is among the dead letters still."""
    try:
        await verb
    except BatchError as error:
        log.info("some dead letters were not held any more: %s", error)
