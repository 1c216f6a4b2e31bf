"""FaultyAdapter: a real adapter behind a bad network, for tests of what must survive one.

faults = FaultPlan()
adapter = FaultyAdapter(inner, faults)

faults.fail("complete", BrokerUnavailable("gone"), times=2)          # the request is lost: nothing was done
faults.fail("send", SendUnknown("no answer"), after=True)            # the answer is lost: it was done
faults.fail("receive", ReceiverLost("connection reset"), nth=3)      # the receiver and its deliveries are gone
faults.fail_items("send", {1: MessageTooLarge("too large")})         # the others are sent
faults.delay("extend", 5.0)
stuck = faults.hang("complete")
await stuck.reached()
stuck.release()
assert faults.calls == [("receive", 10), ("complete", 3)]
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, TypeVar, get_args

from leveler.adapter import Abandon, Adapter, Capabilities, DeadLetter, Delivery, Depth, QueueSpec, Receiver, Sender
from leveler.clock import Clock
from leveler.errors import BatchError, LevelerError, ReceiverLost
from leveler.message import Message
from leveler.schedule import Ask, Stretch

Item = TypeVar("Item")

#: Whatever an adapter, a sender or a receiver does over the network.
Verb: TypeAlias = Literal[
    "connect", "declare", "drop", "depth", "peek", "purge", "reserve",
    "send", "hold", "receive", "complete", "abandon", "dead_letter", "extend", "mark_solo", "close",
]  # fmt: skip


class Call(NamedTuple):
    """One call of a verb, however it ended. Compares equal to the plain tuple."""

    verb: Verb
    #: How many items it had; the credit of a receive, the limit of a hold, 0 where there is nothing to count.
    items: int


class Gate:
    """Where a call hangs until it is let go."""

    def __init__(self) -> None:
        self._reached, self._released = asyncio.Event(), asyncio.Event()

    async def reached(self) -> None:
        """Return when a call hangs here."""
        await self._reached.wait()

    def release(self) -> None:
        """Let go what hangs here, and stop nothing any more."""
        self._released.set()

    async def hang(self) -> None:
        self._reached.set()
        await self._released.wait()


@dataclass(frozen=True, kw_only=True)
class _Fault:
    after: bool = False
    delay_seconds: float = 0.0
    gate: Gate | None = None
    error: Exception | None = None
    items: Mapping[int, LevelerError] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        return self.error is not None or bool(self.items)

    async def strike(self, clock: Clock) -> None:
        if self.delay_seconds:
            await clock.sleep(self.delay_seconds)
        if self.gate is not None:
            await self.gate.hang()
        if self.error is not None:
            raise self.error.with_traceback(None)


@dataclass
class _Rule:
    fault: _Fault
    #: Calls to let through first.
    skip: int
    #: Calls to strike then; None = all.
    left: int | None


class FaultPlan:
    """What goes wrong, and a record of what was called.

    Every fault waits for the `nth` call of its verb from now on and strikes `times` calls in a row, None = until
    `clear`. ``after=False``: the request is lost, the adapter never sees it. ``after=True``: it is done and only the
    answer is lost. One call fails once: where two errors are due, the second strikes the next call.
    """

    def __init__(self) -> None:
        #: Every call so far, in order.
        self.calls: list[Call] = []
        self._rules: dict[Verb, list[_Rule]] = {}

    def fail(self, verb: Verb, error: Exception, *, nth: int = 1, times: int | None = 1, after: bool = False) -> None:
        """Raise `error`. A `ReceiverLost` loses the receiver for good: its deliveries go back as after a crash."""
        self._add(verb, _Fault(error=error, after=after), nth, times)

    @contextmanager
    def failing(self, verb: Verb, error: Exception, *, after: bool = False) -> Iterator[None]:
        """Inside the ``with``, every call fails."""
        rule = self._add(verb, _Fault(error=error, after=after), 1, None)
        try:
            yield
        finally:
            self._rules[verb] = [other for other in self._rules[verb] if other is not rule]

    def fail_items(
        self,
        verb: Verb,
        errors: Mapping[int, LevelerError],
        *,
        nth: int = 1,
        times: int | None = 1,
        after: bool = False,
    ) -> None:
        """Fail these items of the batch, by index, with one `BatchError`; the others succeed."""
        self._add(verb, _Fault(items=dict(errors), after=after), nth, times)

    def delay(self, verb: Verb, seconds: float, *, nth: int = 1, times: int | None = 1, after: bool = False) -> None:
        """Let `seconds` pass on the adapter's clock before the call, or between the call and its answer."""
        self._add(verb, _Fault(delay_seconds=seconds, after=after), nth, times)

    def hang(self, verb: Verb, *, nth: int = 1, times: int | None = 1, after: bool = False) -> Gate:
        """Hold the call until the gate is released."""
        gate = Gate()
        self._add(verb, _Fault(gate=gate, after=after), nth, times)
        return gate

    def clear(self, *verbs: Verb) -> None:
        """Forget the faults of `verbs`, or all: the network is well again. What hangs goes on hanging."""
        for verb in verbs or list(self._rules):
            self._rules.pop(verb, None)

    def sizes(self, verb: Verb) -> list[int]:
        """The number of items of each call of `verb` so far."""
        return [call.items for call in self.calls if call.verb == verb]

    @asynccontextmanager
    async def call(self, verb: Verb, items: int, clock: Clock) -> AsyncIterator[list[_Fault]]:
        """One call of `verb`, done inside the ``with``. Gives the faults of single items."""
        self.calls.append(Call(verb, items))
        faults = self._due(verb)
        for fault in faults:
            if not fault.after:
                await fault.strike(clock)
        yield [fault for fault in faults if fault.items]
        for fault in faults:
            if fault.after:
                await fault.strike(clock)

    def _add(self, verb: Verb, fault: _Fault, nth: int, times: int | None) -> _Rule:
        if verb not in get_args(Verb):
            raise ValueError(f"no verb is called {verb!r}: use one of {', '.join(get_args(Verb))}")
        if nth < 1 or (times is not None and times < 1):
            raise ValueError(f"nth={nth}, times={times}: both count from 1")
        rule = _Rule(fault, nth - 1, times)
        self._rules.setdefault(verb, []).append(rule)
        return rule

    def _due(self, verb: Verb) -> list[_Fault]:
        due: list[_Fault] = []
        for rule in self._rules.get(verb, ()):
            if rule.skip:
                rule.skip -= 1
            elif rule.left != 0 and not (rule.fault.fails and any(fault.fails for fault in due)):
                due.append(rule.fault)
                rule.left = None if rule.left is None else rule.left - 1
        return due


