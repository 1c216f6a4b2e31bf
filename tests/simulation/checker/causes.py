"""Causes: nothing happens to a delivery without one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tests.simulation.ledger import CUT, EFFECT, End, Handout, Run
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import FLOOR_SECONDS

#: Outcomes that count no attempt.
LATER: Final = ("Snooze", "Throttled")


def a_completion_follows_an_effect(outcome: Outcome) -> Iterator[str]:
    for one, end in _ended(outcome, "complete"):
        if not any(_is_effect(run) and run.ended and run.ended.number < end.moment.number for run in one.runs):
            yield f"{one} was completed without an effect"


def an_effect_is_followed_by_its_completion(outcome: Outcome) -> Iterator[str]:
    """Duplicates are bounded: a second effect needs a first one whose completion a fault has touched."""
    for one in outcome.ledger.handouts:
        completed = one.end is not None and one.end.verb == "complete"
        if any(map(_is_effect, one.runs)) and not completed and not one.touched:
            yield f"{one} had its effect and ended as {one.end and one.end.verb}"


def what_is_given_back_was_due_to_be(outcome: Outcome) -> Iterator[str]:
    for one, end in _ended(outcome, "abandon"):
        last = one.runs[-1].outcome if one.runs else None
        if wrong := _wrongly_given_back(one, end, last, outcome):
            yield f"{one} was given back {'counted' if end.counted else 'uncounted'} after {last}: {wrong}"


def what_is_dead_had_to_die(outcome: Outcome) -> Iterator[str]:
    for one, end in _ended(outcome, "dead_letter"):
        if not _had_to_die(one, end.reason, outcome):
            last = one.runs[-1].outcome if one.runs else None
            yield f"{one} was dead-lettered as {end.reason!r} after {last}"


def nothing_is_left_to_its_lease(outcome: Outcome) -> Iterator[str]:
    """Whatever a worker has got it gives back, unless a fault keeps it from it; or it says what it left."""
    said = {worker.name for worker in outcome.workers if worker.left}
    for one in outcome.ledger.handouts:
        if one.end is None and not one.touched and one.heard and one.process not in said:
            yield f"{one} was left to its lease"


def a_delivery_is_started_once(outcome: Outcome) -> Iterator[str]:
    """And before it is settled. One that had to be kept for later may be started again."""
    for one in outcome.ledger.handouts:
        for earlier, later in pairwise(one.runs):
            if earlier.outcome not in LATER:
                yield f"{one} was started again after {earlier.outcome!r}"
            elif earlier.ended and later.began.number < earlier.ended.number:
                yield f"{one} was started twice at once"
        if one.end and one.runs and one.runs[-1].began.number > one.end.moment.number:
            yield f"{one} was started after it had been settled"


def a_run_begins_within_its_lease(outcome: Outcome) -> Iterator[str]:
    """As far as the worker can know."""
    for one in outcome.ledger.handouts:
        for run in one.runs:
            if run.began.at >= run.leased_until:
                yield f"{one} was started at {run.began.at:.3f}, its lease was over at {run.leased_until:.3f}"


def attempts_are_counted_by_the_broker(outcome: Outcome) -> Iterator[str]:
    """Each one is one more than the last, unless that was given back uncounted."""
    exact = outcome.can.attempts == "exact"
    for order in outcome.ledger.orders.values():
        if len(order.taken) > 1:
            continue
        expected = 1
        for one in order.handouts:
            if one.attempt < expected or (exact and one.attempt > expected):
                yield f"{one} should have been attempt {expected}"
            expected = one.attempt + (one.end is None or one.end.counted)


def _ended(outcome: Outcome, verb: str) -> Iterator[tuple[Handout, End]]:
    for one in outcome.ledger.handouts:
        if one.end is not None and one.end.verb == verb:
            yield one, one.end


def _is_effect(run: Run) -> bool:
    return run.outcome == EFFECT


def _failed(outcome: str | None) -> bool:
    return outcome is not None and outcome not in (EFFECT, *LATER)


def _wrongly_given_back(one: Handout, end: End, last: str | None, outcome: Outcome) -> str:
    if last == EFFECT:
        return "it had its effect"
    unstarted_counts = outcome.can.uncounted == "none"
    if last is None and one.order.kind == "unknown" and end.counted:
        return "" if end.delay_seconds >= FLOOR_SECONDS or unstarted_counts else "too soon"
    if _failed(last):
        if not end.counted:
            return "a failure counts"
        return "too soon" if last != CUT and end.delay_seconds < FLOOR_SECONDS else ""
    if end.counted and not unstarted_counts:
        return "nothing had failed"
    return "too soon" if last in LATER and one.process not in outcome.ledger.stops and not end.delay_seconds else ""


def _ended_processes(one: Handout, outcome: Outcome) -> bool:
    """Whether it has been started alone often enough without an end that anybody has heard of."""
    scenario = outcome.scenario
    if outcome.can.solos == "attempts":
        return one.attempt > scenario.max_deliveries
    unheard = [earlier for earlier in one.order.handouts if earlier.solo and earlier.end is None]
    began = [earlier for earlier in unheard if earlier.runs or earlier.touched]
    return len(began) >= scenario.max_deliveries - scenario.max_attempts


def _had_to_die(one: Handout, reason: str, outcome: Outcome) -> bool:
    last = one.runs[-1].outcome if one.runs else None
    exhausted = one.attempt >= outcome.scenario.max_attempts
    match reason:
        case "rejected":
            return last == "Reject"
        case "exhausted":
            return _failed(last) and exhausted
        case "undecodable":
            return not one.runs and one.order.kind == "undecodable"
        case "unknown-type":
            return not one.runs and one.order.kind == "unknown" and exhausted
        case "crash-loop":
            return not one.runs and _ended_processes(one, outcome)
        case "expired":
            return not one.runs and one.order.kind == "stale"
    return False
