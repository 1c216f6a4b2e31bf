"""The spine: delivery -> acquire -> decode -> handle -> decide -> settle -> release. `Consumer._carry` is all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from leveler.adapter import Capabilities, QueueSpec, Receiver
from leveler.consumer.arrival import Arrivals
from leveler.consumer.buffer import Buffer
from leveler.consumer.decision import Decision, Park, Rules, decide, sort_out, starts_alone, verdict_on
from leveler.consumer.handler import COMPLETED, Handler, Router, Runner, forget_cancellations
from leveler.consumer.held import RUNNING, SETTLING, STOPPED, Held
from leveler.consumer.intake import Intake, capacity_of
from leveler.consumer.lease import Leases
from leveler.consumer.limits import Limits, Verdict
from leveler.consumer.loops import Loops
from leveler.consumer.parking import Parking
from leveler.consumer.quarantine import Suspects
from leveler.consumer.receiving import Receiving
from leveler.consumer.report import ConsumerHealth, Report
from leveler.consumer.returns import Returns
from leveler.consumer.runs import Runs
from leveler.consumer.series import Series, Stride
from leveler.consumer.settlement import Settlement
from leveler.consumer.standby import Standby
from leveler.consumer.surroundings import Surroundings as Surroundings
from leveler.consumer.threads import Threads
from leveler.consumer.watchdog import Watchdog
from leveler.outcome import Outcome
from leveler.settings import QueueSettings

#: More runs at once than this in one process gain nothing that more processes would not do better.
MOST_WORKERS: Final = 1000
#: Settlement verbs that are under way at once, where the broker bears several.
_VERBS_AT_ONCE: Final = 8
#: How long a cancelled handler may take to end before its delivery is left to its lease.
_CANCEL_SECONDS: Final = 1.0


class Consumer:
    """Consumes one queue in this process.

    Args:
        spec: the queue.
        settings: its policy.
        can: what its broker can do, as `Adapter.declare` said.
        handlers: one for any type, or one a type.
        limits: the gates that its runs pass.
        workers: most runs at once that the limits will ever allow.
        around: what it shares.
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
    ) -> None:
        self.queue = spec.name
        self.report = Report(spec.name, around.observers)
        self._around = around
        self._clock = around.clock
        self._limits = limits
        self._workers = min(workers, MOST_WORKERS)
        self._rules = Rules(queue=spec.name, retry=settings.retry, max_deliveries=settings.most_deliveries, can=can)
        self._threads = Threads(f"leveler-{spec.name}")
        bound = [handler.bind(around.middleware, self._threads.run, spec.name, around.state) for handler in handlers]
        self._decode = Router(bound).prepare
        self._loops = Loops(spec.name, around.clock)
        self._stride = Stride()
        counts = self._rules.counts_returns
        self._runs = Runs(around.clock, keeps=counts)
        #: Ends a drain that is under way now.
        self.hurry = self._runs.hurry
        self._parking = Parking(around.clock, on_time=self._unpark)
        self._buffer = self._make_buffer(spec.ordered, lambda: self._intake.changed())
        self._returns = Returns(
            limits, self._buffer, counts=counts, send=self._send_back, be_careful=lambda s: self._arrivals.be_careful(s)
        )
        verbs = asyncio.Semaphore(_VERBS_AT_ONCE if can.concurrent_verbs else 1)
        self._leases = Leases(
            spec.lease_seconds,
            settings.timeout_seconds,
            can,
            self._clock,
            verbs,
            limits.memory,
            on_lost=self._on_lost,
            on_extended=lambda: self._settlement.look_again(),
            on_stale=self._returns.give_back_unstarted,
            on_stuck=self.report.stuck,
            on_blocked=self.report.blocked,
        )
        self._settlement = Settlement(
            can,
            self._clock,
            verbs,
            on_settled=self._on_settled,
            on_lost=self._leases.lose,
            on_failed=self.report.settlement_failed,
        )
        together = self._workers * limits.batch_size
        capacity = capacity_of(together, limits.memory)
        self._arrivals = Arrivals(
            self._clock,
            together,
            spec.lease_seconds if counts else 0.0,
            keep=self._keep,
            sort=lambda arrived, now: sort_out(arrived, self._rules, now),
            settle=self._settle,
            isolate=lambda held: self._suspects.isolate(held),
            give_back=self._returns.give_back,
            park=self._parking.park,
            refusing=lambda: self._runs.sends_back,
        )
        self._intake = Intake(
            self._clock,
            self._buffer,
            limits,
            held=self._leases.__len__,
            capacity=capacity,
            deadline_seconds=around.adapter.deadline_seconds,
            admit=self._arrivals.admit,
            most=self._arrivals.most,
            watch=Watchdog(around.adapter, spec, can, self._clock).watch,
            on_ready=lambda: self._receiving.healthy(),
            on_unavailable=self.report.unavailable,
        )
        self._receiving = Receiving(
            around.adapter,
            spec,
            capacity,
            self._clock,
            feed=self._intake.run,
            on_ready=self.report.ready,
            on_down=self.report.down,
            on_lost=self._on_receiver_lost,
        )
        self._standby = Standby(
            self._clock,
            limits,
            pause=self._intake.pause,
            resume=self._intake.resume,
            stop=self._intake.stop,
            give_back=self._returns.give_back_uncounted,
            start=self._loops.start,
            on_turned=self.report.standby,
        )
        self._suspects = Suspects(
            around.quarantine,
            is_first=self._buffer.is_first,
            carry=self._carry,
            settled=self._settlement.settled,
            pause=self._intake.pause,
            resume=self._intake.resume,
            start=self._loops.start,
            on_isolated=self.report.quarantined,
        )

    def _make_buffer(self, ordered: bool, on_taken: Callable[[], object]) -> Buffer:
        return Buffer(ordered=ordered, on_taken=on_taken)

    # The spine

    async def _work(self) -> None:
        """One worker. There are as many as runs at once."""
        while batch := await self._buffer.take(self._next_stride):
            many = len(batch) > 1
            await self._carry(batch)
            if many:  # the others have a turn
                await asyncio.sleep(0)
            del batch  # an idle worker remembers nothing

    async def _carry(self, batch: list[Held]) -> None:
        """The way of deliveries, one after another, step by step."""
        series = Series(batch, self._clock, self._stride, on_break=self._leave, on_ran=self._ran_well)
        self._runs.begin(series)
        try:
            if await self._acquire(series):
                for held in series:
                    outcome = self._decode(held)
                    if outcome is None:
                        outcome = await self._handle(held)
                    if outcome is COMPLETED and not held.lost:  # nearly always, so it is kept short
                        self._settlement.complete(held)
                        series.run_ended(held, True)
                    else:
                        self._settle(held, self._decide(held, outcome))
                        self._release(held, outcome, series)
        finally:
            self._runs.end(series)
        if series.task.cancelling():
            await forget_cancellations(series.task)

    # The steps

    async def _acquire(self, series: Series) -> bool:
        """Wait for the limits, and leave in the series what may start now. False if that is nothing."""
        batch = series.batch
        if self._runs.refusing or not self._limits.try_acquire(len(batch)):
            [held] = batch  # where one would have to wait, nobody takes more
            marks = held.solo and self._rules.can.solos == "marked"
            acquire = partial(self._acquire_solo, held) if marks else partial(self._limits.acquire, 1)
            if not await self._runs.admit(held, series, acquire):
                self._returns.give_back(batch)
                return False
        if late := self._leases.late(batch):
            batch[:] = [held for held in batch if held not in late]
            self._limits.take_back(len(late))
            self._returns.give_back(late)
        return bool(batch)

    async def _acquire_solo(self, held: Held) -> bool:
        """For one that starts alone: that is written down when nothing else stands against it any more."""
        if not await self._limits.acquire(1):
            return False
        await self._settlement.mark_solo(held)
        self._limits.take_back(1)  # it starts later than the limits know
        return not (self._runs.closed or held.lost) and await self._limits.acquire(1)

    def _handle(self, held: Held) -> Awaitable[Outcome]:
        """Run the handler."""
        if self._around.observers.present:
            self.report.started(held)
        held.state = RUNNING
        handler: Runner = held.handler
        return handler.run(held)

    def _decide(self, held: Held, outcome: Outcome) -> Decision:
        held.outcome = None if held.lost else outcome
        down = self._limits.down_seconds()
        return decide(outcome, held.delivery, self._rules, self._clock.now(), self._around.rng, down_seconds=down)

    def _settle(self, held: Held, decision: Decision) -> None:
        if held.lost:
            held.state = SETTLING  # not ours any more, and not running either
            return
        if not isinstance(decision, Park):
            self._settlement.settle(held, decision)
        elif self._runs.closed:
            self._returns.give_back([held])
        else:
            self._parking.park(held, decision.delay_seconds)

    def _release(self, held: Held, outcome: Outcome, series: Series) -> None:
        """Let others start, and tell the limits how it went: that may be a reason to let nobody start."""
        if held.handler is None:
            self._limits.take_back(1)
            return
        series.run_ended(held, False)
        self.report.ran(1, held.run_seconds)
        verdict = Verdict.NOTHING if held.lost else verdict_on(outcome)  # its end was the broker's doing
        self._limits.release(1, held.run_seconds, verdict, self._rules.refusal(outcome))

    # Between the steps

    def _next_stride(self) -> int:
        """How many a worker should take now: as many as may follow one another, if the last ones did."""
        stride = self._stride.length
        return max(1, self._limits.series(stride)) if stride > 1 and not self._runs.refusing else 1

    def _leave(self, rest: Sequence[Held]) -> None:
        """A series has broken off: this is for other workers."""
        self._limits.take_back(len(rest))
        leave = self._returns.give_back if self._runs.sends_back else self._buffer.put_first
        leave([held for held in rest if held.state < RUNNING and not held.lost])

    def _ran_well(self, runs: int, seconds: float) -> None:
        self.report.ran(runs, seconds)
        self._limits.release(runs, seconds, Verdict.SUCCESS)

    # What comes in

    def _keep(self, arrived: Sequence[Held]) -> None:
        self.report.tally.received += len(arrived)
        self._leases.keep(arrived)
        self._buffer.line_up(arrived)

    def _unpark(self, held: Held) -> bool:
        """Its time has come. False if it cannot start yet."""
        if starts_alone(held.delivery, self._rules):
            return self._suspects.isolate(held)
        self._buffer.put_first([held])
        return True

    # What goes out

    def _send_back(self, held: Held) -> None:
        self._parking.forget(held)
        self._settle(held, self._rules.give_back_unstarted(held.delivery))

    def _on_settled(self, settled: Sequence[Held]) -> None:
        self.report.settled(settled)
        self._leases.forget(settled)
        for held in settled if self._buffer.ordered else ():
            self._returns.follow(held, held.decision)
        self._intake.changed()

    def _on_lost(self, held: Held) -> None:
        self.report.lost(held)
        self._runs.look()
        self._parking.forget(held)
        self._buffer.drop(held)
        if self._buffer.ordered:
            self._returns.follow(held, None)
        self._intake.changed()

    def _on_receiver_lost(self, receiver: Receiver) -> None:
        self._leases.lose_all(receiver)
        self._arrivals.start_over()

    # Its life

    async def run(self) -> None:
        """Consume until `stop`.

        Raises:
            Exception: a loop of ours has failed, so that nothing is consumed any more.
        """
        self._around.quarantine.join(self)
        self._limits.listen(self._intake.changed, self._standby.look)
        workers = [self._work() for _ in range(self._workers)]
        for loop in (self._receiving.run(), *self._settlement.loops(), self._leases.run(), *workers):
            self._loops.start(loop)
        try:
            await self._loops.over()
        finally:
            self.report.consuming = False
            self._around.quarantine.leave(self)
            self._limits.unlisten(self._intake.changed, self._standby.look)
            self._standby.end()
            self._buffer.close()
            self._threads.close()
            self._leases.interrupt(STOPPED)
            await self._loops.cancel(_CANCEL_SECONDS)
            await self._receiving.close()

    def refuse(self) -> None:
        """Start nothing more, from this moment on; `stop` does the rest."""
        self._runs.close()
        self._limits.refuse()

    async def stop(self, drain_seconds: float) -> int:
        """Start nothing more, let what runs end, settle it all, give back the rest.

        Args:
            drain_seconds: how long running handlers may go on; then they are cancelled and given back, counted.

        Returns:
            How many deliveries had to be left to the end of their lease; 0 when everything was settled.
        """
        self.refuse()
        self._receiving.stop()
        self._intake.close()
        await self._intake.stop()
        self._returns.give_back_unstarted()
        self._returns.give_back(self._parking.empty() + self._suspects.withdraw())
        await self._runs.wait(drain_seconds)
        self._leases.interrupt(STOPPED)
        self._runs.take_time()
        await self._runs.wait(_CANCEL_SECONDS)
        await self._suspects.finished(self._clock, self._around.adapter.deadline_seconds)
        await self._settlement.finish(self._around.adapter.deadline_seconds)
        await self._receiving.close()
        self._loops.stop()
        return len(self._leases)

    async def make_quiet(self) -> None:
        """See `leveler.consumer.quarantine.Member`."""
        self._runs.be_quiet()
        self._limits.refuse()
        self._intake.pause()
        await self._intake.stop()
        if not self._runs.keeping:
            self._returns.give_back_unstarted()
            self._returns.give_back(self._suspects.withdraw())
        await self._runs.calm()
        await self._settlement.settled()

    def make_loud(self) -> None:
        """See `leveler.consumer.quarantine.Member`."""
        self._runs.be_loud()
        self._intake.resume()

    def health(self) -> ConsumerHealth:
        return self.report.health(self._runs.now, len(self._leases), self._leases.held_bytes)

    @property
    def busy(self) -> bool:
        """Whether anything is held that is not merely waiting for its time."""
        return len(self._leases) > len(self._parking)
