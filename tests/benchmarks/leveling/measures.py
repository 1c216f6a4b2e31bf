"""Measures: what a record says, against the optimum."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Final

from tests.benchmarks.leveling.optimum import Optimum, optimum
from tests.benchmarks.leveling.run import Record

#: A span counts in which the optimum has a backlog for so many base latencies.
_LEAST_SPAN: Final = 10
#: An adaptation is over where a window of so many base latencies is as it should be.
_WINDOW: Final = 10
#: The outage has been noticed by then, and has not been noticed sooner: calls are counted from here on.
_NOTICED_SECONDS: Final = 1.0


def measures(record: Record) -> dict[str, float]:
    """All figures of one run that its trace has."""
    trace, queue = record.trace, record.queue
    best = optimum(trace.arrivals, trace.capacity, trace.seconds)
    found = {
        "goodput": _goodput(record, best),
        "overload_share": _overload(record),
        "inside_mean": record.inside_seconds / trace.seconds / trace.shape.knee,
        **_waits(record, best),
    }
    if trace.arrivals[-1] == 0.0 and len(trace.capacity.steps) == 1:
        settled = [sample[1] for sample in record.samples if sample[0] > trace.seconds / 2]
        found["limit_cv"] = pstdev(settled) / fmean(settled) if fmean(settled) else 0.0
    if trace.name in ("half", "dead"):
        for word, (since, _) in zip(("down", "up"), trace.capacity.steps[1:], strict=True):
            found[f"adapt_{word}_s"] = _adapted(record, since)
            found[f"adapt_{word}"] = found[f"adapt_{word}_s"] / trace.shape.latency_seconds
    if trace.name == "dead":
        since, until = trace.capacity.steps[1][0] + _NOTICED_SECONDS, trace.capacity.steps[2][0]
        found["probes_per_s"] = _between(queue.calls, since, until) / (until - since) / trace.processes
        del found["adapt_down_s"], found["adapt_down"]
    return found


def _between(times: Sequence[float], since: float, until: float) -> int:
    return bisect_right(times, until) - bisect_left(times, since)


def _goodput(record: Record, best: Optimum) -> float:
    """Served, of what the optimum serves while it has a backlog: nobody can make up for that elsewhere."""
    trace = record.trace
    spans = best.busy(_LEAST_SPAN * trace.shape.latency_seconds, trace.seconds) or [(0.0, trace.seconds)]
    done = [at for _, at in record.queue.done]
    possible = sum(_between(best.done, since, until) for since, until in spans)
    return sum(_between(done, since, until) for since, until in spans) / possible


def _overload(record: Record) -> float:
    """Refused, of all calls, outages left out."""
    queue, refused, calls = record.queue, 0, 0
    for since, until, served in record.trace.capacity.spans(record.trace.seconds):
        if served:
            refused += _between(queue.refusals, since + 1e-9, until)
            calls += _between(queue.calls, since, until - 1e-9)
    return refused / max(1, calls)


def _waits(record: Record, best: Optimum) -> dict[str, float]:
    """From arrival to completion, of all that the optimum has done: what is not done is done at the end, at best."""
    trace = record.trace
    if trace.arrivals[-1] == 0.0:
        return {}
    ideal = sorted(done - arrived for arrived, done in zip(best.arrived, best.done, strict=True))
    last = best.arrived[-1]
    waits = [at - arrived for arrived, at in record.queue.done if arrived <= last]
    waiting = sorted(trace.arrivals[: len(ideal)])[len(waits) :]
    done = sorted(waits + [trace.seconds - arrived for arrived in waiting])
    found = {}
    for word, share in (("p50", 0.5), ("p99", 0.99)):
        found[f"wait_{word}_s"] = done[int(share * (len(done) - 1))]
        found[f"wait_{word}_optimum_s"] = ideal[int(share * (len(ideal) - 1))]
    spans = best.busy(_LEAST_SPAN * trace.shape.latency_seconds, trace.seconds)
    if spans:
        since, until = max(spans, key=lambda span: span[1] - span[0])
        found["drain_s"] = _drained(record, since, until)
        found["drain_optimum_s"] = until - since
    return found


def _drained(record: Record, since: float, until: float) -> float:
    """How long it took to serve all that had arrived in the longest span with a backlog."""
    due = bisect_right(record.trace.arrivals, until)
    done = [at for _, at in record.queue.done]
    return (done[due - 1] if due <= len(done) else record.trace.seconds) - since


def _adapted(record: Record, step: float) -> float:
    """Seconds from the step until a window serves nine tenths of what is possible, with hardly a refusal."""
    trace, queue = record.trace, record.queue
    window = _WINDOW * trace.shape.latency_seconds
    possible = trace.capacity.at(step) / trace.shape.latency_seconds
    done = [at for _, at in queue.done]
    end = next((at for at, _ in trace.capacity.steps if at > step), trace.seconds)
    fell = possible < trace.capacity.at(step - 1e-9) / trace.shape.latency_seconds
    for at, *_ in record.samples:
        if not step <= at <= end - window or (possible == 0):
            continue
        served = _between(done, at, at + window)
        refused = _between(queue.refusals, at, at + window)
        inside = [sample[2] for sample in record.samples if at <= sample[0] < at + window]
        crowded = fell and fmean(inside) > 1.5 * trace.capacity.at(step) + 1
        if served >= 0.9 * possible * window - 1 and refused <= 0.02 * (served + refused) and not crowded:
            return at - step
    return end - step
