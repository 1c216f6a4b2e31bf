"""The spine: deliveries -> decode -> acquire -> handle -> decide -> settle -> release. `Consumer._carry` is all of it.

Each step has a room of its own in this package; only this file knows them all.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from leveler.adapter import INFINITE, Abandon, Adapter, Capabilities, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.clock import Clock, Timer
from leveler.consumer.buffer import Buffer
from leveler.consumer.decision import Decision, Park, Rules, decide, on_arrival, starts_alone
from leveler.consumer.handler import Handler, Middleware, Router
from leveler.consumer.held import BUFFERED, RUNNING, SETTLING, STOPPED, Held
from leveler.consumer.intake import Intake
from leveler.consumer.lease import Leases
from leveler.consumer.limits import Limits, Verdict
from leveler.consumer.quarantine import Quarantine, Suspects
from leveler.consumer.receiving import Receiving
from leveler.consumer.report import ConsumerHealth, Report
from leveler.consumer.runs import Runs
from leveler.consumer.settlement import Settlement
from leveler.errors import LevelerError
from leveler.events import Observers
from leveler.outcome import Completed, Failed, Outcome, Retry, Throttled
from leveler.settings import QueueSettings

#: More runs at once than this in one process gain nothing that more processes would not do better.
MOST_WORKERS: Final = 1000
#: Received and not settled, at most: twice what can run, for what waits and what is being settled, and enough for
#: handlers so quick that a trip to the broker is long beside them.
MIN_CAPACITY: Final = 1000

#: Settlement verbs that are under way at once, where the broker bears several.
_VERBS_AT_ONCE: Final = 8
#: How long a cancelled handler may take to end before its delivery is left to its lease.
_CANCEL_SECONDS: Final = 1.0

_VERDICTS: Final[dict[type[Outcome], Verdict]] = {
    Completed: Verdict.SUCCESS,
    Failed: Verdict.FAILURE,
    Retry: Verdict.FAILURE,
    Throttled: Verdict.OVERLOAD,
}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a consumer shares with the rest of its process."""

    adapter: Adapter
    clock: Clock
    rng: random.Random
    quarantine: Quarantine
    observers: Observers
    middleware: Sequence[Middleware] = ()
    #: What the app's lifespan yielded.
    state: Any = None


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
        self._spec = spec
        self._around = around
        self._clock = around.clock
        self._limits = limits
        self._workers = min(workers, MOST_WORKERS)
        self._rules = Rules(queue=spec.name, retry=settings.retry, max_deliveries=settings.most_deliveries, can=can)
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix=f"leveler-{spec.name}")
        self._router = Router(
            [handler.bind(around.middleware, self._executor, spec.name, around.state) for handler in handlers]
        )
        self._runs = Runs(around.clock)
        verbs = asyncio.Semaphore(_VERBS_AT_ONCE if can.concurrent_verbs else 1)
        self._leases = Leases(
            spec.lease_seconds,
            settings.timeout_seconds,
            can,
            self._clock,
            verbs,
            on_lost=self._on_lost,
            on_stuck=self.report.stuck,
            on_blocked=self.report.blocked,
        )
        self._settlement = Settlement(
            can,
            self._clock,
            verbs,
            extensions=self._leases.extensions,
            on_settled=self._on_settled,
            on_lost=self._on_lost,
            on_failed=self.report.settlement_failed,
        )
        self._capacity = max(MIN_CAPACITY, 2 * self._workers)
        self._buffer = Buffer(ordered=spec.ordered, on_taken=self._changed)
        self._intake = Intake(
            self._clock,
            self._buffer,
            startable=limits.credit,
            wait=limits.wait,
            held=self._leases.__len__,
            capacity=self._capacity,
            receive_timeout_seconds=around.adapter.deadline_seconds,
            admit=self._admit,
            on_ready=self._on_ready,
            on_unavailable=self.report.unavailable,
        )
        self._receiver: Receiver | None = None
        self._receiving = Receiving(
            around.adapter,
            spec,
            self._capacity,
            self._clock,
            feed=self._intake.run,
            on_down=self.report.down,
            on_lost=self._on_receiver_lost,
        )
        for gate in limits.gates:
            gate.listen(self._changed)
        self._ready = False
        self._stopping = False
        self._drained = asyncio.Event()
        self._parked: dict[Held, Timer] = {}
        self._suspects = Suspects(
            around.quarantine,
            carry=self._carry,
            settled=self._settlement.settled,
            pause=self._intake.pause,
            resume=self._intake.resume,
        )

    # The spine

    async def _work(self) -> None:
        """One worker. There are as many as runs at once."""
        while batch := await self._buffer.take(1):
            await self._carry(batch)

    async def _carry(self, batch: list[Held]) -> None:
        """The way of deliveries, step by step."""
        ready = self._decode(batch)
        if not ready or not await self._acquire(ready):
            return
        for held, outcome in zip(ready, await self._handle(ready), strict=True):
            decision = self._decide(held, outcome)
            self._settle(held, decision)
            self._release(held, outcome)

    # The steps

    def _decode(self, batch: list[Held]) -> list[Held]:
        """Choose each one's handler and decode its value; settle at once those for which that is the end."""
        ready = []
        for held in batch:
            outcome = self._router.prepare(held)
            if outcome is None:
                ready.append(held)
            else:
                self._settle(held, self._decide(held, outcome))
        return ready

    async def _acquire(self, ready: list[Held]) -> bool:
        """Wait for the limits. False if none of them may start any more; then they are given back."""
        admitted = await self._limits.acquire(len(ready))
        if not admitted:
            self._give_back(ready)
            return False
        if any(held.lost for held in ready):  # the wait was longer than the lease
            self._limits.release(len(ready), 0.0, Verdict.NOTHING)
            self._give_back([held for held in ready if not held.lost])
            return False
        return True

    async def _handle(self, ready: list[Held]) -> list[Outcome]:
        """Run the handler on each."""
        outcomes = []
        for held in ready:
            held.task = asyncio.current_task() if held.handler.is_async else None
            held.started_at = self._clock.monotonic()
            held.state = RUNNING
            self._runs.begin()
            self.report.started(held)
            try:
                outcomes.append(await held.handler.run(held))
            finally:
                held.run_seconds = self._clock.monotonic() - held.started_at
                self._runs.end()
        return outcomes

    def _decide(self, held: Held, outcome: Outcome) -> Decision:
        held.outcome = outcome
        if isinstance(outcome, Throttled) and outcome.after_seconds:
            self._limits.pause(outcome.after_seconds, outcome.downstream)
        return decide(outcome, held.delivery, self._rules, self._clock.now(), self._around.rng)

    def _settle(self, held: Held, decision: Decision) -> None:
        if isinstance(decision, Park):
            self._park(held, decision.delay_seconds)
        elif not held.lost:
            self._settlement.settle(held, decision)

    def _release(self, held: Held, outcome: Outcome) -> None:
        """Let others start, and tell the limits how it went."""
        self._limits.release(1, held.run_seconds, _VERDICTS.get(type(outcome), Verdict.NOTHING))
        self._runs.check()

    # What comes in

    def _admit(self, receiver: Receiver, deliveries: Sequence[Delivery]) -> list[Held]:
        """Those of `deliveries` that workers may start; the others are settled, or start alone."""
        self.report.tally.received += len(deliveries)
        arrived = [Held(delivery, receiver) for delivery in deliveries]
        self._leases.keep(arrived)
        now = self._clock.now()
        startable: list[Held] = []
        suspects: list[Held] = []
        for held in arrived:
            decision = on_arrival(held.delivery, self._rules, now)
            if decision is not None:
                self._settle(held, decision)
            elif starts_alone(held.delivery, self._rules):
                suspects.append(held)
            else:
                startable.append(held)
        if not suspects:
            self._intake.be_careless()
            return startable
        return self._isolate(suspects, startable)

    def _isolate(self, suspects: list[Held], startable: list[Held]) -> list[Held]:
        """Start the first suspect alone. What came with it goes back, so that it cannot be taken along."""
        self._intake.be_careful()
        if not self._suspects.busy and not self._stopping:
            first = suspects.pop(0)
            self.report.quarantined(first)
            self._suspects.isolate(first)
        self._give_back(suspects + startable)
        return []

    def _park(self, held: Held, delay_seconds: float) -> None:
        """Keep it leased and start it later: the broker could not give it back without counting."""
        held.state = BUFFERED
        held.started_at, held.outcome, held.task = None, None, None
        self._parked[held] = self._clock.call_later(delay_seconds, lambda: self._unpark(held))

    def _unpark(self, held: Held) -> None:
        if self._parked.pop(held, None) is not None and not held.lost:
            self._buffer.put([held], first=True)

    # What goes out

    def _give_back(self, unstarted: Sequence[Held]) -> None:
        """Back to the broker, uncounted where it can do that."""
        for held in unstarted:
            self._settle(held, self._rules.give_back_unstarted(held.delivery))

    def _give_back_unstarted(self) -> None:
        """Everything that nobody has started."""
        self._limits.refuse()  # those that wait for a limit give theirs back themselves
        self._give_back(self._buffer.empty())
        for held, timer in self._parked.items():
            timer.cancel()
            self._give_back([held])
        self._parked.clear()
        self._give_back(self._suspects.withdraw())

    def _on_settled(self, held: Held, decision: Delivery | Abandon | DeadLetter) -> None:
        self._leases.forget(held)
        self.report.settled(held, decision)
        if self._spec.ordered:
            self._give_back(self._buffer.follow(held, done=not isinstance(decision, Abandon)))
        self._intake.changed()

    def _on_lost(self, held: Held) -> None:
        self._leases.forget(held)
        self.report.lost(held)
        self._buffer.drop(held)
        if (timer := self._parked.pop(held, None)) is not None:
            timer.cancel()
        self._give_back(self._buffer.follow(held, done=False))
        self._intake.changed()

    # Its life

    async def run(self) -> None:
        """Consume until `stop`."""
        self._around.quarantine.join(self)
        workers = [asyncio.create_task(self._work()) for _ in range(self._workers)]
        sweeps = [asyncio.create_task(self._settlement.run()), asyncio.create_task(self._leases.run())]
        try:
            await self._receiving.run()
            await self._drained.wait()
        finally:
            self._around.quarantine.leave(self)
            for task in workers + sweeps:
                task.cancel()
            await asyncio.gather(*workers, *sweeps, return_exceptions=True)
            self._executor.shutdown(wait=False)

    async def stop(self, drain_seconds: float) -> int:
        """Start nothing more, let what runs end, settle it all, give back the rest.

        Args:
            drain_seconds: how long running handlers may go on; then they are cancelled and given back, counted.

        Returns:
            How many deliveries had to be left to the end of their lease; 0 when everything was settled.
        """
        self._stopping = True
        self._receiving.stop()
        self._intake.close()
        await self._stop_flow()
        self._give_back_unstarted()
        await self._runs.wait(drain_seconds)
        for held in self._leases.held():
            if held.state == RUNNING:
                held.interrupt(STOPPED)
        self._runs.take_time()
        await self._runs.wait(_CANCEL_SECONDS)
        await self._suspects.finished(self._clock, self._around.adapter.deadline_seconds)
        await self._until_settled(self._around.adapter.deadline_seconds)
        await self._receiving.close()
        self._buffer.close()
        self._drained.set()
        return len(self._leases)

    def hurry(self) -> None:
        """End a drain that is under way now: running handlers are cancelled."""
        self._runs.hurry()

    async def make_quiet(self) -> None:
        """See `leveler.consumer.quarantine.Member`."""
        self._intake.pause()
        await self._stop_flow()
        self._give_back_unstarted()
        await self._runs.wait(INFINITE)
        await self._settlement.settled()

    async def make_loud(self) -> None:
        """See `leveler.consumer.quarantine.Member`."""
        self._intake.resume()

    def health(self) -> ConsumerHealth:
        return ConsumerHealth(self._ready, self._runs.now, len(self._leases), replace(self.report.tally))

    @property
    def busy(self) -> bool:
        """Whether anything is held that is not merely waiting for its time."""
        return len(self._leases) > len(self._parked)

    async def _stop_flow(self) -> None:
        receiver = self._receiving.receiver
        if receiver is not None:
            try:
                await self._intake.stop(receiver)
            except LevelerError as error:  # then it is lost, and its deliveries go back by themselves
                self.report.unavailable(error)

    async def _until_settled(self, seconds: float) -> None:
        if not self._settlement.unsettled:
            return
        settled = asyncio.ensure_future(self._settlement.settled())
        timer = self._clock.call_later(seconds, settled.cancel)
        await asyncio.wait({settled})
        timer.cancel()

    def _changed(self) -> None:
        self._intake.changed()

    def _on_receiver_lost(self, receiver: Receiver) -> None:
        self._ready = False
        for held in self._leases.held():
            if held.receiver is receiver and held.state != SETTLING:
                self._leases.lose(held)

    def _on_ready(self) -> None:
        self._ready = True
        self._receiving.healthy()
        self.report.ready()
