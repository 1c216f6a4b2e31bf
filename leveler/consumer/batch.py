"""Batch: deliveries that one handler run takes together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, cast

from leveler.consumer.held import LEASE_LOST, RUNNING, Context, Held
from leveler.message import Message
from leveler.outcome import BatchFailed, Completed, Failed, Outcome

_DONE: Final = Completed()


class Batch:
    """What one worker carries for a handler that takes many at once.

    The run is cut short for all or for nobody: at its timeout, at a stop, and when the leases of all are lost. If only
    some are lost it goes on for the others, and what it did to the lost ones is settled by nobody.

    Args:
        batch: what the worker has taken. What need not run, or must not, is taken out of it.
    """

    def __init__(self, batch: list[Held]) -> None:
        self.batch = batch
        #: The worker.
        self.task = cast("asyncio.Task[object]", asyncio.current_task())
        #: It waits until it may start again; see `Runs.admit`.
        self.kept = False
        self._is_running = False
        self._is_cancelled = False

    @property
    def carries(self) -> bool:
        """Whether something follows for it."""
        return not (self.lost or self.kept)

    @property
    def runs(self) -> int:
        """Messages whose handler runs."""
        return len(self.batch) if self._is_running else 0

    @property
    def lost(self) -> bool:
        """Whether all leases are."""
        return all(held.lost for held in self.batch)

    @property
    def value(self) -> list[Any]:
        """What the handler is called with."""
        return [held.value for held in self.batch]

    @property
    def cut(self) -> str | None:
        """Why the run is cut short for all."""
        if self.lost:
            return LEASE_LOST
        return next((held.cut for held in self.batch if held.cut not in (None, LEASE_LOST)), None)

    def start(self, now: float) -> None:
        """From now on each of them runs, and may be cut short."""
        self._is_running = True
        for held in self.batch:
            held.state = RUNNING
            held.waits(now, self)

    def end(self) -> None:
        """The handler has returned."""
        self._is_running = False

    def cancel(self) -> None:
        """One of them is to be cut short."""
        if self.cut is not None and not self._is_cancelled:
            self._is_cancelled = True
            self.task.cancel()


class BatchContext(Context):
    """What a batch handler may know about its run besides the values."""

    __slots__ = ("items",)

    def __init__(self, batch: Batch, queue: str, state: Any) -> None:
        super().__init__(cast(Held, batch), queue, state)
        #: Of each message, in the order of the values.
        self.items: Sequence[Context] = [Context(held, queue, state) for held in batch.batch]

    @property
    def message(self) -> Message:
        self._has_none("message")

    @property
    def attempt(self) -> int:
        self._has_none("attempt")

    @property
    def headers(self) -> Mapping[str, str]:
        self._has_none("headers")

    def _has_none(self, what: str) -> NoReturn:
        raise AttributeError(f"a batch has no {what} of its own: look at ctx.items, one for each message")


def each(outcome: Outcome, batch: Sequence[Held]) -> list[Outcome]:
    """What a run's outcome means for each of its messages."""
    if not isinstance(outcome, BatchFailed):
        return [outcome] * len(batch)
    strange = [index for index in outcome.outcomes if index not in range(len(batch))]
    if strange:  # then nobody knows what is done: all of it is tried again
        wrong = IndexError(f"BatchFailed speaks of item {strange[0]!r}, and the batch has {len(batch)}")
        wrong.__cause__ = outcome
        return [Failed(wrong)] * len(batch)
    return [_outcome(outcome.outcomes.get(index, _DONE)) for index in range(len(batch))]


def _outcome(of_one: object) -> Outcome:
    if isinstance(of_one, Outcome):
        return of_one
    wrong = TypeError(f"BatchFailed says {of_one!r} of a message: expected an outcome or another exception")
    return Failed(of_one if isinstance(of_one, BaseException) else wrong)
