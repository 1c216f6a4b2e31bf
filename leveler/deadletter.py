"""Dead letters: browse them, replay them, purge them. What one carries is `leveler.message.Death`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from leveler.adapter import Abandon, Adapter, Delivery, QueueSpec, Receiver
from leveler.clock import Clock
from leveler.consumer.limits import Rate
from leveler.message import Message

#: Dead letters that one pass holds at most; those that it does not want stay leased until it ends, so that it does
#: not meet them again.
_CAPACITY: Final = 10_000
#: A dead letter is there or it is not: a pass ends when none has come for so long.
_PATIENCE_SECONDS: Final = 1.0

Wanted = Callable[[Message], bool]


@dataclass
class Replayed:
    """What one replay did."""

    #: Sent back to the queue, and gone from the dead letters.
    replayed: list[str] = field(default_factory=list[str])
    #: Not wanted, and left.
    left: int = 0


class DeadLetters:
    """The dead letters of one queue.

    Args:
        adapter: where the queue is.
        spec: the queue.
        clock: time.
    """

    def __init__(self, adapter: Adapter, spec: QueueSpec, clock: Clock) -> None:
        self._adapter = adapter
        self._spec = spec
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

        Each copy is accepted before its dead letter is removed: a fault in between leaves both, never neither.
        One that dies again meanwhile is left, so that this ends.

        Args:
            wanted: which; all of them by default.
            limit: replay no more than so many.
            per_second: replay no faster, so that what broke the downstream once does not break it again.
        """
        sender, done = self._adapter.sender(self._spec), Replayed()
        lives: set[tuple[str, int]] = set()
        rate = Rate(per_second) if per_second else None
        async with _Pass(self._adapter, self._spec, self._clock) as one_pass:
            async for delivery in one_pass.deliveries():
                again = (delivery.message.id, delivery.message.replays) in lives  # it died again while we are here
                if again or (limit is not None and len(done.replayed) >= limit) or not wanted(delivery.message):
                    done.left += 1
                    one_pass.leave(delivery)
                    continue
                if rate is not None:
                    await self._wait(rate)
                await sender.send([delivery.message.replayed(self._clock.now())])
                lives.add((delivery.message.id, delivery.message.replays + 1))
                await one_pass.complete(delivery)
                done.replayed.append(delivery.message.id)
        return done

    async def remove(self, wanted: Wanted) -> int:
        """Remove those that are `wanted`, for good; how many."""
        removed = 0
        async with _Pass(self._adapter, self._spec, self._clock) as one_pass:
            async for delivery in one_pass.deliveries():
                if wanted(delivery.message):
                    await one_pass.complete(delivery)
                    removed += 1
                else:
                    one_pass.leave(delivery)
        return removed

    async def _wait(self, rate: Rate) -> None:
        now = self._clock.monotonic()
        if (wait := rate.wait(now)) > 0:
            await self._clock.sleep(wait)
        rate.start(self._clock.monotonic(), 1)


class _Pass:
    """One pass through the dead letters: each is met once, and what is left goes back at the end."""

    def __init__(self, adapter: Adapter, spec: QueueSpec, clock: Clock) -> None:
        self._receiver: Receiver = adapter.receiver(spec, capacity=_CAPACITY, dead=True)
        self._lease_seconds = spec.lease_seconds
        self._clock = clock
        self._left: list[Delivery] = []
        self._waiting: list[Delivery] = []

    async def __aenter__(self) -> _Pass:
        await self._receiver.hold(_CAPACITY)
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if unsettled := self._left + self._waiting:
                await self._receiver.abandon([Abandon(delivery, 0.0, counted=False) for delivery in unsettled])
        finally:
            await self._receiver.close()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        met: set[str] = set()
        while len(self._left) < _CAPACITY:
            self._waiting = list(await self._receiver.receive(100, _PATIENCE_SECONDS))
            if not self._waiting:
                return
            while self._waiting:
                await self._renew()
                delivery = self._waiting.pop(0)
                if delivery.message.dedup_key in met:  # its lease ended, and it came again: the round is complete
                    self._left.append(delivery)
                    return
                met.add(delivery.message.dedup_key)
                yield delivery

    def leave(self, delivery: Delivery) -> None:
        self._left.append(delivery)

    async def complete(self, delivery: Delivery) -> None:
        await self._receiver.complete([delivery])

    async def _renew(self) -> None:
        """A slow replay must not lose what it holds."""
        due = self._clock.monotonic() + self._lease_seconds / 2
        aging = [delivery for delivery in self._left + self._waiting if delivery.leased_until < due]
        if aging:
            await self._receiver.extend(aging)
