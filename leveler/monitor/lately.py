"""Lately: what the consumers of this process did of late, from their tallies whenever somebody looks; for `useful`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from leveler.adapter import Depth
from leveler.consumer.limits import Gate
from leveler.consumer.report import ConsumerHealth
from leveler.downstreams import Downstreams
from leveler.monitor.useful import Load, Useful, Way, useful
from leveler.settings import Settings

#: What is older counts for nothing, if there is anything newer.
_SPAN_SECONDS: Final = 60.0
#: Longer runs are too few in such a span for an average; they do not come and go so quickly either.
_LONG_SECONDS: Final = 10.0
#: However many look: so far apart looks are kept.
_APART_SECONDS: Final = 1.0


class _Look(NamedTuple):
    """What had been by one moment."""

    at: float
    ended: int
    run_seconds: float


class Recent:
    """What one consumer did of late.

    Args:
        now: it has done nothing before.
    """

    def __init__(self, now: float) -> None:
        self._looks = deque([_Look(now, 0, 0.0)])
        #: For how long a message took one place, when some last ended; None: none has.
        self.seconds_each: float | None = None
        #: Messages whose runs ended.
        self.per_second = 0.0
        #: Places that were taken on average.
        self.running = 0.0

    def look(self, now: float, ended: int, run_seconds: float) -> None:
        """By now, the runs of so many messages have ended since the start, and so long they took together."""
        while len(self._looks) > 1 and self._looks[1].at <= now - _SPAN_SECONDS:
            self._looks.popleft()
        first = self._looks[0]
        if ended > first.ended:
            self.seconds_each = (run_seconds - first.run_seconds) / (ended - first.ended)
        if now > first.at:
            self.per_second = (ended - first.ended) / (now - first.at)
            self.running = (run_seconds - first.run_seconds) / (now - first.at)
        if now >= self._looks[-1].at + _APART_SECONDS:
            self._looks.append(_Look(now, ended, run_seconds))


class Lately:
    """All consumers of a process.

    Args:
        settings: theirs.
        downstreams: whose gates they pass.
        now: they begin.
    """

    def __init__(self, settings: Settings, downstreams: Downstreams, now: float) -> None:
        self._settings = settings
        self._downstreams = downstreams
        self._began_at = now
        self._recent: dict[str, Recent] = {}

    def workers(
        self, now: float, consumers: Mapping[str, ConsumerHealth], depths: Mapping[str, Depth | None]
    ) -> dict[str, Useful]:
        """How many workers would be useful, by queue."""
        loads = {name: self._load(name, now, one, depths.get(name)) for name, one in consumers.items()}
        told: dict[str, Useful] = {}
        for name, consumer in consumers.items():
            ways = [self._way(gate, loads) for gate in self._gates(name)]
            said = useful(ways)
            told[name] = said if consumer.ready else Useful(needed=said.needed)
        return told

    def _load(self, name: str, now: float, consumer: ConsumerHealth, depth: Depth | None) -> Load:
        recent = self._recent.setdefault(name, Recent(self._began_at))
        recent.look(now, consumer.tally.started - consumer.running, consumer.tally.run_seconds)
        settings = self._settings.consumer(name)
        batch_size = settings.batch_size or 1
        is_quick = recent.seconds_each is not None and recent.seconds_each * batch_size <= _LONG_SECONDS
        backlog = None
        if depth is not None and depth.ready is not None:
            backlog = depth.ready + (consumer.held if depth.leased is None else depth.leased)
        return Load(
            backlog=backlog,
            seconds_each=recent.seconds_each,
            running=recent.running if is_quick else consumer.running / batch_size,
            per_second=recent.per_second,
            batch_size=batch_size,
            target_wait_seconds=settings.target_wait_seconds,
        )

    def _way(self, gate: Gate, loads: Mapping[str, Load]) -> Way:
        """What all consumers have to bring through one gate, which may be that of several."""
        passing = [load for name, load in loads.items() if gate in self._gates(name)]
        return Way(limits=gate.figures(), calm_seconds=gate.calm_seconds(), loads=passing)

    def _gates(self, name: str) -> list[Gate]:
        downstream = self._settings.consumer(name).downstream
        gates = [self._downstreams.own.get(name), self._downstreams.gates.get(downstream or "")]
        return [gate for gate in gates if gate is not None]
