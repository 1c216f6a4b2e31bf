"""Measures: the figures under the names that metrics have. Pure, and of no metrics library.

Names keep Prometheus' conventions: a prefix, the unit last, ``_total`` for counters (which the library adds). Where
OpenTelemetry has a word for something (sent, received, messages, queue), it is the word here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from leveler.consumer.limits import Figures
from leveler.monitor.figures import AppFigures, ConsumerFigures, DepthFigures
from leveler.monitor.useful import Useful

Kind = Literal["counter", "gauge"]
Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True)
class Measure:
    """One metric with all its values."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...]
    #: By the values of the labels.
    values: Values


#: Field of `Tally` -> metric, and what it counts.
_COUNTS: Final[Mapping[str, tuple[str, str]]] = {
    "received": ("received_messages", "Deliveries that the broker handed to this process"),
    "started": ("started_messages", "Deliveries whose handler run began"),
    "completed": ("completed_messages", "Messages whose completion the broker took"),
    "retried": ("retried_messages", "Messages given back, counted, to be tried again"),
    "dead_lettered": ("dead_lettered_messages", "Messages that this process gave up"),
    "lost": ("lost_leases", "Deliveries whose lease ended before they were settled"),
    "settlements_failed": ("failed_settlements", "Settlements that the broker refused at first"),
    "stuck": ("stuck_handlers", "Runs past their timeout that could not be stopped"),
    "receivers_lost": ("lost_receivers", "Receivers that were lost or could not be made"),
    "run_seconds": ("run_seconds", "How long the runs that have ended took together"),
}

_UNFIT: Final = re.compile(r"[^a-z0-9_]")


def measures(figures: AppFigures) -> Iterator[Measure]:
    """All of them."""
    consumers = {name: queue.consumer for name, queue in figures.queues.items() if queue.consumer is not None}
    sent = {name: queue.sent for name, queue in figures.queues.items()}
    yield _by_queue("counter", "sent_messages", "Messages that the broker took from this process", sent)
    yield from _counted(consumers)
    yield from _now(consumers)
    yield from _useful({name: one.workers for name, one in consumers.items()})
    yield from _waiting({name: queue.depth for name, queue in figures.queues.items() if queue.depth is not None})
    yield from _limiting(
        {f"downstreams.{name}": limits for name, limits in figures.downstreams.items()}
        | {f"consumers.{name}": one.limits for name, one in consumers.items() if one.limits is not None}
    )


def _by_queue(kind: Kind, name: str, help: str, values: Mapping[str, float]) -> Measure:
    return Measure(kind, f"leveler_{name}", help, ("queue",), {(queue,): value for queue, value in values.items()})


def _counted(consumers: Mapping[str, ConsumerFigures]) -> Iterator[Measure]:
    for field, (name, help) in _COUNTS.items():
        counts = {queue: getattr(one.counts, field) for queue, one in consumers.items()}
        yield _by_queue("counter", name, help, counts)
    help = "Messages given back although nothing had failed; 'counted' where the broker counts an attempt all the same"
    returned: dict[tuple[str, ...], float] = {}
    for queue, one in consumers.items():
        returned[queue, "false"] = one.counts.returned
        returned[queue, "true"] = one.counts.returned_counted
    yield Measure("counter", "leveler_returned_messages", help, ("queue", "counted"), returned)


def _now(consumers: Mapping[str, ConsumerFigures]) -> Iterator[Measure]:
    running = {queue: one.running for queue, one in consumers.items()}
    held = {queue: one.held for queue, one in consumers.items()}
    held_bytes = {queue: one.held_bytes for queue, one in consumers.items()}
    ready = {queue: float(one.ready) for queue, one in consumers.items()}
    yield _by_queue("gauge", "running_messages", "Messages whose handlers run", running)
    yield _by_queue("gauge", "held_messages", "Deliveries that this process holds", held)
    yield _by_queue("gauge", "held_bytes", "Bytes of their bodies", held_bytes)
    yield _by_queue("gauge", "consumer_ready", "1 while the broker knows this process as a consumer", ready)


def _useful(told: Mapping[str, Useful]) -> Iterator[Measure]:
    needed = {queue: one.needed for queue, one in told.items() if one.needed is not None}
    busy = {queue: one.busy for queue, one in told.items()}
    borne = {queue: one.borne for queue, one in told.items()}
    yield _by_queue(
        "gauge", "needed_workers", "Workers that the backlog needs, about the same at all: take the max", needed
    )
    yield _by_queue("gauge", "busy_workers", "How much of this worker is in use, 0 to 1: take the sum", busy)
    yield _by_queue("gauge", "borne_workers", "Workers that the downstream bears for this one: take the sum", borne)


def _waiting(depths: Mapping[str, DepthFigures]) -> Iterator[Measure]:
    """What the broker cannot tell is left out: a 0 would be a lie."""
    counts: dict[tuple[str, ...], float] = {}
    for queue, depth in depths.items():
        for state in ("ready", "leased", "delayed", "dead"):
            if (count := getattr(depth, state)) is not None:
                counts[queue, state] = count
    yield Measure("gauge", "leveler_queue_messages", "Messages in the queue, for everybody", ("queue", "state"), counts)
    ages = {queue: age for queue, depth in depths.items() if (age := depth.oldest_age_seconds) is not None}
    yield _by_queue("gauge", "queue_oldest_age_seconds", "How long the oldest ready message has waited", ages)


def _limiting(limits: Mapping[str, Figures]) -> Iterator[Measure]:
    """Whatever the limits show: a number is a gauge, a state is a 1 at its word."""
    numbers: dict[str, dict[tuple[str, ...], float]] = {}
    states: dict[str, dict[tuple[str, ...], float]] = {}
    for limit, shown in limits.items():
        for key, value in shown.items():
            name = f"leveler_limit_{_UNFIT.sub('_', key.lower())}"
            if isinstance(value, str):
                states.setdefault(f"{name}_state", {})[limit, value] = 1.0
            else:
                numbers.setdefault(name, {})[limit,] = float(value)
    for name, values in numbers.items():
        yield Measure("gauge", name, "What the limits of a consumer or a downstream show", ("limit",), values)
    for name, values in states.items():
        yield Measure("gauge", name, "1 at the state that a limit is in", ("limit", "state"), values)
