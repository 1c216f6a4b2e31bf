"""Limits: never above them, never too early, never after the stop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from tests.simulation.ledger import Run
from tests.simulation.outcome import Outcome

#: What a rate may make up for after a late start, and what a worker takes for "now".
_TOLERANCE_SECONDS: Final = 0.05 + 1e-6


def no_more_run_at_once_than_allowed(outcome: Outcome) -> Iterator[str]:
    scenario = outcome.scenario
    for (process, queue), runs in _by_place(outcome).items():
        if (most := _most_at_once(runs, outcome)) > scenario.concurrency:
            yield f"{process} ran {most} of {queue} at once; {scenario.concurrency} are allowed"
    if scenario.shared_concurrency is not None:
        for process, runs in _by_process(outcome).items():
            if (most := _most_at_once(runs, outcome)) > scenario.shared_concurrency:
                yield f"{process} ran {most} at once; the downstream bears {scenario.shared_concurrency}"


def no_more_start_than_the_rate(outcome: Outcome) -> Iterator[str]:
    """In any span of time: as many as the rate gives, and one more."""
    rate = outcome.scenario.rate_per_second
    if rate is None:
        return
    for (process, queue), runs in _by_place(outcome).items():
        ahead = [run.began.at - number / rate for number, run in enumerate(sorted(runs, key=lambda run: run.began))]
        excess = max((most - one for one, most in zip(ahead, accumulate(ahead, max), strict=True)), default=0.0)
        if excess > _TOLERANCE_SECONDS:
            yield f"{process} started {queue} {excess:.3f} s ahead of its rate"


def a_suspect_runs_alone(outcome: Outcome) -> Iterator[str]:
    """One that arrives more often than it may be started: no other handler runs in its process."""
    for process, runs in _by_process(outcome).items():
        for suspect in runs:
            if suspect.handout.attempt <= outcome.scenario.max_attempts:
                continue
            for other in runs:
                overlap = other.began.number < _end(suspect, outcome) and suspect.began.number < _end(other, outcome)
                if other is not suspect and overlap and not other.handout.touched:
                    yield f"{suspect.handout} ran beside {other.handout} in {process}"


def nothing_starts_after_the_stop(outcome: Outcome) -> Iterator[str]:
    for process, runs in _by_process(outcome).items():
        if (stop := outcome.ledger.stops.get(process)) is not None:
            yield from (f"{run.handout} was started after the stop" for run in runs if run.began.at > stop.at)


def nothing_comes_early(outcome: Outcome) -> Iterator[str]:
    """Neither at first nor again. Where the broker keeps no delay the worker does, and trusts its wall clock."""
    kept = outcome.can.max_delay_seconds > 0
    for order in outcome.ledger.orders.values():
        for run in order.runs[: len(order.taken) < 2]:
            if run.began.at + (0.0 if kept else max(0.0, run.skew_seconds)) < order.not_before - _TOLERANCE_SECONDS:
                yield f"{order.id} was started at {run.began.at:.3f}, not due before {order.not_before:.3f}"
        if len(order.taken) > 1:
            continue
        for one, again in zip(order.handouts, order.handouts[1:], strict=False):
            if one.end and again.at.at < one.end.moment.at + one.end.delay_seconds - _TOLERANCE_SECONDS:
                yield f"{again} came {again.at.at - one.end.moment.at:.3f} s after {one}, not {one.end.delay_seconds}"


def _most_at_once(runs: Iterable[Run], outcome: Outcome) -> int:
    changes = sorted([(run.began.number, 1) for run in runs] + [(_end(run, outcome), -1) for run in runs])
    return max(accumulate(change for _, change in changes), default=0)


def _end(run: Run, outcome: Outcome) -> float:
    ended = run.ended or outcome.ledger.exits.get(run.process)
    return float("inf") if ended is None else ended.number


def _by_place(outcome: Outcome) -> Mapping[tuple[str, str], Sequence[Run]]:
    places: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for one in outcome.ledger.handouts:
        places[one.process, one.order.queue].extend(one.runs)
    return places


def _by_process(outcome: Outcome) -> Mapping[str, Sequence[Run]]:
    processes: dict[str, list[Run]] = defaultdict(list)
    for one in outcome.ledger.handouts:
        processes[one.process].extend(one.runs)
    return processes
