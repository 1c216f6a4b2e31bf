"""Settlement: decision -> exactly one settlement, in batches. The only caller of the settle verbs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from leveler.adapter import Abandon, Capabilities, DeadLetter, Delivery, Receiver
from leveler.clock import Clock
from leveler.consumer.held import ARRIVED, SETTLING, Held
from leveler.errors import BatchError, BrokerError, LeaseLost, LevelerError, ReceiverLost
from leveler.patience import ended, resolve

_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 2.0

#: A bare delivery is completed.
Settled = Delivery | Abandon | DeadLetter


#: Calls of each verb that makes copies, under way at once where the broker bears several; completions have the rest.
_COPYING_AT_ONCE: Final = 4


class Call(NamedTuple):
    """One call of a verb."""

    receiver: Receiver
    batch: list[Held]


class Sorted(NamedTuple):
    """What can be done now with what is to be settled."""

    calls: list[Call]
    lost: list[Held]
    #: A verb for them is under way.
    busy: list[Held]


class Lane:
    """What one verb has to do."""

    __slots__ = ("pending", "verb", "verbs", "wanted")

    def __init__(self, verb: str, verbs: asyncio.Semaphore) -> None:
        self.verb = verb
        self.verbs = verbs
        self.pending: list[Held] = []
        self.wanted = asyncio.Event()

    def take(self) -> list[Held]:
        pending, self.pending = self.pending, []
        return pending


class Settlement:
    """Takes decisions and carries each out once.

    What comes together goes in one batch: while a batch is under way the next one gathers, so a slow broker gets
    large batches and an idle one gets each settlement at once; nothing ever waits for company. Nor for another verb:
    a copy that a broker is slow to take must not keep what is done from being completed while its lease lasts.

    A settlement that the broker does not take is tried again for as long as the lease lasts: every delivery ends in
    exactly one verb, or is lost and said to be.

    Args:
        can: the largest batch.
        clock: time.
        verbs: as many verbs as the broker bears at once, shared with the leases.
        on_settled: told of what the broker took.
        on_lost: told of each one whose lease has ended first, even if that was known.
        on_failed: told of each one that the broker refused this time, and why.
    """

    def __init__(
        self,
        can: Capabilities,
        clock: Clock,
        verbs: asyncio.Semaphore,
        *,
        on_settled: Callable[[Sequence[Held]], object],
        on_lost: Callable[[Held], object],
        on_failed: Callable[[Held, str, LevelerError], object],
    ) -> None:
        self._can = can
        self._clock = clock
        self._on_settled = on_settled
        self._on_lost = on_lost
        self._on_failed = on_failed
        beside = can.concurrent_verbs
        self._completions = Lane("complete", verbs)
        self._marks: dict[Held, asyncio.Future[None]] = {}
        # By the decision; of what is to be marked only, there is none yet.
        self._lanes: dict[type, Lane] = {
            Delivery: self._completions,
            Abandon: Lane("abandon", asyncio.Semaphore(_COPYING_AT_ONCE) if beside else verbs),
            DeadLetter: Lane("dead_letter", asyncio.Semaphore(_COPYING_AT_ONCE) if beside else verbs),
            type(None): Lane("mark_solo", verbs),
        }
        # Pending again when the extension of their lease has ended.
        self._busy: list[Held] = []
        # Not pending and not settled either: under way, busy, or to be tried again.
        self._out = 0
        self._flushing = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def complete(self, held: Held) -> None:
        """Complete it, soon. Returns at once."""
        held.state = SETTLING
        held.decision = held.delivery
        lane = self._completions
        if not lane.pending:
            self._wake(lane)
        lane.pending.append(held)

    def settle(self, held: Held, decision: Settled) -> None:
        """Carry `decision` out, soon. Returns at once."""
        held.state = SETTLING
        held.decision = decision
        self._line_up((held,))

    async def mark_solo(self, held: Held) -> None:
        """Have it written down that it starts alone. It is lost if its lease has ended before that was done."""
        held.state = SETTLING
        marked = self._marks[held] = asyncio.get_running_loop().create_future()
        self._line_up((held,))
        await marked

    async def settled(self) -> None:
        """Wait until everything given so far is settled or lost."""
        await self._empty.wait()

    def look_again(self) -> None:
        """An extension has ended: what waited for it may be settled."""
        busy, self._busy = self._busy, []
        self._requeue(busy)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What settles, until `finish`; each is asleep while there is nothing to settle."""
        return [self._run(lane) for lane in self._lanes.values()]

    async def finish(self, seconds: float) -> None:
        """Settle what there is, for so long, and nothing after. No verb is under way in the end."""
        for event in (self._empty, self._idle):
            waiting = asyncio.ensure_future(event.wait())
            await ended((waiting,), self._clock, seconds)
            waiting.cancel()
            self._closed = True

    async def _run(self, lane: Lane) -> None:
        while True:
            await lane.wanted.wait()
            lane.wanted.clear()
            if not self._closed:
                self._begin_flush()
                await self._flush(lane)
                self._end_flush()

    async def _flush(self, lane: Lane) -> None:
        pending = lane.take()
        self._out += len(pending)
        calls, lost, busy = sort(pending, self._clock.monotonic(), self._can.max_batch)
        self._busy += busy
        for held in lost:
            self._lost(held)
        if len(calls) == 1:
            self._try_again(await self._apply(lane, *calls[0]))
        elif calls:
            failed = await asyncio.gather(*(self._apply(lane, *call) for call in calls))
            self._try_again([held for again in failed for held in again])

    async def _apply(self, lane: Lane, receiver: Receiver, batch: list[Held]) -> list[Held]:
        """Call the verb. Those that the broker did not take and that may be tried again."""
        async with lane.verbs:
            items = [held.decision or held.delivery for held in batch]
            failed = await _failures(getattr(receiver, lane.verb), items)
        if not failed:
            self._took(batch)
            return []
        self._took([held for index, held in enumerate(batch) if index not in failed])
        refused = [(held, failed[index]) for index, held in enumerate(batch) if index in failed]
        return [held for held, error in refused if self._may_try_again(held, lane.verb, error)]

    def _may_try_again(self, held: Held, verb: str, error: LevelerError) -> bool:
        if isinstance(error, LeaseLost | ReceiverLost):
            self._lost(held)
            return False
        self._on_failed(held, verb, error)
        return True

    def _try_again(self, refused: list[Held]) -> None:
        if refused:
            wait = max(held.retry_seconds or _FIRST_RETRY_SECONDS for held in refused)
            for held in refused:
                held.retry_seconds = min(wait * 2, _LAST_RETRY_SECONDS)
            self._clock.call_later(wait, lambda: self._requeue(refused))

    def _requeue(self, again: Sequence[Held]) -> None:
        self._out -= len(again)
        self._line_up(again)

    def _line_up(self, some: Sequence[Held]) -> None:
        for held in some:
            lane = self._lanes[type(held.decision)]
            if not lane.pending:
                self._wake(lane)
            lane.pending.append(held)

    def _wake(self, lane: Lane) -> None:
        self._empty.clear()
        lane.wanted.set()

    def _begin_flush(self) -> None:
        self._flushing += 1
        self._idle.clear()

    def _end_flush(self) -> None:
        self._flushing -= 1
        if not self._flushing:
            self._idle.set()

    def _took(self, taken: list[Held]) -> None:
        self._done(len(taken))
        if self._marks:
            taken = [held for held in taken if not self._marked(held)]
        if taken:
            self._on_settled(taken)

    def _marked(self, held: Held) -> bool:
        """Whether it was not settled, but only marked."""
        if (marked := self._marks.pop(held, None)) is None:
            return False
        held.state, held.retry_seconds = ARRIVED, 0.0
        resolve(marked)
        return True

    def _lost(self, held: Held) -> None:
        self._done(1)
        self._on_lost(held)
        if (marked := self._marks.pop(held, None)) is not None:
            resolve(marked)

    def _done(self, count: int) -> None:
        self._out -= count
        if not self._out and not any(lane.pending for lane in self._lanes.values()):
            self._empty.set()


