"""Decisions: what becomes of a delivery. Pure functions of what is known; nothing here does I/O.

on arrival          started alone too often         dead letter: crash-loop
                    expired                         dead letter: expired
                    early                           back, uncounted, for the rest of its delay
                    deliveries > max_attempts       start alone
                    else                            start

after a run         Completed                       complete
                    Retry, any exception            back, counted, as the policy says; or dead letter
                    the same, its downstream down   the last attempt is not spent: back, uncounted
                    Throttled, Snooze               back, uncounted, after what they ask; too old: dead letter
                    Reject, undecodable             dead letter
                    cut by a stop                   back at once, counted
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from leveler.adapter import Abandon, Capabilities, DeadLetter, Delivery
from leveler.consumer.held import Held
from leveler.consumer.limits import Refusal, Verdict
from leveler.errors import UnknownType
from leveler.message import MAX_DETAIL_BYTES, Death, cut
from leveler.outcome import Completed, Failed, Outcome, Reject, Retry, Snooze, Stopped, Throttled, Undecodable
from leveler.retry import DAY_SECONDS, RetryPolicy


class Park(NamedTuple):
    """Keep the lease and start again later: for brokers that cannot give back without counting."""

    delivery: Delivery
    delay_seconds: float


#: A bare delivery: complete it.
Decision = Delivery | Abandon | DeadLetter | Park

# A message that is due within this is started now: clocks of two hosts differ by more.
_EARLY_SECONDS: Final = 0.05
# What a handler asks for may be without end, and dates have one.
_LONGEST_SECONDS: Final = 10 * 365 * DAY_SECONDS


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What decides, for one consumer."""

    queue: str
    retry: RetryPolicy
    max_deliveries: int
    can: Capabilities

    @property
    def counts_returns(self) -> bool:
        """Whether what goes back unstarted has used up an attempt."""
        return self.can.uncounted == "none"

    @property
    def longest_seconds(self) -> float:
        """The longest delay of a delivery that is given back."""
        return min(self.can.max_abandon_seconds, _LONGEST_SECONDS)

    def give_back(self, delivery: Delivery, delay_seconds: float) -> Abandon | Park:
        """Back without counting an attempt, as far as the broker can do that."""
        if not self.counts_returns:
            return Abandon(delivery, min(delay_seconds, self.longest_seconds), counted=False)
        # Half, because an unknown part of the longest lease is spent already.
        if self.can.extend and delay_seconds < min(self.can.max_lease_seconds, _LONGEST_SECONDS) / 2:
            return Park(delivery, delay_seconds)
        return Abandon(delivery, min(delay_seconds, self.longest_seconds), counted=True)

    def refusal(self, outcome: Outcome) -> Refusal | None:
        """What the downstream has asked for, if it refused."""
        if not isinstance(outcome, Throttled):
            return None
        return Refusal(outcome.downstream, min(outcome.after_seconds or 0.0, self.longest_seconds))

    def give_back_unstarted(self, delivery: Delivery) -> Abandon:
        """Back because this process will not start it."""
        return Abandon(delivery, 0.0, counted=self.counts_returns)


def on_arrival(delivery: Delivery, rules: Rules, now: datetime) -> Decision | None:
    """What becomes of a delivery before it is started; None: it may start."""
    message = delivery.message
    if ends_processes(delivery, rules):
        detail = f"delivered {delivery.attempt} times, of which at most {rules.retry.max_attempts} may have failed"
        return _dead(delivery, rules, now, "crash-loop", detail=detail)
    if message.expires_at is not None and message.expires_at <= now:
        return _dead(delivery, rules, now, "expired", detail=f"expires_at was {message.expires_at.isoformat()}")
    if (early := message.delay_seconds(now)) > _EARLY_SECONDS:
        return rules.give_back(delivery, early)
    return None


def may_all_start(deliveries: Sequence[Delivery], rules: Rules) -> bool:
    """Whether there is nothing about any of them that would have to be thought of; nearly always so."""
    most = rules.retry.max_attempts
    for delivery in deliveries:
        message = delivery.message
        if delivery.attempt > most or message.not_before is not None or message.expires_at is not None:
            return False
    return True


def sort_out(
    arrived: Sequence[Held], rules: Rules, now: datetime
) -> tuple[list[Held], list[Held], list[tuple[Held, Decision]]]:
    """Those that may start, those that must start alone, and what becomes of those that need not be started."""
    startable, suspects, over = list[Held](), list[Held](), list[tuple[Held, Decision]]()
    if may_all_start([held.delivery for held in arrived], rules):
        return list(arrived), suspects, over
    for held in arrived:
        if (decision := on_arrival(held.delivery, rules, now)) is not None:
            over.append((held, decision))
        else:
            (suspects if starts_alone(held.delivery, rules) else startable).append(held)
    return startable, suspects, over


def starts_alone(delivery: Delivery, rules: Rules) -> bool:
    """Whether it arrived more often than it may be started: it, or a neighbour, has ended its process."""
    return delivery.attempt > rules.retry.max_attempts


def ends_processes(delivery: Delivery, rules: Rules) -> bool:
    """Whether it has been started alone as often as may be, and its process did not live to tell of it."""
    if rules.can.solos == "attempts":
        return delivery.attempt > rules.max_deliveries
    most = rules.retry.max_attempts
    return delivery.attempt > most and delivery.message.solos >= rules.max_deliveries - most


