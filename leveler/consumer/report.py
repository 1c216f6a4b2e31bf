"""Report: what a consumer counts, and tells its observers and its log. Counting costs nothing worth having."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from leveler.adapter import Abandon, DeadLetter
from leveler.consumer.held import Held
from leveler.consumer.logbook import Logbook
from leveler.errors import LevelerError
from leveler.events import (
    DeliveryLost,
    HandlerStuck,
    LoopBlocked,
    MessageCompleted,
    MessageDeadLettered,
    MessageRetried,
    MessageReturned,
    MessageStarted,
    Observers,
    Quarantined,
    ReceiverDown,
    ReceiverReady,
    SettlementFailed,
    StandingBy,
)
from leveler.outcome import Failed, Outcome, Retry, Snooze, Stopped, Throttled


@dataclass(slots=True)
class Tally:
    """How often each thing happened since the consumer started. Fault-free, these equal what really happened."""

    received: int = 0
    started: int = 0
    completed: int = 0
    retried: int = 0
    #: Given back uncounted.
    returned: int = 0
    #: Given back counted although nothing had failed: the broker cannot do otherwise.
    returned_counted: int = 0
    dead_lettered: int = 0
    lost: int = 0
    settlements_failed: int = 0
    stuck: int = 0
    receivers_lost: int = 0
    #: How long all runs that have ended took together.
    run_seconds: float = 0.0


@dataclass(frozen=True)
class ConsumerHealth:
    """One consumer at one moment."""

    #: The broker's side knows it as a consumer.
    ready: bool
    #: Messages whose handlers run.
    running: int
    #: Deliveries that are held: running, waiting and being settled.
    held: int
    tally: Tally
    #: Bytes of their bodies.
    held_bytes: int = 0


class Report:
    """One consumer's."""

    def __init__(self, queue: str, observers: Observers) -> None:
        self.tally = Tally()
        #: The broker's side knows us as a consumer, and answers.
        self.consuming = False
        self._queue = queue
        self._observers = observers
        self._log = Logbook(queue)

    def health(self, running: int, held: int, held_bytes: int) -> ConsumerHealth:
        """Now, while so many handlers run and so many deliveries are held."""
        tally = replace(self.tally, started=self.tally.started + running)
        return ConsumerHealth(self.consuming, running, held, tally, held_bytes)

    # A delivery

    def started(self, held: Held) -> None:
        """Only told, and only where somebody listens: they are counted when they have ended."""
        self._observers.tell(MessageStarted(self._queue, held.delivery.message, held.delivery.attempt))

    def ran(self, runs: int, seconds: float) -> None:
        """`runs` have ended, after `seconds` each."""
        self.tally.started += runs
        self.tally.run_seconds += runs * seconds

    def settled(self, settled: Sequence[Held]) -> None:
        """The broker took these."""
        completed = [held for held in settled if held.decision is held.delivery]
        self.tally.completed += len(completed)
        if self._observers.present:
            for held in completed:
                self._completed(held)
        if len(completed) < len(settled):
            for held in settled:
                if isinstance(held.decision, DeadLetter):
                    self._dead_lettered(held, held.decision)
                elif isinstance(held.decision, Abandon):
                    self._abandoned(held, held.decision)

    def lost(self, held: Held) -> None:
        self.tally.lost += 1
        self._log.lost(held)
        if self._observers.present:
            done = held.decision is held.delivery
            self._observers.tell(DeliveryLost(self._queue, held.delivery.message, held.delivery.attempt, done))

    def quarantined(self, held: Held) -> None:
        self._log.quarantined(held)
        if self._observers.present:
            self._observers.tell(Quarantined(self._queue, held.delivery.message, held.delivery.attempt))

    def settlement_failed(self, held: Held, verb: str, error: LevelerError) -> None:
        self.tally.settlements_failed += 1
        self._log.settlement_failed(held, verb, error)
        if self._observers.present:
            message, attempt = held.delivery.message, held.delivery.attempt
            self._observers.tell(SettlementFailed(self._queue, message, attempt, verb, error))

    def stuck(self, held: Held, run_seconds: float) -> None:
        self.tally.stuck += 1
        self._log.stuck(held, run_seconds)
        if self._observers.present:
            self._observers.tell(HandlerStuck(self._queue, held.delivery.message, held.delivery.attempt, run_seconds))

    # The consumer

    def blocked(self, blocked_seconds: float) -> None:
        self._log.blocked(blocked_seconds)
        if self._observers.present:
            self._observers.tell(LoopBlocked(self._queue, blocked_seconds))

    def ready(self) -> None:
        self.consuming = True
        self._log.receiving()
        if self._observers.present:
            self._observers.tell(ReceiverReady(self._queue))

    def down(self, error: BaseException) -> None:
        self.consuming = False
        self.tally.receivers_lost += 1
        self._log.not_receiving("not receiving", error)
        if self._observers.present:
            self._observers.tell(ReceiverDown(self._queue, error))

    def unavailable(self, error: BaseException) -> None:
        self.consuming = False
        self._log.not_receiving("the broker does not answer", error)

    def standby(self, seconds: float, probing: bool) -> None:
        """Nothing will start for so long; 0: something may again, which is one run if it is `probing`."""
        self._log.standby(seconds, probing)
        if self._observers.present:
            self._observers.tell(StandingBy(self._queue, seconds, probing))

    # How it was settled

    def _completed(self, held: Held) -> None:
        message, attempt = held.delivery.message, held.delivery.attempt
        self._observers.tell(MessageCompleted(self._queue, message, attempt, held.run_seconds))

    def _dead_lettered(self, held: Held, decision: DeadLetter) -> None:
        self.tally.dead_lettered += 1
        self._log.dead_lettered(held, decision.death)
        if self._observers.present:
            message, attempt = held.delivery.message, held.delivery.attempt
            self._observers.tell(MessageDeadLettered(self._queue, message, attempt, decision.death))

    def _abandoned(self, held: Held, decision: Abandon) -> None:
        message, attempt, outcome = held.delivery.message, held.delivery.attempt, held.outcome
        if decision.counted and isinstance(outcome, Retry | Stopped):
            self.tally.retried += 1
            error = outcome.error if isinstance(outcome, Failed) else outcome.__cause__
            if error is not None:
                self._log.run_failed(held, error, decision.delay_seconds)
            if self._observers.present:
                self._observers.tell(MessageRetried(self._queue, message, attempt, decision.delay_seconds, error))
            return
        if decision.counted:
            self.tally.returned_counted += 1
        else:
            self.tally.returned += 1
        if self._observers.present:
            why = _why(outcome, decision) + ("-counted" if decision.counted else "")
            self._observers.tell(MessageReturned(self._queue, message, attempt, decision.delay_seconds, why))


def _why(outcome: Outcome | None, decision: Abandon) -> str:
    if isinstance(outcome, Throttled):
        return "throttled"
    if isinstance(outcome, Snooze):
        return "snoozed"
    return "early" if decision.delay_seconds else "unstarted"
