"""Round: what some round trips to the downstream have shown, all at one limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

#: So many times as long as it should take is too slow.
_SLOW: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a round is."""

    #: It lasts so many runs, at least, and so many seconds.
    runs: float = 1.0
    seconds: float = 0.0
    #: Whether it begins only when as many runs have ended as were under way before it.
    settles: bool = False
    #: What a run should take. A round that is not half as quick as that is over when it is two of them behind.
    latency_seconds: float = math.inf
    #: It is over then, whatever it lacks.
    due_at: float = math.inf
    #: Whether fewer runs than the downstream bears are let in, to measure something.
    measures: bool = False

    def is_over(self, now: float, limit: float, round: Round) -> bool:
        lasted = now - round.since
        is_enough = round.runs >= self.runs and lasted >= self.seconds
        is_slow = lasted >= _SLOW * self.latency_seconds * (1 + round.runs / limit)
        return is_enough or is_slow or now >= self.due_at


@dataclass(slots=True)
class Round:
    """Sums over the runs that succeeded since `since`."""

    since: float
    #: Runs that are still to end before it begins: they began under another limit, and show what was before.
    older: int = 0
    runs: int = 0
    #: Of these, those that ended while every place was taken.
    full_runs: int = 0
    #: Runs under way when each of them ended, itself included.
    inside: int = 0
    latency_seconds: float = 0.0
    squares: float = 0.0
    #: Runs that the downstream refused.
    refused: int = 0
    #: All runs under way, summed over time: those that have not ended yet count, too.
    inside_seconds: float = 0.0

    @property
    def mean_seconds(self) -> float:
        return self.latency_seconds / self.runs

    @property
    def cv(self) -> float:
        """Coefficient of variation of the latency."""
        mean = self.mean_seconds
        return math.sqrt(max(0.0, self.squares / self.runs - mean * mean)) / mean if mean else 0.0

    @property
    def is_full(self) -> bool:
        """Whether the limit was what kept more from starting: only then does it say anything about the limit."""
        return self.full_runs >= 0.8 * self.runs

    @property
    def per_second(self) -> float:
        """Completions, by Little's law: so a pause within the round does not count."""
        return self.inside / self.latency_seconds if self.latency_seconds else float("inf")


class Algorithm(Protocol):
    """Decides on the limit of an `AdaptiveConcurrency`, which counts for it and keeps its bounds.

    Times are monotonic seconds, limits may be fractions: what is below one whole run is carried on.
    """

    #: What is added to the limit for each run that succeeds while all places are taken.
    growth: float
    #: Of the round under way.
    plan: Plan

    @property
    def base_seconds(self) -> float | None:
        """Latency of a call that does not wait, as far as it is known."""
        ...

    def decide(self, now: float, limit: float, round: Round) -> float:
        """The limit of the next round, after one with at least one run."""
        ...

    def refused(self, now: float, limit: float, inside: int, round: Round, first: bool) -> float:
        """The limit, at once.

        Args:
            now: when.
            limit: until now.
            inside: runs that go on.
            round: under way.
            first: of those whose runs began after the last one that was first: once in a round trip.
        """
        ...

    def resumed(self, limit: float, goal: float) -> None:
        """The downstream is back from an outage. It starts again at `limit`, and bore `goal` before."""
        ...
