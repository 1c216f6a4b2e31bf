"""Rig: what a case gets in its hands. An adapter, a fresh queue, and words for what a test does with them."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, TypeVar

from leveler.adapter import Abandon, Adapter, Capabilities, DeadLetter, Delivery, QueueSpec, Receiver, Sender
from leveler.errors import BatchError, LevelerError
from leveler.message import Death, Message
from leveler.testing.contract.case import Gated, Need
from leveler.testing.contract.pace import Pace
from leveler.testing.contract.target import Target

Item = TypeVar("Item")

#: How long one `receive` waits: the core's own never waits longer than 5 s.
_WAIT_SECONDS: Final = 1.0

#: Between two receives that answered at once with nothing.
_PAUSE_SECONDS: Final = 0.05


class Rig:
    """An adapter under test with one declared queue, all closed and dropped when the case is over."""

    adapter: Adapter
    #: The queue that was declared last; every verb here is about it unless told otherwise.
    queue: QueueSpec
    #: What `declare` said about `queue`.
    can: Capabilities

    def __init__(self, target: Target) -> None:
        self.target = target
        self.clock = target.clock()
        self.pace = Pace(self.clock)
        self._exit = AsyncExitStack()

    async def connect(self) -> None:
        """The first connection: everything else is made with it."""
        self.adapter = await self._exit.enter_async_context(self.target.adapter(self.clock))

    async def stop(self) -> None:
        """Close and drop everything, the newest first."""
        await self._exit.aclose()

    def need(self, need: Need) -> None:
        """Leave the case, as gated, unless `need` holds."""
        if not need.holds(self):
            raise Gated(need.name)

    # -- queues and connections

    @property
    def lease(self) -> float:
        """The queue's lease, in seconds."""
        return self.queue.lease_seconds

    @property
    def delay(self) -> float:
        """A delay, in seconds, that is well above the broker's lateness and not a burden to wait for."""
        return max(2.0, 2 * self.target.grace_seconds)

    @property
    def patience(self) -> float:
        """How long, in seconds, what should be there at once may take to come."""
        return 2.0 + self.target.grace_seconds

    def spec(self, **fields: Any) -> QueueSpec:
        """A queue that nobody has declared yet, under a name that nobody has used."""
        wanted = {"name": f"contract-{uuid.uuid4().hex[:12]}", "lease_seconds": self.target.lease_seconds}
        return QueueSpec(**{**wanted, **self.target.spec, **fields})

    async def declare(self, **fields: Any) -> QueueSpec:
        """Another queue, which `queue` and `can` are about from now on."""
        queue = self.spec(**fields)
        self.can = await self.adapter.declare(queue)
        self.queue = queue
        self.pace.outside = self.can.scope != "process"
        self._exit.push_async_callback(self.adapter.drop, queue)
        return queue

    async def second(self) -> Adapter:
        """A second connection to the same broker; the same one where a queue cannot leave its process."""
        if self.can.scope == "process":
            return self.adapter
        return await self._exit.enter_async_context(self.target.adapter(self.clock))

    def sender(self, queue: QueueSpec | None = None) -> Sender:
        return self.adapter.sender(queue or self.queue)

    def receiver(
        self,
        *,
        capacity: int = 100,
        dead: bool = False,
        queue: QueueSpec | None = None,
        adapter: Adapter | None = None,
    ) -> Receiver:
        """A receiver that is closed at the end. Some fetch ahead: stop one before expecting others to get its share."""
        receiver = (adapter or self.adapter).receiver(queue or self.queue, capacity=capacity, dead=dead)
        self._exit.push_async_callback(receiver.close)
        return receiver

    # -- time

    async def elapse(self, seconds: float) -> None:
        await self.pace.elapse(seconds)

    def left(self, *deliveries: Delivery) -> float:
        """Seconds until the last of the leases is over. Gated where nothing but the connection ends them."""
        end = max(delivery.leased_until for delivery in deliveries)
        if math.isinf(end):
            raise Gated("a lease that ends")
        return end - self.clock.monotonic()

    async def outlast(self, *deliveries: Delivery) -> None:
        """Let time pass until the leases are over."""
        await self.elapse(self.left(*deliveries) + 0.05)

    def background(self, work: Coroutine[Any, Any, Item]) -> asyncio.Task[Item]:
        """Begin something that goes on while the case does other things."""
        task = asyncio.get_running_loop().create_task(work)
        self._exit.callback(task.cancel)
        return task

    # -- messages on their way in

    def message(self, body: bytes = b'{"hello":"world"}', **attributes: Any) -> Message:
        made = {"id": uuid.uuid4().hex, "time": self.clock.now(), "type": "Contract", "source": "/contract"}
        return Message(**{**made, **attributes}, body=body)

    def messages(self, count: int, **attributes: Any) -> list[Message]:
        return [self.message(**attributes) for _ in range(count)]

    def later(self, seconds: float) -> Message:
        """A message that is not to be delivered before so many seconds from now."""
        return self.message(not_before=self.clock.now() + timedelta(seconds=seconds))

    async def send(self, *messages: Message, queue: QueueSpec | None = None) -> None:
        await self.each(self.sender(queue).send, messages)

    async def fill(self, count: int = 1, **attributes: Any) -> list[Message]:
        """Send so many fresh messages."""
        made = self.messages(count, **attributes)
        await self.send(*made)
        return made

    async def each(self, verb: Callable[[Sequence[Item]], Awaitable[None]], items: Sequence[Item]) -> None:
        """The batch verb for all items, in portions that it takes."""
        most = self.can.max_batch
        for start in range(0, len(items), most):
            await verb(items[start : start + most])

    # -- messages on their way out

    async def receive(self, receiver: Receiver, credit: int, wait_seconds: float = _WAIT_SECONDS) -> list[Delivery]:
        """One `receive`, checked for giving more than it was asked for."""
        came = list(await self.pace.until(receiver.receive(credit, wait_seconds)))
        assert len(came) <= credit, f"{len(came)} deliveries came for a credit of {credit}"
        return came

    async def take(self, receiver: Receiver, count: int = 1, *, within: float | None = None) -> list[Delivery]:
        """Receive until `count` deliveries came; they must come `within` seconds, which is `patience` by default."""
        got: list[Delivery] = []
        limit = self.patience if within is None else within
        end = self.clock.monotonic() + limit
        while len(got) < count:
            left = end - self.clock.monotonic()
            got += await self._receive_or_pause(receiver, min(count - len(got), self.can.max_batch), max(0.0, left))
            assert left > 0 or len(got) == count, f"{len(got)} of {count} deliveries came within {limit:.3g} s"
        return got

    async def nothing(self, receiver: Receiver, for_seconds: float = 0.5) -> None:
        """No delivery comes, however long one asks, `for_seconds`."""
        end = self.clock.monotonic() + for_seconds
        left = for_seconds
        while left > 0:
            came = await self._receive_or_pause(receiver, 1, left)
            left = end - self.clock.monotonic()
            # What comes after that on a busy machine may be right.
            assert not came or left < 0, f"{came[0]} came {left:.3g} s too early, or should never come"

    async def hidden(self, for_seconds: float = 0.5, *, dead: bool = False) -> None:
        """Nobody else gets anything `for_seconds` from now; whoever asked leaves again."""
        end = self.clock.monotonic() + for_seconds
        somebody = self.receiver(adapter=await self.second(), dead=dead)
        await self.nothing(somebody, end - self.clock.monotonic())  # a busy machine takes its time to come so far
        await somebody.close()

    async def leased(self, count: int = 1, **attributes: Any) -> tuple[Receiver, list[Delivery]]:
        """Send and take so many messages. The receiver's flow is stopped: whatever comes back is for others."""
        await self.fill(count, **attributes)
        receiver = self.receiver()
        deliveries = await self.take(receiver, count)
        await receiver.hold(0)
        return receiver, deliveries

    async def drain(self, receiver: Receiver, count: int = 1, *, within: float | None = None) -> list[Message]:
        """Take and complete one after another, as a consumer does that has one worker; the messages as they came."""
        done: list[Message] = []
        while len(done) < count:
            [delivery] = await self.take(receiver, within=within)
            await receiver.complete([delivery])
            done.append(delivery.message)
        return done

    async def _receive_or_pause(self, receiver: Receiver, credit: int, left: float) -> list[Delivery]:
        before = self.clock.monotonic()
        came = await self.receive(receiver, credit, min(left, _WAIT_SECONDS))
        if not came and self.clock.monotonic() - before < _PAUSE_SECONDS:
            await self.elapse(min(left, _PAUSE_SECONDS))
        return came

    # -- dead letters

    def death(self, reason: str = "rejected", **fields: Any) -> Death:
        return Death(reason=reason, queue=self.queue.name, **fields)

    async def dead(self, count: int = 1, **attributes: Any) -> list[Message]:
        """So many dead letters, as their messages were when they were sent."""
        receiver, deliveries = await self.leased(count, **attributes)
        await self.each(receiver.dead_letter, [DeadLetter(delivery, self.death()) for delivery in deliveries])
        return [delivery.message for delivery in deliveries]

    # -- checks

    def check_attempt(self, delivery: Delivery, expected: int) -> None:
        """Exactly the attempt; where the broker may over-count, no less."""
        found = delivery.attempt
        right = found == expected if self.can.attempts == "exact" else found >= expected
        assert right, f"attempt {found} where {expected} is due ({self.can.attempts} attempts are claimed)"

    async def eventually(self, check: Callable[[], Awaitable[object]]) -> None:
        """The check passes, now or within `patience`."""
        end = self.clock.monotonic() + self.patience
        while True:
            try:
                await check()
                return
            except AssertionError:
                if self.clock.monotonic() >= end:
                    raise
            await self.elapse(0.25)

    async def depth_is(self, **expected: int) -> None:
        """`depth` says so: at once where it is claimed exact, else in the end. Fields that are None are not known."""

        async def check() -> None:
            depth = await self.adapter.depth(self.queue)
            assert depth.ready is not None, "a depth is claimed, so it must at least know what is ready"
            known = {name: value for name in expected if (value := getattr(depth, name)) is not None}
            wanted = {name: expected[name] for name in known}
            assert known == wanted, f"{depth} where {wanted} is due"

        await (check() if self.can.depth == "exact" else self.eventually(check))


async def errors_of(
    verb: Callable[[Sequence[Item]], Awaitable[None]], items: Sequence[Item]
) -> dict[int, LevelerError]:
    """What a batch verb had against each item. A plain error means each of them, for this reason."""
    failed: dict[int, LevelerError] = {}
    try:
        await verb(items)
    except BatchError as error:
        failed = error.failed
    except LevelerError as error:
        failed = dict.fromkeys(range(len(items)), error)
    assert set(failed) <= set(range(len(items))), f"errors for {sorted(failed)} of a batch of {len(items)}"
    return dict(sorted(failed.items()))


def again(deliveries: Iterable[Delivery], *, delay_seconds: float = 0.0, counted: bool = True) -> list[Abandon]:
    """The same `Abandon` for each."""
    return [Abandon(delivery, delay_seconds, counted) for delivery in deliveries]


def ids(items: Iterable[Message | Delivery]) -> list[str]:
    """Sorted, so that two lists can be compared where order is not promised."""
    return sorted((item.message if isinstance(item, Delivery) else item).id for item in items)
