"""Flow: two looks at some workers -> what flows through each queue. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from leveler.consumer.limits import Figures
from leveler.consumer.report import Tally
from leveler.monitor.figures import AppFigures, DepthFigures
from leveler.monitor.useful import together

#: The figures of some workers, by whatever tells them apart.
Look = Mapping[str, AppFigures]


@dataclass(frozen=True, kw_only=True)
class QueueFlow:
    """One queue at all workers together. Rates are per second between two looks; None where there was only one."""

    #: Those that consume it.
    workers: int
    #: Of them, those that the broker knows as consumers.
    ready: int
    sent: int
    counts: Tally
    running: int
    depth: DepthFigures | None
    #: Runs that the limits allow at once; None where nothing limits them.
    concurrency: float | None
    #: The state of the breakers; None where there are none.
    breaker: str | None
    #: Workers that would be useful; None where nobody can tell.
    useful_workers: int | None
    #: Messages that came into the queue, from anybody: by how much more waits, and what these workers have taken out.
    arriving_per_second: float | None = None
    completing_per_second: float | None = None
    retrying_per_second: float | None = None
    #: How long a run took on average.
    run_seconds: float | None = None


def flows(before: Look, now: Look) -> dict[str, QueueFlow]:
    """Every queue that any of the workers uses."""
    names = sorted({name for figures in now.values() for name in figures.queues})
    return {name: _flow(name, before, now) for name in names}


def limits(now: Look) -> dict[str, Figures]:
    """What stands between messages and their handlers, as the settings call it, at all workers together."""
    found: dict[str, list[Figures]] = {}
    for figures in now.values():
        for name, shown in figures.downstreams.items():
            found.setdefault(f"downstreams.{name}", []).append(shown)
        for name, queue in figures.queues.items():
            if queue.consumer is not None and queue.consumer.limits is not None:
                found.setdefault(f"consumers.{name}", []).append(queue.consumer.limits)
    return {name: added_up(shown) for name, shown in sorted(found.items())}


def added_up(shown: Sequence[Figures]) -> Figures:
    """The same limit at several workers: counts and rates add up, of times the longest counts, states are listed. A
    rate that is the fleet's is the same at all of them, and none of them has it alone."""
    together: dict[str, float | str] = {}
    shared = {"rate_per_second"} if any("rate_scope" in one for one in shown) else set[str]()
    for key in dict.fromkeys(key for one in shown for key in one):
        values = [one[key] for one in shown if key in one]
        numbers = [value for value in values if not isinstance(value, str)]
        if len(numbers) < len(values):
            together[key] = ", ".join(sorted({str(value) for value in values}))
        else:
            together[key] = max(numbers) if key.endswith("_seconds") or key in shared else sum(numbers)
    return together


def _flow(name: str, before: Look, now: Look) -> QueueFlow:
    queues = [figures.queues[name] for figures in now.values() if name in figures.queues]
    consumers = [queue.consumer for queue in queues if queue.consumer is not None]
    gates = [_gates(name, figures) for figures in now.values()]
    breakers = {str(shown["breaker"]) for passed in gates for shown in passed if "breaker" in shown}
    allowed = [most for passed in gates if (most := _concurrency(passed)) is not None]
    depths = [queue.depth for queue in queues if queue.depth is not None]
    return _with_rates(
        QueueFlow(
            workers=len(consumers),
            ready=sum(consumer.ready for consumer in consumers),
            sent=sum(queue.sent for queue in queues),
            counts=_sum([consumer.counts for consumer in consumers]),
            running=sum(consumer.running for consumer in consumers),
            depth=depths[0] if depths else None,
            concurrency=sum(allowed) if allowed else None,
            breaker=", ".join(sorted(breakers)) or None,
            useful_workers=together([consumer.workers for consumer in consumers]),
        ),
        [step for url, figures in now.items() if (step := _step(name, before.get(url), figures)) is not None],
    )


def _gates(name: str, figures: AppFigures) -> list[Figures]:
    """What the runs of one consumer pass."""
    queue = figures.queues.get(name)
    if queue is None or queue.consumer is None:
        return []
    passed = [queue.consumer.limits, figures.downstreams.get(queue.consumer.downstream or "")]
    return [shown for shown in passed if shown is not None]


def _concurrency(passed: Sequence[Figures]) -> float | None:
    return min((float(shown["concurrency"]) for shown in passed if "concurrency" in shown), default=None)


class _Step(NamedTuple):
    """One consumer, between two looks."""

    seconds: float
    #: What was counted in between.
    counts: Tally
    #: How many more wait; None where the broker does not tell.
    waiting: int | None


def _step(name: str, before: AppFigures | None, now: AppFigures) -> _Step | None:
    """None if there is nothing to compare: it is new, or another process than before."""
    if before is None or before.process != now.process or now.up_seconds <= before.up_seconds:
        return None
    was, is_ = before.queues.get(name), now.queues.get(name)
    if was is None or is_ is None or was.consumer is None or is_.consumer is None:
        return None
    counts = [getattr(is_.consumer.counts, f.name) - getattr(was.consumer.counts, f.name) for f in fields(Tally)]
    depths = [None if depth is None else depth.waiting for depth in (was.depth, is_.depth)]
    waiting = None if depths[0] is None or depths[1] is None else depths[1] - depths[0]
    return _Step(now.up_seconds - before.up_seconds, Tally(*counts), waiting)


def _with_rates(flow: QueueFlow, steps: Sequence[_Step]) -> QueueFlow:
    if not steps:
        return flow
    left = sum((step.counts.completed + step.counts.dead_lettered) / step.seconds for step in steps)
    grown = [step.waiting / step.seconds for step in steps if step.waiting is not None]
    ran = sum(step.counts.started for step in steps)
    return replace(
        flow,
        arriving_per_second=max(0.0, grown[0] + left) if grown else None,
        completing_per_second=sum(step.counts.completed / step.seconds for step in steps),
        retrying_per_second=sum(step.counts.retried / step.seconds for step in steps),
        run_seconds=sum(step.counts.run_seconds for step in steps) / ran if ran else None,
    )


def _sum(tallies: Sequence[Tally]) -> Tally:
    return Tally(*(sum(getattr(tally, field.name) for tally in tallies) for field in fields(Tally)))
