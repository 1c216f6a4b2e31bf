"""Looks: what `leveler top` has seen of some workers so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from leveler.consumer.limits import Figures
from leveler.monitor.figures import AppFigures
from leveler.monitor.flow import QueueFlow, flows, limits
from leveler.monitor.watcher import Unreadable, Watcher

#: Of so many looks a curve is drawn.
CURVE_LOOKS: Final = 60


class Point(NamedTuple):
    """One queue at one look."""

    arriving: float
    waiting: float
    completing: float


class Looks:
    """The last look, what flowed since the one before, and the curves of those before that.

    Args:
        watcher: looks.
        maybe: where there need not be anybody.
    """

    def __init__(self, watcher: Watcher, maybe: Collection[str] = ()) -> None:
        self._watcher = watcher
        self._maybe = maybe
        self.workers: Mapping[str, AppFigures] = {}
        self.unreadable: Mapping[str, Unreadable] = {}
        self.flows: Mapping[str, QueueFlow] = {}
        self.limits: Mapping[str, Figures] = {}
        self.curves: dict[str, deque[Point]] = {}

    def again(self) -> None:
        found, before = self._watcher.look(), self.workers
        self.workers = {url: one for url, one in found.items() if isinstance(one, AppFigures)}
        self.unreadable = {
            url: one for url, one in found.items() if isinstance(one, Unreadable) and url not in self._maybe
        }
        self.flows, self.limits = flows(before, self.workers), limits(self.workers)
        if before:
            for name, flow in self.flows.items():
                self.curves.setdefault(name, deque(maxlen=CURVE_LOOKS)).append(_point(flow))

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "workers": {url: {"process": one.process, "ready": one.ready} for url, one in self.workers.items()},
            "unreadable": {url: one.why for url, one in self.unreadable.items()},
            "queues": {name: asdict(flow) for name, flow in self.flows.items()},
            "limits": self.limits,
        }


def _point(flow: QueueFlow) -> Point:
    waiting = flow.depth.waiting if flow.depth is not None else None
    return Point(flow.arriving_per_second or 0.0, waiting or 0, flow.completing_per_second or 0.0)
