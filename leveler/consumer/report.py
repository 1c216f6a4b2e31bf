"""Report: what a consumer counts, tells its observers and writes to the log. Counting costs nothing worth having."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from leveler.adapter import Abandon, DeadLetter
from leveler.consumer.held import Held
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
    log,
)
from leveler.message import Death
from leveler.outcome import Failed, Outcome, Retry, Snooze, Stopped, Throttled
from leveler.wording import in_one_line, told


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
        self._standing = False
        #: Since it last received: how often that failed, and with what.
        self._failures = 0
        self._failed_with = ""

    def health(self, running: int, held: int, held_bytes: int) -> ConsumerHealth:
        """Now, while so many handlers run and so many deliveries are held."""
        tally = replace(self.tally, started=self.tally.started + running)
        return ConsumerHealth(self.consuming, running, held, tally, held_bytes)

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
        message, attempt = held.delivery.message, held.delivery.attempt
        log.warning("%s: the lease of message %s (attempt %d) was lost", self._queue, message.id, attempt)
        if self._observers.present:
            done = held.decision is held.delivery
            self._observers.tell(DeliveryLost(self._queue, message, attempt, done))

    def quarantined(self, held: Held) -> None:
        message, attempt = held.delivery.message, held.delivery.attempt
        log.warning("%s: message %s arrives for the %dth time and starts alone", self._queue, message.id, attempt)
        if self._observers.present:
            self._observers.tell(Quarantined(self._queue, message, attempt))

    def settlement_failed(self, held: Held, verb: str, error: LevelerError) -> None:
        self.tally.settlements_failed += 1
        log.warning("%s: %s of message %s failed: %s", self._queue, verb, held.delivery.message.id, error)
        if self._observers.present:
            self._observers.tell(
                SettlementFailed(self._queue, held.delivery.message, held.delivery.attempt, verb, error)
            )

    def stuck(self, held: Held, run_seconds: float) -> None:
        self.tally.stuck += 1
        message = held.delivery.message
        why = "it is a def handler" if held.task is None else "it does not let itself be cancelled"
        log.error(
            "%s: the handler of message %s runs past its timeout (%.1f s) and cannot be stopped: %s. Its slot is taken "
            "until it returns: let it look at ctx.cancelled",
            self._queue, message.id, run_seconds, why,
        )  # fmt: skip
        if self._observers.present:
            self._observers.tell(HandlerStuck(self._queue, message, held.delivery.attempt, run_seconds))

    def blocked(self, blocked_seconds: float) -> None:
        log.error(
            "%s: the event loop stood still for %.1f s, so leases could not be renewed. Is there blocking code in an "
            "async def handler? Make it a def handler: those run in threads",
            self._queue, blocked_seconds,
        )  # fmt: skip
        if self._observers.present:
            self._observers.tell(LoopBlocked(self._queue, blocked_seconds))

    def ready(self) -> None:
        if self._failures:
            log.warning("%s: receiving again", self._queue)
            self._failures, self._failed_with = 0, ""
        self.consuming = True
        if self._observers.present:
            self._observers.tell(ReceiverReady(self._queue))

    def down(self, error: BaseException) -> None:
        self.consuming = False
        self.tally.receivers_lost += 1
        self._not_receiving("not receiving", error)
        if self._observers.present:
            self._observers.tell(ReceiverDown(self._queue, error))

    def unavailable(self, error: BaseException) -> None:
        self.consuming = False
        self._not_receiving("the broker does not answer", error)

    def standby(self, seconds: float, probing: bool) -> None:
        """Nothing will start for so long; 0: something may again, which is one run if it is `probing`."""
        if seconds and not self._standing:
            log.warning("%s: its downstream takes nothing, so nothing is received and nothing is held", self._queue)
        elif not seconds and not probing:
            log.warning("%s: its downstream takes work again", self._queue)
        self._standing = seconds > 0 or probing
        if self._observers.present:
            self._observers.tell(StandingBy(self._queue, seconds, probing))

    def _not_receiving(self, what: str, error: BaseException) -> None:
        """An outage of a night is one line for each power of two, not one for each try."""
        self._failures += 1
        if (said := f"{what}: {error}") != self._failed_with or not self._failures & (self._failures - 1):
            again = f" ({self._failures} times by now)" if said == self._failed_with else ""
            log.warning("%s: %s%s", self._queue, said, again)
        self._failed_with = said

    def _completed(self, held: Held) -> None:
        message, attempt = held.delivery.message, held.delivery.attempt
        self._observers.tell(MessageCompleted(self._queue, message, attempt, held.run_seconds))

    def _dead_lettered(self, held: Held, decision: DeadLetter) -> None:
        self.tally.dead_lettered += 1
        message, death = held.delivery.message, decision.death
        log.warning(
            "%s: message %s dead-lettered after attempt %d: %s",
            self._queue,
            message.id,
            death.attempts,
            _last_words(held, death),
        )
        if self._observers.present:
            self._observers.tell(MessageDeadLettered(self._queue, message, held.delivery.attempt, death))

    def _abandoned(self, held: Held, decision: Abandon) -> None:
        message, attempt, outcome = held.delivery.message, held.delivery.attempt, held.outcome
        if decision.counted and isinstance(outcome, Retry | Stopped):
            self.tally.retried += 1
            error = outcome.error if isinstance(outcome, Failed) else outcome.__cause__
            if error is not None and log.isEnabledFor(logging.INFO):
                self._failed(held, error, decision.delay_seconds)
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

    def _failed(self, held: Held, error: BaseException, delay_seconds: float) -> None:
        """Whoever writes a handler sees what it raised, and where; at ``debug`` with the whole traceback."""
        log.info(
            "%s: attempt %d of message %s failed, the next is due in %.1f s: %s",
            self._queue, held.delivery.attempt, held.delivery.message.id, delay_seconds, told(error, _function(held)),
            exc_info=error if log.isEnabledFor(logging.DEBUG) else None,
        )  # fmt: skip


def _last_words(held: Held, death: Death) -> str:
    """Why a message was given up, in one line."""
    outcome = held.outcome
    if isinstance(outcome, Failed):
        return f"{death.reason}: {told(outcome.error, _function(held))}"
    said = in_one_line(death.detail)
    return f"{death.reason}: {f'{death.error_type}: ' if death.error_type else ''}{said}".rstrip(": ")


def _function(held: Held) -> Callable[..., Any] | None:
    """The handler's, if one was chosen."""
    return None if held.handler is None else held.handler.handler.function


def _why(outcome: Outcome | None, decision: Abandon) -> str:
    if isinstance(outcome, Throttled):
        return "throttled"
    if isinstance(outcome, Snooze):
        return "snoozed"
    return "early" if decision.delay_seconds else "unstarted"
