"""Flight: what was under way when faults struck, and how soon work went on after them. Read from the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.faults.doubt import Doubt
from tests.faults.ledger import COMPLETED, FAULT, Entry
from tests.faults.load import KILLERS, kind_of

#: Faults after which a connection stays open and says nothing any more; see subjects/served.py.
_SILENT: Final = ("half-open", "silent")


#: A fault under which the broker gives away what is still leased, and its leases as the harness has them: whoever
#: completes such a message cannot know that somebody else has it, too.
_CUTS_LEASES: Final = "leases that end early"
_LEASE_SECONDS: Final = 2.0

#: How long what was sent may still be on its way, and a process not yet know that there is no way any more.
_ON_ITS_WAY_SECONDS: Final = 1.0


class Recovery(NamedTuple):
    """How long nothing was started after a fault of the broker's."""

    seconds: float
    #: Which fault.
    fault: str
    #: When it was over.
    at: float


@dataclass
class Flight:
    """In numbers."""

    #: Faults that hit an operation on the wire, a process with runs in hand, or the broker while there were any.
    hits: int = 0
    #: Runs that a fault from outside hit, or that began under one, by message and attempt: not those that a neighbour's
    #: crash took along.
    struck: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    #: Runs that a fault or a crash could make happen again: not confirmed when it was over.
    at_risk: int = 0
    #: Faults whose silence nobody noticed.
    deaf: int = 0
    #: The longest time that a client waited for an answer that never came, in seconds.
    longest_silence: float = 0.0
    #: Settlements that were under way at a fault, however they were reported, by message; completions only where
    #: nobody confirms them.
    doubtful: Counter[str] = field(default_factory=Counter[str])
    #: Seconds from the end of each fault of the broker's to the next start, if there was anything to start.
    recoveries: list[Recovery] = field(default_factory=list[Recovery])


def flight_of(entries: Sequence[Entry], doubt: Doubt) -> Flight:
    """Of a whole ledger, in the order of time.

    Args:
        entries: all of it.
        doubt: which settlements a fault may undo.
    """
    walk = _Walk(doubt)
    ends = _ends(entries)
    for index, entry in enumerate(entries):
        walk.take(entry)
        for process in ends[index]:
            walk.end(process, entry)
    return walk.flight


def _ends(entries: Sequence[Entry]) -> Mapping[int, Sequence[str]]:
    """The processes that end with each entry: with the last that they wrote, or the fault that hit them after it."""
    last = {entry.process: index for index, entry in enumerate(entries)}
    for index, entry in enumerate(entries):
        struck = f"worker-{entry.id}"
        if entry.kind == FAULT and struck in last:
            last[struck] = max(last[struck], index)
    ends: defaultdict[int, list[str]] = defaultdict(list)
    for process, index in last.items():
        ends[index].append(process)
    return ends


