"""Calm: where nothing goes wrong and nobody is stopped before the end, everything is exact."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.checker.honesty import total
from tests.simulation.ledger import Order
from tests.simulation.load import KINDS
from tests.simulation.outcome import Outcome


def all_is_exact_where_nothing_goes_wrong(outcome: Outcome) -> Iterator[str]:
    if not outcome.scenario.calm:
        return
    for order in outcome.ledger.orders.values():
        yield from _order(order, outcome.scenario.max_attempts)
    for worker in outcome.workers:
        tally = total(worker)
        if tally.lost or tally.settlements_failed or tally.stuck or tally.receivers_lost or worker.left:
            yield f"{worker.name} says {tally}, left {worker.left}"
        handouts = sum(one.process == worker.name for one in outcome.ledger.handouts)
        if tally.received != handouts:
            yield f"{worker.name} says that it received {tally.received}, and it was {handouts}"


def _order(order: Order, max_attempts: int) -> Iterator[str]:
    if len(order.ends) != 1 or len(order.taken) != 1:
        yield f"{order.id} was taken {len(order.taken)} times and ended {len(order.ends)} times"
        return
    end = order.ends[0].end
    reason = "" if end is None else end.reason
    expected_reason, expected_runs = _expected(order.kind, max_attempts)
    runs = len(order.runs)
    if order.kind != "stale" and (reason, runs) != (expected_reason, expected_runs):
        # Where the tail of a failed head cannot be given back uncounted, it has an attempt less.
        unstarted = any(one.end is not None and one.end.counted and not one.runs for one in order.handouts)
        if not (unstarted and expected_runs > 1 and reason in ("", "exhausted") and runs < expected_runs):
            yield f"{order.id} ended as {reason!r} after {runs} runs, not {expected_reason!r}, {expected_runs}"
    for one in order.handouts:
        if one.touched:
            yield f"{one} was touched by {one.touched}"


def _expected(kind: str, max_attempts: int) -> tuple[str, int]:
    match kind:
        case "undecodable" | "unknown":
            return KINDS[kind], 0
        case "raising" | "hanging":
            return KINDS[kind], max_attempts
        case "flaky":
            return ("", 3) if max_attempts >= 3 else ("exhausted", max_attempts)
        case "snoozing":
            return "", 3
        case "throttled":
            return "", 2
    return KINDS[kind], 1
