"""Adaptive concurrency: as many runs at once as the downstream serves well, found and followed.

A consumer has no caller who waits, so it may dip to measure; and what it could do and does not costs time only, while
what is too much costs the downstream. Two phases:

    app-limited           fewer runs than the limit allows: the latency of a call that does not wait is learnt here;
                          nothing is learnt about the limit, which stays where it is
    downstream-limited    every place is taken: the limit moves

An outage is the breaker's: while it is not closed nothing is learnt, and then the limit starts at half of what it was.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from leveler.consumer.limits.breaker import State
from leveler.consumer.limits.limit import Figures, Verdict
from leveler.consumer.limits.pace import Pace
from leveler.consumer.limits.round import Algorithm, Round

#: Where it starts: low enough for any downstream, and it doubles each round trip.
FIRST_LIMIT: Final = 4

# Nothing that is so quick has called anybody.
_INSTANT_SECONDS: Final = 1e-6


class Phase(Enum):
    """What limits the runs at once."""

    APP_LIMITED = "app-limited"
    DOWNSTREAM_LIMITED = "downstream-limited"


class AdaptiveConcurrency:
    """At most `limit` runs at once, between two bounds.

    Args:
        minimum: it never goes below.
        maximum: nor above.
        algorithm: decides.
    """

    def __init__(self, minimum: int, maximum: int, algorithm: Algorithm) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.algorithm = algorithm
        self.limit = float(min(max(FIRST_LIMIT, minimum), maximum))
        self.running = 0
        #: Runs that the downstream has refused, outages left out.
        self.refused = 0
        self.phase = Phase.APP_LIMITED
        self.held_back_at = float("-inf")
        self._pace = Pace()
        self._round: Round | None = None
        self._cut_at = float("-inf")
        # Runs under way, summed over time, up to `_moved_at`.
        self._inside_seconds = 0.0
        self._moved_at = 0.0
        # The limit of the last round without a refusal.
        self._sound = self.limit
        self._is_out = False
        # When the last outage ended: what had begun before says nothing.
        self._back_at = float("-inf")

    @property
    def base_seconds(self) -> float | None:
        """Latency of a call that does not wait in the downstream, as far as it is known."""
        return self.algorithm.base_seconds

    @property
    def places(self) -> int:
        """Runs at once, for now."""
        return int(self.limit + 0.5)

    def credit(self, now: float, horizon_seconds: float) -> float:
        return self.places - self.running + self._pace.per_second(now) * horizon_seconds

    def wait(self, now: float) -> float:
        return 0.0 if self.running < self.places else float("inf")

    def start(self, now: float, runs: int) -> None:
        self._move(now, runs)
        if self._round is None:
            self._begin(now)

    def series(self, now: float, most: int) -> int:
        return most if self.running < self.places else 0

    def take_back(self, runs: int) -> None:
        self.running -= runs

    def finish(self, now: float, runs: int, latency_seconds: float, verdict: Verdict) -> None:
        was = self.running
        self._move(now, -runs)
        self._pace.ended += runs
        if self._is_out or now - latency_seconds < self._back_at:
            return
        if verdict is Verdict.SUCCESS:
            self._served(now, runs, latency_seconds, was)
        elif verdict is Verdict.OVERLOAD:
            self._refused(now, runs, latency_seconds)
        elif self._round is not None:
            self._round.older -= runs

    def figures(self) -> Figures:
        shown: dict[str, float | str] = {
            "concurrency": int(self.limit + 0.5),
            "concurrency_max": self.maximum,
            "running": self.running,
            "phase": self.phase.value,
            "refused": self.refused,
        }
        return shown if self.base_seconds is None else {**shown, "base_seconds": self.base_seconds}

    def breaker_changed(self, now: float, state: State) -> None:
        """For `Breaker.listen`."""
        if state is State.CLOSED:
            self._back_at = now
            self.limit = self._within(self._sound / 2)
            self.algorithm.resumed(self.limit, self._sound)
        self._is_out = state is not State.CLOSED
        self._round = None

    def _served(self, now: float, runs: int, latency_seconds: float, was: int) -> None:
        round, algorithm = self._round, self.algorithm
        if round is None:  # it was never told of a start
            return
        # Others may have ended at the same moment, with nobody in their place yet. And runs that came as a series ran
        # one after another: they took one place.
        is_full = runs == 1 and was >= 0.9 * self.places - 1
        if is_full and algorithm.growth:
            self.limit = self._within(self.limit + algorithm.growth)
        if round.older > 0:
            self._settle(now, runs, round)
            return
        round.runs += runs
        round.full_runs += is_full
        round.inside += runs * was
        round.latency_seconds += runs * latency_seconds
        round.squares += runs * latency_seconds * latency_seconds
        if algorithm.plan.is_over(now, self.limit, round):
            self._decide(now, round)

    def _decide(self, now: float, round: Round) -> None:
        self.phase = Phase.DOWNSTREAM_LIMITED if round.is_full else Phase.APP_LIMITED
        if round.is_full and self.limit < self.maximum and not self.algorithm.plan.measures:
            self.held_back_at = now
        if not round.refused:
            self._sound = self.limit
        round.inside_seconds += self._inside_seconds
        if round.mean_seconds > _INSTANT_SECONDS:
            self.limit = self._within(self.algorithm.decide(now, self.limit, round))
        self._begin(now)

    def _begin(self, now: float) -> None:
        """Another round."""
        older = self.running if self.algorithm.plan.settles else 0
        self._round = Round(now, older, inside_seconds=-self._inside_seconds)

    def _settle(self, now: float, runs: int, round: Round) -> None:
        round.older -= runs
        round.since, round.inside_seconds = now, -self._inside_seconds

    def _move(self, now: float, runs: int) -> None:
        self._inside_seconds += self.running * (now - self._moved_at)
        self._moved_at = now
        self.running += runs

    def _refused(self, now: float, runs: int, latency_seconds: float) -> None:
        self.refused += runs
        if self._round is None:
            return
        self._round.refused += runs
        self._round.older -= runs
        first = now - latency_seconds >= self._cut_at
        if first:
            self._cut_at = now
        self.limit = self._within(self.algorithm.refused(now, self.limit, self.running, self._round, first))

    def _within(self, limit: float) -> float:
        return min(max(limit, self.minimum), self.maximum)
