"""Breaker: starts nothing at a downstream that is gone, and looks now and then whether it is back.

    closed      everything starts; runs are counted
    open        nothing starts until the next probe is due
    half-open   one run has started; it decides

It says so to those that `listen`: an adaptive limit learns nothing from an outage, and goes on where it was before.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from leveler.consumer.limits.limit import Figures, Verdict
from leveler.errors import ConfigError

# The first look is early, for what was only a hiccup. Then there is a second between two of them, at least.
_FIRST_PROBE_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = (1.0, 2.0)
# So that processes that lost their downstream together do not all look at the same moment.
_JITTER: Final = 0.1

_BUCKETS: Final = 10


class State(Enum):
    """What a breaker lets start."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, kw_only=True)
class BreakerPolicy:
    """When it opens."""

    #: Share of the runs of a window that failed or were refused.
    error_ratio: float = 0.5
    window_seconds: float = 10.0
    #: Fewer runs than this prove nothing.
    min_runs: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.error_ratio <= 1:
            raise ConfigError(f"breaker.error_ratio is {self.error_ratio}: expected more than 0, and 1 at most")
        if not 0 < self.window_seconds < float("inf"):
            raise ConfigError(f"breaker.window is {self.window_seconds} s: expected more than 0")
        if self.min_runs < 1:
            raise ConfigError(f"breaker.min_runs is {self.min_runs}: expected 1 or more")


class Breaker:
    """One downstream's.

    It opens on the error ratio of a window, and sooner where nothing at all succeeds: when twice as many runs as were
    under way have ended in a row, each of them badly. A downstream that refuses what is too much goes on to serve the
    rest, so that a limit which is too high is never taken for an outage.

    Args:
        policy: when it opens.
        rng: spreads the probes of many processes.
    """

    def __init__(self, policy: BreakerPolicy, rng: random.Random) -> None:
        self.policy = policy
        self.state = State.CLOSED
        self._rng = rng
        self._listeners: list[Callable[[float, State], object]] = []
        self._running = 0
        self._failed_in_row = 0
        self._bucket_seconds = policy.window_seconds / _BUCKETS
        self._until = float("-inf")
        self._buckets: deque[list[int]] = deque(maxlen=_BUCKETS)  # runs, and how many of them went badly
        self._opened_at = self._closed_at = float("-inf")
        self._probe_at = float("inf")
        self._probes = 0

    def listen(self, changed: Callable[[float, State], object]) -> None:
        """Call `changed` with the time and the new state, before anybody may start because of it."""
        self._listeners.append(changed)

    def credit(self, now: float, horizon_seconds: float) -> float:
        if self.state is State.CLOSED:
            return float("inf")
        return 1.0 if self.state is State.OPEN and self._probe_at <= now + horizon_seconds else 0.0

    def wait(self, now: float) -> float:
        if self.state is State.CLOSED:
            return 0.0
        return max(0.0, self._probe_at - now) if self.state is State.OPEN else float("inf")

    def start(self, now: float, runs: int) -> None:
        self._running += runs
        if self.state is State.OPEN:
            self._become(now, State.HALF_OPEN)

    def series(self, now: float, most: int) -> int:
        if self.state is State.CLOSED:
            return most
        return min(most, 1) if self.wait(now) == 0 else 0

    def finish(self, now: float, runs: int, latency_seconds: float, verdict: Verdict) -> None:
        self._running -= runs
        bad = verdict is Verdict.FAILURE or verdict is Verdict.OVERLOAD
        if self.state is not State.CLOSED:
            if now - latency_seconds >= self._opened_at:  # older ones were under way when it opened: no news
                self._probed(now, verdict)
        elif bad or verdict is Verdict.SUCCESS:
            self._count(now, runs, bad)
            if bad and self._is_gone():
                if now - self._closed_at > self.policy.window_seconds:  # else it has never been well: look as rarely
                    self._probes = 0
                self._open(now)

    def take_back(self, runs: int) -> None:
        self._running -= runs
        if self.state is State.HALF_OPEN:  # it may have been the probe: let another one start
            self.state = State.OPEN

    def figures(self) -> Figures:
        return {"breaker": self.state.value}

    def _count(self, now: float, runs: int, bad: bool) -> None:
        if now >= self._until:
            missed = min(_BUCKETS, int((now - self._until) / self._bucket_seconds)) if self._buckets else 0
            self._buckets.extend([0, 0] for _ in range(missed + 1))
            self._until = now + self._bucket_seconds
        bucket = self._buckets[-1]
        bucket[0] += runs
        if bad:
            bucket[1] += runs
            self._failed_in_row += runs
        else:
            self._failed_in_row = 0

    def _is_gone(self) -> bool:
        policy = self.policy
        if self._failed_in_row >= max(policy.min_runs, 2 * self._running):
            return True
        runs = sum(bucket[0] for bucket in self._buckets)
        bad = sum(bucket[1] for bucket in self._buckets)
        return runs >= policy.min_runs and bad >= policy.error_ratio * runs

    def _probed(self, now: float, verdict: Verdict) -> None:
        if verdict is Verdict.SUCCESS:
            self._buckets.clear()
            self._until = float("-inf")
            self._failed_in_row = 0
            self._closed_at = now
            self._become(now, State.CLOSED)
        else:
            if verdict is not Verdict.NOTHING:  # which was no look at the downstream: as before
                self._probes += 1
            self._open(now)

    def _open(self, now: float) -> None:
        after = _PROBE_SECONDS[min(self._probes, len(_PROBE_SECONDS)) - 1] if self._probes else _FIRST_PROBE_SECONDS
        self._opened_at = now
        self._probe_at = now + after * (1 + self._rng.uniform(0, _JITTER))
        self._become(now, State.OPEN)

    def _become(self, now: float, state: State) -> None:
        self.state = state
        for changed in self._listeners:
            changed(now, state)
