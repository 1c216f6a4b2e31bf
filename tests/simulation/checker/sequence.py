"""Sequence: what comes after what, and what may not be at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.simulation.ledger import Order, Run
from tests.simulation.outcome import Outcome


def a_key_is_handled_in_order(outcome: Outcome) -> Iterator[str]:
    """In an ordered queue a run starts when all that was sent before it with its key has ended."""
    if not outcome.scenario.ordered:
        return
    lanes: dict[tuple[str, str], list[Order]] = defaultdict(list)
    for order in sorted(outcome.ledger.orders.values(), key=lambda order: order.taken[:1]):
        if order.key is None or not order.taken:
            continue
        lane = lanes[order.queue, order.key]
        for run in order.runs:
            yield from (f"{run.handout} was started before {o.id} had ended" for o in lane if not _ended(o, run))
        lane.append(order)


def a_message_is_run_once_at_a_time(outcome: Outcome) -> Iterator[str]:
    """A second run beside the first needs a fault: the first has lost its lease, and perhaps does not know it yet."""
    for order in outcome.ledger.orders.values():
        if len(order.taken) > 1:
            continue
        runs = order.runs
        for index, later in enumerate(runs):
            for earlier in runs[:index]:
                if _runs_at(earlier, later, outcome) and not earlier.handout.touched:
                    yield f"{later.handout} was started while {earlier.handout} was running"


def _ended(order: Order, run: Run) -> bool:
    return any(one.end is not None and one.end.moment.number < run.began.number for one in order.ends)


def _runs_at(run: Run, later: Run, outcome: Outcome) -> bool:
    """Whether `run` was still running when `later` began."""
    ended = run.ended or outcome.ledger.exits.get(run.process)
    return ended is None or ended.number > later.began.number