class FaultyAdapter(Adapter):
    """`inner`, seen through a `FaultPlan`. Without faults it is `inner` with a record of its calls.

    Args:
        inner: not entered; entering this one enters it.
        faults: what goes wrong. May be changed at any time.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[type[Any]] = object
    keeps_rates: ClassVar[bool] = True  # as far as `inner` does

    def __init__(self, inner: Adapter, faults: FaultPlan) -> None:
        super().__init__(inner.url, inner.settings, clock=inner.clock, deadline_seconds=inner.deadline_seconds)
        self.inner = inner
        self.faults = faults
        self._receivers: list[_FaultyReceiver] = []

    async def __aenter__(self) -> Self:
        async with self.faults.call("connect", 0, self.clock):
            await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.inner.__aexit__(*exc)

    async def declare(self, queue: QueueSpec) -> Capabilities:
        async with self.faults.call("declare", 0, self.clock):
            return await self.inner.declare(queue)

    async def drop(self, queue: QueueSpec) -> None:
        async with self.faults.call("drop", 0, self.clock):
            await self.inner.drop(queue)

    async def depth(self, queue: QueueSpec) -> Depth:
        async with self.faults.call("depth", 0, self.clock):
            return await self.inner.depth(queue)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        async with self.faults.call("peek", limit, self.clock):
            return await self.inner.peek(queue, limit, dead=dead)

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int | None:
        async with self.faults.call("purge", 0, self.clock):
            return await self.inner.purge(queue, dead=dead)

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        async with self.faults.call("reserve", ask.starts, self.clock):
            return await self.inner.reserve(rate, ask)

    def sender(self, queue: QueueSpec) -> Sender:
        return _FaultySender(self.inner.sender(queue), self.faults, self.clock)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        receiver = _FaultyReceiver(self.inner.receiver(queue, capacity=capacity, dead=dead), self.faults, self.clock)
        self._receivers.append(receiver)
        return receiver

    async def lose_receivers(self) -> None:
        """Cut every connection now: from here on each verb of each receiver so far raises `ReceiverLost`."""
        receivers, self._receivers = self._receivers, []
        for receiver in receivers:
            await receiver.lose()

    def deafen_receivers(self) -> None:
        """From here on each receiver so far answers in time, and brings nothing, whatever its queue holds."""
        for receiver in self._receivers:
            receiver.deaf = True


class _FaultySender(Sender):
    def __init__(self, inner: Sender, faults: FaultPlan, clock: Clock) -> None:
        self._inner, self._faults, self._clock = inner, faults, clock

    def size(self, message: Message) -> int:
        return self._inner.size(message)

    async def send(self, messages: Sequence[Message]) -> None:
        async with self._faults.call("send", len(messages), self._clock) as faults:
            await _partly(self._inner.send, messages, faults)


class _FaultyReceiver(Receiver):
    def __init__(self, inner: Receiver, faults: FaultPlan, clock: Clock) -> None:
        self._inner, self._faults, self._clock = inner, faults, clock
        self.deaf = False
        self._lost = False
        self._closed = False

    async def hold(self, limit: int) -> None:
        async with self._call("hold", limit):
            await self._inner.hold(limit)

    def bound_bytes(self, most: int) -> None:
        self._inner.bound_bytes(most)

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        async with self._call("receive", credit):
            if self.deaf:
                await self._clock.sleep(wait_seconds)
                return []
            return await self._inner.receive(credit, wait_seconds)

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        async with self._call("complete", len(deliveries)) as faults:
            await _partly(self._inner.complete, deliveries, faults)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        async with self._call("abandon", len(items)) as faults:
            await _partly(self._inner.abandon, items, faults)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        async with self._call("dead_letter", len(items)) as faults:
            await _partly(self._inner.dead_letter, items, faults)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        async with self._call("extend", len(deliveries)) as faults:
            await _partly(self._inner.extend, deliveries, faults)

    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        async with self._call("mark_solo", len(deliveries)) as faults:
            await _partly(self._inner.mark_solo, deliveries, faults)

    async def close(self) -> None:
        async with self._faults.call("close", 0, self._clock):
            await self._close()

    async def lose(self) -> None:
        self._lost = True
        await self._close()

    async def _close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._inner.close()

    @asynccontextmanager
    async def _call(self, verb: Verb, items: int) -> AsyncIterator[list[_Fault]]:
        try:
            async with self._faults.call(verb, items, self._clock) as faults:
                self._check()
                yield faults
            self._check()  # it may have been lost meanwhile: then nobody hears the answer
        except ReceiverLost:
            await self.lose()
            raise

    def _check(self) -> None:
        if self._lost:
            raise ReceiverLost("the test has cut this receiver's connection: make a new one")


async def _partly(
    verb: Callable[[Sequence[Item]], Awaitable[None]], items: Sequence[Item], faults: Sequence[_Fault]
) -> None:
    """`verb` for `items`, but for those that a fault takes out before; then all that failed, by index."""
    before = {index: error for fault in faults if not fault.after for index, error in fault.items.items()}
    failed = {index: error for fault in faults for index, error in fault.items.items() if index < len(items)}
    sent = [index for index in range(len(items)) if index not in before]
    try:
        if sent or not items:
            await verb([items[index] for index in sent])
    except BatchError as error:
        failed |= {sent[index]: problem for index, problem in error.failed.items()}
    if failed:
        raise BatchError(failed)