def sort(pending: Sequence[Held], now: float, max_batch: int) -> Sorted:
    """By receiver, in order, no batch above `max_batch`; pure."""
    groups: dict[Receiver, list[Held]] = {}
    lost: list[Held] = []
    busy: list[Held] = []
    batch: list[Held] = []
    receiver: Receiver | None = None
    for held in pending:
        if held.lost or held.delivery.leased_until <= now:
            lost.append(held)
        elif held.extending:  # no delivery ever has two verbs at once
            busy.append(held)
        else:
            if held.receiver is not receiver:
                receiver = held.receiver
                batch = groups.setdefault(receiver, [])
            batch.append(held)
    calls = [
        Call(of, group[start : start + max_batch])
        for of, group in groups.items()
        for start in range(0, len(group), max_batch)
    ]
    return Sorted(calls, lost, busy)


async def _failures(verb: Callable[[Sequence[Any]], Awaitable[None]], items: list[Any]) -> dict[int, LevelerError]:
    """Call `verb`; the error of each item that failed."""
    try:
        await verb(items)
    except BatchError as error:
        return error.failed
    except LevelerError as error:
        return dict.fromkeys(range(len(items)), error)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return dict.fromkeys(range(len(items)), _broken(error))  # a client library's own, from a lost connection
    except Exception as error:  # a bug in the adapter must not end the settlement of everything else
        return dict.fromkeys(range(len(items)), _broken(error))
    return {}


def _broken(error: BaseException) -> BrokerError:
    broken = BrokerError(f"the adapter failed with {type(error).__name__}: {error}")
    broken.__cause__ = error
    return broken
