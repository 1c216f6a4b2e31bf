"""Settlement: decision -> exactly one settlement, in batches. The only caller of the settle verbs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from leveler.adapter import Abandon, Capabilities, DeadLetter, Delivery, Receiver
from leveler.clock import Clock
from leveler.consumer.held import SETTLING, Held
from leveler.errors import BatchError, BrokerError, LeaseLost, LevelerError, ReceiverLost
from leveler.patience import ended

_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 2.0

#: A bare delivery is completed.
Settled = Delivery | Abandon | DeadLetter


class Item(NamedTuple):
    """One delivery and what is to become of it."""

    held: Held
    decision: Settled
    #: How long to wait if the broker does not take it this time.
    retry_seconds: float = _FIRST_RETRY_SECONDS


class Settlement:
    """Takes decisions and carries each out once.

    What comes together goes in one batch: while a batch is under way the next one gathers, so a slow broker gets
    large batches and an idle one gets each settlement at once; nothing ever waits for company.

    A settlement that the broker does not take is tried again for as long as the lease lasts: every delivery ends in
    exactly one verb, or is lost and said to be.

    Args:
        can: the largest batch.
        clock: time.
        verbs: as many verbs as the broker bears at once, shared with the leases.
        on_settled: told of each item that the broker took.
        on_lost: told of each item whose lease has ended first, even if that was known.
        on_failed: told of each item that the broker refused this time, and why.
    """

    def __init__(
        self,
        can: Capabilities,
        clock: Clock,
        verbs: asyncio.Semaphore,
        *,
        on_settled: Callable[[Held, Settled], object],
        on_lost: Callable[[Held], object],
        on_failed: Callable[[Held, str, LevelerError], object],
    ) -> None:
        self._can = can
        self._clock = clock
        self._on_settled = on_settled
        self._on_lost = on_lost
        self._on_failed = on_failed
        self._pending: list[Item] = []
        self._unsettled = 0
        self._wanted = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._idle = asyncio.Event()
        self._verbs = verbs
        self._closed = False

    def settle(self, held: Held, decision: Settled) -> None:
        """Carry `decision` out, soon. Returns at once."""
        held.state = SETTLING
        self._pending.append(Item(held, decision))
        self._unsettled += 1
        if self._unsettled == 1:
            self._empty.clear()
        self._wanted.set()

    async def settled(self) -> None:
        """Wait until everything given so far is settled or lost."""
        await self._empty.wait()

    def look_again(self) -> None:
        """An extension has ended: what waited for it may be settled."""
        if self._pending:
            self._wanted.set()

    async def run(self) -> None:
        """Settle, until `finish`. Asleep while there is nothing to settle."""
        while True:
            self._idle.set()
            await self._wanted.wait()
            self._wanted.clear()
            if self._closed:
                continue
            self._idle.clear()
            items, self._pending = self._pending, []
            if any(item.held.extending for item in items):  # no delivery ever has two verbs at once
                self._pending = [item for item in items if item.held.extending]
                items = [item for item in items if not item.held.extending]
            await self._flush(items)

    async def finish(self, seconds: float) -> None:
        """Settle what there is, for so long, and nothing after. No verb is under way in the end."""
        for event in (self._empty, self._idle):
            waiting = asyncio.ensure_future(event.wait())
            await ended((waiting,), self._clock, seconds)
            waiting.cancel()
            self._closed = True

    async def _flush(self, items: list[Item]) -> None:
        now = self._clock.monotonic()
        due: list[Item] = []
        for item in items:
            if item.held.lost or item.held.delivery.leased_until <= now:
                self._lost(item)
            else:
                due.append(item)
        calls = [self._apply(receiver, verb, batch) for receiver, verb, batch in self._batches(due)]
        if len(calls) == 1:
            self._try_again(await calls[0])
        elif calls:
            self._try_again([item for again in await asyncio.gather(*calls) for item in again])

    def _batches(self, items: list[Item]) -> list[tuple[Receiver, str, list[Item]]]:
        """Items by receiver and verb, in order, no batch above the broker's."""
        groups: dict[tuple[Receiver, str], list[Item]] = {}
        for item in items:
            groups.setdefault((item.held.receiver, _verb(item.decision)), []).append(item)
        size = self._can.max_batch
        return [
            (receiver, verb, group[start : start + size])
            for (receiver, verb), group in groups.items()
            for start in range(0, len(group), size)
        ]

    async def _apply(self, receiver: Receiver, verb: str, batch: list[Item]) -> list[Item]:
        """Call the verb. Those that the broker did not take and that may be tried again."""
        async with self._verbs:
            failed = await _failures(getattr(receiver, verb), [item.decision for item in batch])
        again: list[Item] = []
        for index, item in enumerate(batch):
            error = failed.get(index) if failed else None
            if error is None:
                self._done()
                self._on_settled(item.held, item.decision)
            elif isinstance(error, LeaseLost | ReceiverLost):
                self._lost(item)
            else:
                self._on_failed(item.held, verb, error)
                again.append(item)
        return again

    def _try_again(self, items: list[Item]) -> None:
        if items:
            wait = max(item.retry_seconds for item in items)
            later = min(wait * 2, _LAST_RETRY_SECONDS)
            self._clock.call_later(wait, lambda: self._requeue([item._replace(retry_seconds=later) for item in items]))

    def _requeue(self, items: list[Item]) -> None:
        self._pending.extend(items)
        self._wanted.set()

    def _lost(self, item: Item) -> None:
        self._done()
        self._on_lost(item.held)

    def _done(self) -> None:
        self._unsettled -= 1
        if not self._unsettled:
            self._empty.set()


def _verb(decision: Settled) -> str:
    if isinstance(decision, Delivery):
        return "complete"
    return "abandon" if isinstance(decision, Abandon) else "dead_letter"


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