def decide(
    outcome: Outcome,
    delivery: Delivery,
    rules: Rules,
    now: datetime,
    rng: random.Random,
    *,
    down_seconds: float | None = None,
) -> Decision:
    """What becomes of a delivery after a run that ended with `outcome`.

    Args:
        outcome: that.
        delivery: that.
        rules: of the consumer.
        now: the wall clock.
        rng: chance, for jitter.
        down_seconds: for how long the downstream has not done its work, whatever the message: none dies of that.
    """
    try:
        if down_seconds is not None and isinstance(outcome, Retry) and _is_last(outcome, delivery, rules, now):
            return _spared(outcome, delivery, rules, down_seconds, rng)
        return _decide(outcome, delivery, rules, now, rng)
    except Exception as error:  # an outcome class of the user's own, made wrongly: it failed like any other exception
        return _retry(Failed(error), delivery, rules, now, rng)


def verdict_on(outcome: Outcome) -> Verdict:
    """What a run that ended with `outcome` tells the limits about the downstream."""
    if isinstance(outcome, Completed):
        return Verdict.SUCCESS
    if isinstance(outcome, Throttled):
        return Verdict.OVERLOAD
    return Verdict.FAILURE if isinstance(outcome, Retry) else Verdict.NOTHING


def _decide(outcome: Outcome, delivery: Delivery, rules: Rules, now: datetime, rng: random.Random) -> Decision:
    if isinstance(outcome, Completed):
        return delivery
    if isinstance(outcome, Retry):
        return _retry(outcome, delivery, rules, now, rng)
    if isinstance(outcome, Throttled | Snooze):
        return _later(outcome, delivery, rules, now, rng)
    if isinstance(outcome, Reject):
        return _dead(delivery, rules, now, "rejected", outcome.__cause__, outcome.reason)
    if isinstance(outcome, Undecodable):
        return _dead(delivery, rules, now, "undecodable", outcome.error)
    if isinstance(outcome, Stopped):
        return Abandon(delivery, 0.0)
    return _dead(delivery, rules, now, "rejected", detail=f"{type(outcome).__name__} is no outcome that leveler knows")


def _retry(outcome: Retry, delivery: Delivery, rules: Rules, now: datetime, rng: random.Random) -> Decision:
    error = _error_of(outcome)
    age = delivery.message.age_seconds(now)
    why = rules.retry.gives_up(delivery.attempt, age, error)
    if why is not None:
        reason = "unknown-type" if isinstance(error, UnknownType) else why
        return _dead(delivery, rules, now, reason, error, str(outcome) if error is None else "")
    delay = outcome.after_seconds
    if delay is None:
        delay = rules.retry.delay_seconds(delivery.attempt, age, error, rng)
    return Abandon(delivery, min(max(delay, rules.retry.floor_seconds), rules.longest_seconds))


def _is_last(outcome: Retry, delivery: Delivery, rules: Rules, now: datetime) -> bool:
    age = delivery.message.age_seconds(now)
    return rules.retry.gives_up(delivery.attempt, age, _error_of(outcome)) == "exhausted"


def _spared(outcome: Retry, delivery: Delivery, rules: Rules, down_seconds: float, rng: random.Random) -> Decision:
    """Back, though this was its last attempt. The longer the downstream has been down the later: others are tried
    before it, for it may be its own fault, and then it must not be every probe."""
    delay = rules.retry.delay_seconds(delivery.attempt, 0.0, _error_of(outcome), rng)
    longer = min(down_seconds, rules.retry.cap_seconds)
    return rules.give_back(delivery, max(outcome.after_seconds or 0.0, delay, longer))


def _error_of(outcome: Retry) -> BaseException | None:
    return outcome.error if isinstance(outcome, Failed) else outcome.__cause__


def _later(
    outcome: Throttled | Snooze, delivery: Delivery, rules: Rules, now: datetime, rng: random.Random
) -> Decision:
    age = delivery.message.age_seconds(now)
    delay = outcome.after_seconds
    if delay is None:
        delay = rules.retry.delay_seconds(delivery.attempt, age, None, rng)
    delay = max(delay, rules.retry.floor_seconds)
    if age + delay > rules.retry.max_age_seconds:
        detail = f"{outcome}; {age:.0f} s old, max_age is {rules.retry.max_age_seconds:.0f} s"
        return _dead(delivery, rules, now, "expired", outcome.__cause__, detail)
    return rules.give_back(delivery, delay)


def _dead(
    delivery: Delivery,
    rules: Rules,
    now: datetime,
    reason: str,
    error: BaseException | None = None,
    detail: str = "",
) -> DeadLetter:
    message = delivery.message
    death = Death(
        reason=reason,
        error_type=cut(type(error).__name__, 200) if error is not None else "",
        detail=cut(_text(detail or error), MAX_DETAIL_BYTES),
        attempts=delivery.attempt,
        queue=rules.queue,
        first_failed_at=message.failed_at or now,
        last_failed_at=now,
    )
    return DeadLetter(delivery, death)


def _text(what: object) -> str:
    """Whatever was raised or given as a reason, as text; one whose ``__str__`` fails must not stop the settlement."""
    if what is None:
        return ""
    try:
        return str(what)
    except Exception as broken:
        return f"<text of a {type(what).__name__} cannot be read: {type(broken).__name__}>"
