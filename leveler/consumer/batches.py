"""Batches: the spine where one handler run takes many messages. Every step is the one that single messages go through.

A batch is one run: it waits for one place, has one timeout, and tells the limits once how it went. Where messages are
counted (a rate) it is charged for all of them. What becomes of each message is decided and settled one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from leveler.adapter import Capabilities, QueueSpec
from leveler.consumer.batch import Batch, each
from leveler.consumer.buffer import Buffer
from leveler.consumer.consumer import Consumer, Surroundings
from leveler.consumer.decision import verdict_on
from leveler.consumer.gathering import Gathering
from leveler.consumer.handler import Handler, Runner, forget_cancellations
from leveler.consumer.held import Held
from leveler.consumer.limits import Limits, Verdict
from leveler.outcome import Outcome
from leveler.settings import QueueSettings


class BatchConsumer(Consumer):
    """Consumes one queue with a handler that takes lists.

    Args:
        spec: as for `Consumer`, like all but the last one.
        settings: its policy.
        can: what its broker can do.
        handlers: the one.
        limits: they say how many messages a run takes.
        workers: most runs at once that the limits will ever allow.
        around: what it shares.
        wait_seconds: how long what has come waits until a batch is whole.
    """

    def __init__(
        self,
        spec: QueueSpec,
        settings: QueueSettings,
        can: Capabilities,
        handlers: Sequence[Handler],
        limits: Limits,
        workers: int,
        around: Surroundings,
        *,
        wait_seconds: float,
    ) -> None:
        self._wait_seconds = wait_seconds
        super().__init__(spec, settings, can, handlers, limits, workers, around)

    def _make_buffer(self, ordered: bool, on_taken: Callable[[], object]) -> Buffer:
        return Gathering(
            ordered=ordered,
            on_taken=on_taken,
            size=self._next_stride,
            wait_seconds=self._wait_seconds,
            clock=self._clock,
        )

    def _next_stride(self) -> int:
        """How many a worker should take now: one looks whether the downstream is back."""
        return self._limits.batch_size if self._limits.down_seconds() is None else 1

    async def _carry(self, batch: list[Held]) -> None:
        """The way of a batch, step by step."""
        run = Batch(batch)
        self._runs.begin(run)
        try:
            if await self._enter(run):
                self._decode_each(run)
                if run.batch:
                    started_at = self._clock.monotonic()
                    outcome = await self._handle_all(run, started_at)
                    self._leave_all(run, outcome, self._clock.monotonic() - started_at)
                else:
                    self._limits.take_back(1)
        finally:
            self._runs.end(run)
        if run.task.cancelling():
            await forget_cancellations(run.task)

    async def _enter(self, run: Batch) -> bool:
        """Wait for one place in the limits, and leave in the batch what may start now. False if that is nothing."""
        first, acquire = run.batch[0], partial(self._limits.acquire, 1)
        at_once = not self._runs.refusing and self._limits.try_acquire(1)
        if not at_once and not await self._runs.admit(first, run, acquire):
            self._returns.give_back(run.batch)
            return False
        if late := self._leases.late(run.batch):
            self._returns.give_back(late)
        run.batch[:] = [held for held in run.batch if not held.lost and held not in late]
        if not run.batch:
            self._limits.take_back(1)
        return bool(run.batch)

    def _decode_each(self, run: Batch) -> None:
        """What cannot be decoded is settled by itself, and the others run."""
        decoded: list[Held] = []
        for held in run.batch:
            outcome = self._decode(held)
            if outcome is None:
                decoded.append(held)
            else:
                self._settle(held, self._decide(held, outcome))
        run.batch[:] = decoded

    def _handle_all(self, run: Batch, now: float) -> Awaitable[Outcome]:
        """Run the handler on all of them."""
        self._limits.charge(len(run.batch) - 1)
        if self._around.observers.present:
            for held in run.batch:
                self.report.started(held)
        run.start(now)
        handler: Runner = run.batch[0].handler
        return handler.run(run)

    def _leave_all(self, run: Batch, outcome: Outcome, seconds: float) -> None:
        """Settle each of them, and tell the limits how the run went."""
        run.end()
        outcomes = each(outcome, run.batch)
        for held, of_one in zip(run.batch, outcomes, strict=True):
            held.value = None
            held.run_seconds = seconds
            self._settle(held, self._decide(held, of_one))
        self.report.ran(len(run.batch), seconds / len(run.batch))
        kept = [of_one for held, of_one in zip(run.batch, outcomes, strict=True) if not held.lost]
        refusals = [refusal for refusal in map(self._rules.refusal, kept) if refusal is not None]
        for refusal in refusals[1:]:
            self._limits.pause(refusal.pause_seconds, refusal.downstream)
        self._limits.release(1, seconds, verdict_on_all(kept), refusals[0] if refusals else None)


def verdict_on_all(outcomes: Sequence[Outcome]) -> Verdict:
    """What a run tells about the downstream: one refusal is one, and where anything was done it works."""
    verdicts = {verdict_on(outcome) for outcome in outcomes}
    heard = (verdict for verdict in (Verdict.OVERLOAD, Verdict.SUCCESS, Verdict.FAILURE) if verdict in verdicts)
    return next(heard, Verdict.NOTHING)