class _Walk:
    def __init__(self, doubt: Doubt) -> None:
        self.flight = Flight()
        self._doubt = doubt
        #: Completions of late, where the broker does not say when they are carried out.
        self._told: deque[Entry] = deque()
        #: Those that the end of a connection came too soon after, by message: in doubt if it is started again.
        self._may_return: Counter[str] = Counter()
        #: What is told until then is in doubt.
        self._doubted_until = float("-inf")
        self._cuts_leases = False
        self._struck_process_at: dict[str, float] = {}
        self.open_runs: defaultdict[str, set[str]] = defaultdict(set)
        self._attempts: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._settled: deque[Entry] = deque()
        self._struck_at = 0.0
        self._over_at = -_ON_ITS_WAY_SECONDS
        #: What a fault that is on may make happen again.
        self._threatened: set[str] | None = None
        #: When a broker that had been away was back, and something was there to be started.
        self._since: float | None = None
        #: Which fault that had been.
        self._fault = ""
        self._nothing_to_do = False

    def take(self, entry: Entry) -> None:
        match entry.kind:
            case "acked":
                self._accepted(entry)
            case "start":
                self._started(entry)
            case "effect":
                self._waiting.discard(entry.id)
            case "completed" | "settled":
                self._has_settled(entry)
            case "gone":
                self.open_runs[entry.process].discard(entry.id)
            case "fault":
                self._struck(entry)
            case "back":
                self._back(entry)
            case "deaf":
                self.flight.deaf += 1
            case "over":
                self.flight.at_risk += len(self._threatened or ())
                self._threatened = None
                self._over_at = entry.at
                self._doubted_until = entry.at + _LEASE_SECONDS if self._cuts_leases else float("-inf")

    def _accepted(self, entry: Entry) -> None:
        self._waiting.add(entry.id)
        if self._nothing_to_do:
            self._since, self._nothing_to_do = entry.at, False

    def _started(self, entry: Entry) -> None:
        runs = self.open_runs[entry.process]
        runs.add(entry.id)
        self._attempts[entry.id] = int(entry.detail or 0)
        if self._may_return[entry.id]:
            self._may_return[entry.id] -= 1
            self.flight.doubtful[entry.id] += 1
        if self._threatened is not None:
            self._threatened.add(entry.id)
            self.flight.struck.add((entry.id, self._attempts[entry.id]))
        if kind_of(entry.id) in KILLERS:  # all that its process has in hand comes again
            self.flight.at_risk += len(runs)
        if self._since is not None:
            self.flight.recoveries.append(Recovery(entry.at - self._since, self._fault, self._since))
            self._since = None

    def _has_settled(self, entry: Entry) -> None:
        self.open_runs[entry.process].discard(entry.id)
        if self._threatened is not None:
            self._threatened.discard(entry.id)
        if entry.kind == COMPLETED and not self._doubt.answers_seconds:
            self._has_told(entry)
            return
        self._settled.append(entry)
        while self._settled[0].at < entry.at - _ON_ITS_WAY_SECONDS:
            self._settled.popleft()
        thawed = entry.at < self._struck_process_at.get(entry.process, -1e9) + self._doubt.answers_seconds
        on_its_way = max(_ON_ITS_WAY_SECONDS, self._doubt.answers_seconds)
        if self._threatened is not None or entry.at < self._over_at + on_its_way or thawed:
            self.flight.doubtful[entry.id] += 1
        if entry.detail == "MessageDeadLettered":
            self._waiting.discard(entry.id)

    def _has_told(self, entry: Entry) -> None:
        if entry.at < self._doubted_until:
            self.flight.doubtful[entry.id] += 1
        if self._doubt.completions:
            self._told.append(entry)
            while self._told[0].at < entry.at - _ON_ITS_WAY_SECONDS:
                self._told.popleft()

    def end(self, process: str, now: Entry) -> None:
        """That process is dead, and has nothing in hand any more."""
        self.open_runs.pop(process, None)
        self._unsure(now, process)

    def _unsure(self, now: Entry, process: str = "") -> None:
        """What was settled a moment ago may not have arrived, or not have been carried out."""
        self.flight.doubtful.update(_taken(self._settled, now.at - _ON_ITS_WAY_SECONDS, process))
        self._may_return.update(_taken(self._told, now.at - _ON_ITS_WAY_SECONDS, process))

    def _struck(self, entry: Entry) -> None:
        one = entry.id not in ("broker", "wire")
        hit = [self.open_runs[f"worker-{entry.id}"]] if one else list(self.open_runs.values())
        self._struck_at = entry.at
        self.flight.struck.update((id, self._attempts[id]) for runs in hit for id in runs)
        self.flight.hits += entry.id == "wire" or any(hit)
        if one:
            self._struck_process_at[f"worker-{entry.id}"] = entry.at
            self.flight.at_risk += sum(map(len, hit))
        else:
            self._unsure(entry)
            self._cuts_leases = entry.detail.startswith(_CUTS_LEASES)
            if self._cuts_leases or (self._doubt.completions and entry.id == "broker"):
                self._doubted_until = float("inf")
            self._threatened = (self._threatened or set()).union(*hit)
            self._since = None

    def _back(self, entry: Entry) -> None:
        if entry.detail.startswith(_SILENT):
            self.flight.longest_silence = max(self.flight.longest_silence, entry.at - self._struck_at)
        self._nothing_to_do = not self._waiting
        self._fault = entry.detail
        self._since = entry.at if self._waiting else None


def _taken(recent: deque[Entry], since: float, process: str) -> list[str]:
    """Take out what was settled since then, by that process if it has a name: which messages."""
    found = [entry for entry in recent if entry.at >= since and process in ("", entry.process)]
    for entry in found:
        recent.remove(entry)
    return [entry.id for entry in found]
