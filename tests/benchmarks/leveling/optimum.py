"""The optimum: what a clairvoyant consumer reaches, who keeps the downstream at its knee whenever anything waits.

With M(t) the work that the downstream can have done by t, in calls: a message starts when it has arrived and M has
grown by one since the one before it started, and is done one base latency later.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Capacity:
    """How many calls are served at once, over time: steps of (from when, how many)."""

    steps: Sequence[tuple[float, float]]
    latency_seconds: float

    def at(self, now: float) -> float:
        return self.steps[bisect_right([at for at, _ in self.steps], now) - 1][1]

    def spans(self, until: float) -> list[tuple[float, float, float]]:
        """(from, to, how many)."""
        ends = [at for at, _ in self.steps[1:]] + [until]
        return [(at, end, served) for (at, served), end in zip(self.steps, ends, strict=True)]


@dataclass(frozen=True)
class Optimum:
    """When each message is started and done."""

    arrived: Sequence[float]
    started: Sequence[float]
    done: Sequence[float]

    def busy(self, least_seconds: float, until: float) -> list[tuple[float, float]]:
        """The spans of at least that length in which something waits all the time."""
        spans: list[tuple[float, float]] = []
        for arrived, started in zip(self.arrived, self.started, strict=True):
            if started <= arrived or arrived >= until:
                continue
            if spans and arrived <= spans[-1][1]:
                spans[-1] = (spans[-1][0], min(until, max(spans[-1][1], started)))
            else:
                spans.append((arrived, min(until, started)))
        return [(since, end) for since, end in spans if end - since >= least_seconds]


def optimum(arrivals: Sequence[float], capacity: Capacity, until: float) -> Optimum:
    """Of messages that arrive at these times, as far as they are started by then."""
    spans = capacity.spans(until)
    grown = [0.0]
    for since, end, served in spans:
        grown.append(grown[-1] + (end - since) * served / capacity.latency_seconds)

    def work(now: float) -> float:
        index = max(0, bisect_right([span[0] for span in spans], now) - 1)
        return grown[index] + (now - spans[index][0]) * spans[index][2] / capacity.latency_seconds

    def when(amount: float) -> float:
        index = bisect_left(grown, amount) - 1
        if index >= len(spans):
            return float("inf")
        since, _, served = spans[max(0, index)]
        return since + (amount - grown[max(0, index)]) * capacity.latency_seconds / served if served else since

    arrived, started, done, next_free = list[float](), list[float](), list[float](), 0.0
    for at in arrivals:
        if at >= until:
            break
        start = max(at, when(max(next_free, 0.0))) if next_free > work(at) else at
        if start >= until:
            break
        next_free = max(work(start), next_free) + 1
        arrived.append(at)
        started.append(start)
        done.append(start + capacity.latency_seconds)
    return Optimum(arrived, started, done)
