"""Fleet: whether all workers together kept to their rate, and each to its share while it did not hear from the store.

The numbers are the README's: a start is late by 0.1 s and by the time that the store took to answer, which is 1 s at
most. Besides, what a process decides in one turn of its loop may be written down late, if it stands still just then:
no more than is due within 0.1 s.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from tests.excess import most_above
from tests.faults.ledger import Entry

_LATE_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 1.0
#: Who has asked within so much is counted as a worker.
_PRESENT_SECONDS: Final = 60.0
#: What a share may make up for after a late start.
_CATCH_UP_SECONDS: Final = 0.05
#: When the store is back, everybody hears of it and goes on within so many seconds.
RECOVERY_SECONDS: Final = 10.0
#: An answer that was given during a fault is used up by then.
_AFTERMATH_SECONDS: Final = 3.0


def excesses(entries: Sequence[Entry], per_second: float) -> list[str]:
    """What was wrong, in words.

    Args:
        entries: the whole ledger, in the order of time.
        per_second: the rate of the fleet.
    """
    walk = _Walk(per_second)
    for entry in entries:
        walk.take(entry)
    return [*walk.wrong, *walk.judge()]


class _Walk:
    def __init__(self, per_second: float) -> None:
        self.wrong: list[str] = []
        self._rate = per_second
        #: Who keeps to its share, and what that may be; None: it may start nothing.
        self._shares: dict[str, float | None] = {}
        #: When each process was answered, and when it had asked for that.
        self._answered: defaultdict[str, list[float]] = defaultdict(list)
        self._asked: dict[str, float] = {}
        self._answers: list[tuple[float, float]] = []
        self._together: list[tuple[float, str]] = []
        self._alone: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        #: From the beginning of each fault of the store or the way to it until nobody feels it any more.
        self._storms: list[tuple[float, float]] = []
        self._storm_since: float | None = None
        self._calm_since = float("-inf")

    def take(self, entry: Entry) -> None:
        match entry.kind:
            case "fault" if entry.id in ("broker", "wire"):
                self._storm_since = entry.at if self._storm_since is None else self._storm_since
            case "over" if self._storm_since is not None:
                self._storms.append((self._storm_since, entry.at + _AFTERMATH_SECONDS))
                self._storm_since, self._calm_since = None, entry.at
            case "answer":
                self._hear(entry)
            case "alone":
                self._shares[entry.process] = self._share(entry.process)
            case "together":
                self._shares.pop(entry.process, None)
            case "start":
                self._start(entry)

    def _hear(self, entry: Entry) -> None:
        seconds = float(entry.detail)
        self._answers.append((entry.at, seconds))
        self._answered[entry.process].append(entry.at)
        self._asked[entry.process] = entry.at - seconds

    def _share(self, process: str) -> float | None:
        """By those who surely had asked before its last answer; there may be more."""
        if (asked_at := self._asked.get(process)) is None:
            return None
        present = {process}
        for other, times in self._answered.items():
            place = bisect_left(times, asked_at)
            if place and times[place - 1] > asked_at - _PRESENT_SECONDS + 2 * _PATIENCE_SECONDS:
                present.add(other)
        return self._rate / len(present)

    def _start(self, entry: Entry) -> None:
        if entry.process not in self._shares:
            if entry.process not in self._asked:
                self.wrong.append(f"{entry.id}: started by {entry.process}, which the store had never answered")
            self._together.append((entry.at, entry.process))
            return
        share = self._shares[entry.process]
        if share is None:
            self.wrong.append(f"{entry.id}: started by {entry.process}, which did not know its share")
            return
        self._alone[entry.process].append((entry.at, share))
        if self._storm_since is None and entry.at > self._calm_since + RECOVERY_SECONDS:
            self.wrong.append(f"{entry.id}: started by {entry.process} by its share, though the store is back")

    def judge(self) -> Iterator[str]:
        yield from self._above(self._together, _PATIENCE_SECONDS, "in all")
        for begin, end in self._calms():
            slowest = max((seconds for at, seconds in self._answers if begin <= at <= end), default=0.0)
            yield from self._above(
                [one for one in self._together if begin <= one[0] < end], slowest, f"from {begin:.3f}"
            )
        for process, starts in self._alone.items():
            share = max(share for _, share in starts)
            most = most_above([at for at, _ in starts], share)
            allowed = 2 + share * (_CATCH_UP_SECONDS + _LATE_SECONDS)
            if most > allowed:
                yield f"{process} started {most:.1f} above its share of {share:g}/s; {allowed:.1f} are allowed"

    def _above(self, starts: Sequence[tuple[float, str]], slowest: float, when: str) -> Iterator[str]:
        stalled = self._workers(starts) * (1 + self._rate * _LATE_SECONDS)
        allowed = 1 + self._rate * (_LATE_SECONDS + min(slowest, _PATIENCE_SECONDS)) + stalled
        if (most := most_above([at for at, _ in starts], self._rate)) > allowed:
            yield f"{most:.1f} starts above {self._rate:g}/s in some span {when}; {allowed:.1f} are allowed"

    @staticmethod
    def _workers(starts: Sequence[tuple[float, str]]) -> int:
        """The most that were there at once, as far as their starts show."""
        begins: dict[str, float] = {}
        ends: dict[str, float] = {}
        for at, process in starts:
            begins.setdefault(process, at)
            ends[process] = at
        return max((sum(begins[one] <= at <= ends[one] for one in begins) for at in begins.values()), default=0)

    def _calms(self) -> Iterator[tuple[float, float]]:
        """The times in which the store was well."""
        begin = float("-inf")
        for since, until in self._storms:
            if since > begin:
                yield begin, since
            begin = max(begin, until)
        yield begin, self._storm_since if self._storm_since is not None else float("inf")
