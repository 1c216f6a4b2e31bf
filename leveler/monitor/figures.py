"""Figures: a running app at one moment. What the endpoint shows as JSON is this, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leveler.adapter import Depth
from leveler.consumer.limits import Figures
from leveler.consumer.report import Tally
from leveler.monitor.useful import Useful


@dataclass(frozen=True, kw_only=True)
class DepthFigures:
    """How many messages a queue holds for everybody; None where the broker cannot tell."""

    ready: int | None = None
    leased: int | None = None
    delayed: int | None = None
    dead: int | None = None
    oldest_age_seconds: float | None = None

    @classmethod
    def of(cls, depth: Depth) -> DepthFigures:
        return cls(**depth._asdict())

    @property
    def waiting(self) -> int | None:
        """All but the dead ones, as far as the broker tells."""
        known = [count for count in (self.ready, self.leased, self.delayed) if count is not None]
        return sum(known) if known else None


@dataclass(frozen=True, kw_only=True)
class ConsumerFigures:
    """How this process consumes one queue."""

    #: The broker's side knows it as a consumer.
    ready: bool
    #: Messages whose handlers run.
    running: int
    #: Deliveries that are held: running, waiting and being settled.
    held: int
    #: Bytes of their bodies.
    held_bytes: int
    #: How often each thing happened since the start.
    counts: Tally
    #: Of its own; None where it has none.
    limits: Figures | None = None
    #: Whose limits hold besides.
    downstream: str | None = None
    #: How many workers would be useful, as far as this one can tell.
    workers: Useful = field(default_factory=Useful)


@dataclass(frozen=True, kw_only=True)
class QueueFigures:
    """One queue that this process uses."""

    #: Messages that the broker has accepted from this process.
    sent: int
    #: None where the broker does not tell, or does not answer.
    depth: DepthFigures | None = None
    #: None where this process only sends.
    consumer: ConsumerFigures | None = None


@dataclass(frozen=True, kw_only=True)
class AppFigures:
    """Everything."""

    #: Host and process id.
    process: str
    #: Since the start, on a clock that only goes forward: rates are differences of counts over differences of this.
    up_seconds: float
    #: Every consumer that there is to be is consuming, and no stop is under way.
    ready: bool
    queues: Mapping[str, QueueFigures] = field(default_factory=dict[str, QueueFigures])
    #: Limits that queues may share.
    downstreams: Mapping[str, Figures] = field(default_factory=dict[str, Figures])
    #: What is weaker than promised and only an operator can judge, by queue.
    degraded: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
