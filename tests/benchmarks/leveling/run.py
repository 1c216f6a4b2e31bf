"""Run: one row on one trace in virtual time, and everything that happened in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from leveler.consumer.limits import Limit
from tests.benchmarks.leveling.clock import EventClock
from tests.benchmarks.leveling.downstream import Downstream, Shape, downstream
from tests.benchmarks.leveling.traces import Trace
from tests.benchmarks.leveling.worker import Delay, Message, Queue, Worker


@dataclass(frozen=True)
class Row:
    """One way to limit.

    Args:
        limits: of one process: made from the shape, which only clairvoyant rows look at, and from chance.
        delay: how long a refused message stays away.
    """

    limits: Callable[[Shape, random.Random], Sequence[Limit]]
    delay: Delay


@dataclass
class Record:
    """What happened."""

    trace: Trace
    queue: Queue
    downstream: Downstream
    #: (time, all limits together, calls inside, refused so far, served so far), each base latency.
    samples: list[tuple[float, float, int, int, int]] = field(default_factory=list)
    inside_seconds: float = 0.0


def run(trace: Trace, row: Row, seed: int) -> Record:
    """`row` on `trace`, always the same for the same seed."""
    clock, name = EventClock(), f"{trace.name} {seed}"
    called = downstream(trace.shape, clock, random.Random(f"downstream {name}"))
    queue = Queue()
    record = Record(trace, queue, called)
    limits = [list(row.limits(trace.shape, random.Random(f"{name} {n}"))) for n in range(trace.processes)]
    for number, own in enumerate(limits):
        queue.workers.append(Worker(queue, own, called, row.delay, clock, f"worker {name} {number}"))
    for at, served in trace.capacity.steps[1:]:
        clock.call_later(at, partial(called.become, served))
    _let_arrive(trace, queue, clock)
    _sample(record, [own[-1] for own in limits], clock)
    clock.run(trace.seconds)
    record.inside_seconds = called.inside_until_now()
    return record


def _let_arrive(trace: Trace, queue: Queue, clock: EventClock) -> None:
    at_once = sum(at == 0 for at in trace.arrivals)
    later = iter(trace.arrivals[at_once:])

    def arrive(at: float) -> None:
        queue.put([Message(at)])
        following()

    def following() -> None:
        at = next(later, None)
        if at is not None:
            clock.call_later(at - clock.monotonic(), lambda: arrive(at))

    clock.call_later(0, lambda: queue.put([Message(0.0) for _ in range(at_once)]))
    following()


def _sample(record: Record, limits: Sequence[Limit], clock: EventClock) -> None:
    """The last limit of a process is the one that is looked at."""

    def sample() -> None:
        total = sum(getattr(limit, "limit", 0.0) for limit in limits)
        called, queue = record.downstream, record.queue
        record.samples.append((clock.monotonic(), total, called.inside, len(queue.refusals), len(queue.done)))
        clock.call_later(record.trace.shape.latency_seconds, sample)

    sample()
