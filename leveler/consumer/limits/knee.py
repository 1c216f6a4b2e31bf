"""Knee: Little's law says how many calls are really served at once: the rate of completions x the latency of a call
that does not wait. The limit is that and a little more.

    ramp    one more for each success, until the latency rises or the downstream refuses
    hold    rounds of some round trips; each gives the knee in one step
    dip     a few round trips with fewer calls, now and then: what the latency is when nobody waits

What a latency means is never believed without a check. Fewer calls at once with the same latency each: nobody waited,
so the base was too low and is raised. A dip that makes every call quicker in proportion: everybody still waits, so it
dips on. Noise is told from change by the coefficient of variation: heavy tails make rounds longer, not wrong.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final, NamedTuple

from leveler.consumer.limits.round import Round

#: Above the knee, so that a call that ends finds another one in line: an idle place is not made up for.
_HEADROOM: Final = 1.1
_ROOT: Final = 0.35
#: Of the knee, in a dip, and how long one is measured in round trips.
_DIP: Final = 0.8
_FIRST_DIP: Final = 0.7
_DIP_TRIPS: Final = (3.0, 8.0)
#: Between dips, in base latencies; rounded up to a power of two of seconds.
_DIP_EVERY: Final = 60.0
#: So exact a mean is wanted of a round, and of the base.
_DIP_ERROR: Final = 0.1
_BASE_ERROR: Final = 0.04
_ROUND_RUNS: Final = 20.0
#: A round is no longer, however exact it should be.
_ROUND_TRIPS: Final = 5.0
#: How far above the base a latency is no sign of a queue, beside its noise.
_TOLERANCE: Final = 0.15
_LESS: Final = 0.85
#: So many fewer calls must be quicker, if any of them had waited.
_FEWER: Final = 0.75
#: A base whose own error is above that may be far too low.
_TRUST: Final = 0.1
#: A rate that has changed by less than that share is averaged with the one before.
_CHANGE: Final = 0.25
#: Between two looks above a limit at which the downstream refused, in base latencies: soon at first, and less and
#: less often where it goes on to refuse.
_LOOK_EVERY: Final = (5.0, 40.0)
#: After one that met no refusal.
_LOOK_AGAIN: Final = 2.0
#: Nobody waits at a latency up to so many bases.
_IDLE: Final = 1.08
#: How much faster the limit grows in each round in which nobody waits, and at most.
_FASTER: Final = 1.1
_FASTEST: Final = 1.4


class _Mode(Enum):
    RAMP = "ramp"
    HOLD = "hold"
    DIP = "dip"


class _Seen(NamedTuple):
    limit: float
    latency: float
    per_second: float
    runs: int


class Knee:
    """Args:
    wall_seconds: the wall clock's time less the monotonic clock's: processes that share a downstream and no store
        dip together, so that none of them takes the others' queue for the base.
    """

    def __init__(self, wall_seconds: float = 0.0) -> None:
        self.growth = 0.0
        self.round_runs = 4.0
        self.round_seconds = 0.0
        self.settle_seconds = 0.0
        self.due_at = float("inf")
        self.base_seconds: float | None = None
        #: Coefficient of variation of the service time.
        self.cv = 0.8
        self._wall = wall_seconds
        self._mode = _Mode.RAMP
        self._goal = float("inf")
        self._base_runs = 0.0
        self._held: _Seen | None = None
        self._anchor: _Seen | None = None
        self._dips = 0
        # Whether the others dip, too: the first dip and those on suspicion come at any time.
        self._is_due = False
        self._ceiling = float("inf")
        self._step = 1.0
        self._look_at = float("inf")
        self._look_every = _LOOK_EVERY[0]
        # Whether the limit is higher than the downstream was known to bear.
        self._looks = False
        self._rises = 0
        self._cut_in_round = False

    @property
    def knee(self) -> float | None:
        """Calls that the downstream serves at once, as far as it is known."""
        if self._held is None or self.base_seconds is None:
            return None
        return self._held.per_second * self.base_seconds

    # What it is told

    def decide(self, now: float, limit: float, round: Round) -> float:
        seen = _Seen(limit, round.mean_seconds, round.per_second, round.runs)
        if self._mode is not _Mode.DIP and not round.is_full:
            self._app_limited(seen, round)
        else:
            limit = {_Mode.RAMP: self._ramp, _Mode.HOLD: self._hold, _Mode.DIP: self._dip}[self._mode](now, seen, round)
        self._plan(now, seen, limit)
        return limit

    def refused(self, now: float, limit: float, inside: int, round: Round, first: bool) -> float:
        """The place of a refused call is not filled again: what remains is what the downstream takes."""
        was_ramp = self._mode is _Mode.RAMP
        self._ceiling = max(1.0, min(limit, float(inside)))
        self._step = 1.0
        self._rises = 0
        if first:
            self._look_every = min(2 * self._look_every, _LOOK_EVERY[1]) if self._looks else _LOOK_EVERY[0]
            self._looks = False
        self._look_at = now + self._look_every * (self.base_seconds or 1.0)
        if first:
            again, self._cut_in_round = self._cut_in_round, True
            if was_ramp or again:
                limit *= _LESS
        if was_ramp:
            self._enter(_Mode.HOLD)
        return min(limit, self._ceiling)

    def resumed(self, limit: float, goal: float) -> None:
        self._goal = goal
        self._ceiling = float("inf")
        self._anchor = None
        self._enter(_Mode.RAMP)

    # The modes

    def _app_limited(self, seen: _Seen, round: Round) -> None:
        """Nothing about the limit. The base, where there were clearly fewer calls than the knee."""
        if self.knee is None or seen.per_second * seen.latency < 0.7 * self.knee:
            self._learn(seen, round)

    def _ramp(self, now: float, seen: _Seen, round: Round) -> float:
        # Little's law instead of the mean: those that go on for long have not ended yet, and count.
        seen = seen._replace(latency=round.inside_seconds / seen.runs)
        base = self.base_seconds
        if base is None or seen.latency <= base * (1 + self._noise(seen)):
            if base is None or self._goal == float("inf"):
                self._learn(seen, round)
            if seen.limit < self._goal:
                return min(2 * seen.limit, self._goal)
            self._goal = float("inf")
            self._enter(_Mode.HOLD)
            return seen.limit
        self._goal = float("inf")
        self._held = seen
        return self._start_dip(now, seen)

    def _hold(self, now: float, seen: _Seen, round: Round) -> float:
        self._learn_cv(seen, round)
        if now >= self.due_at and seen.runs < self.round_runs:
            self._is_due = True
            self._held = self._held or seen
            return self._start_dip(now, self._held._replace(limit=seen.limit))
        proven = self._check(seen)
        self._held = self._smoothed(proven or seen)
        self._is_due = now >= self.due_at
        if proven is None or self._is_due:
            return self._start_dip(now, seen)
        if not round.refused:
            self._cut_in_round = False
            self._look_up(now, seen.limit)
        return self._target(seen.limit)

    def _dip(self, now: float, seen: _Seen, round: Round) -> float:
        held = self._held
        assert held is not None
        base, noise = self.base_seconds or seen.latency, self._noise(seen)
        still_wait = seen.latency <= 1.12 * held.latency * seen.limit / held.limit
        if still_wait and seen.latency > base * (1 + 0.5 * noise) and int(_DIP * seen.limit) >= 1:
            self._held = seen
            return self._start_dip(now, seen)
        self._enter(_Mode.HOLD)
        self._dips += 1
        self._anchor = None
        if seen.latency > held.latency * (1 + noise):  # the downstream has become slower meanwhile: no news of the base
            self._held = seen
            return self._target(seen.limit)
        lower = seen.latency < base * (1 - noise + _TOLERANCE)
        if lower or (self._is_due and seen.latency > base * (1 + noise)):
            self._base_runs = 0.0  # it has changed, or was wrong: what was known of it counts no more
        self._learn(seen, round)
        return self._target(held.limit)

    # What it makes of that

    def _target(self, limit: float) -> float:
        knee = self.knee
        if knee is None or self._held is None or self.base_seconds is None:
            return limit
        target = _HEADROOM * knee + _ROOT * math.sqrt(knee)
        self._rises = self._rises + 1 if self._held.latency <= _IDLE * self.base_seconds else 0
        if self._rises:
            target *= min(_FASTER ** (self._rises - 1), _FASTEST)
        if limit < 4 and self._held.latency <= self.base_seconds * (1 + 0.5 * self._noise(self._held)):
            target = max(target, int(limit) + 1.0)  # a tenth of it is less than one
        target = min(target, self._ceiling)
        return min(max(target, 0.5 * limit), 1.5 * limit)

    def _check(self, seen: _Seen) -> _Seen | None:
        """What the rate of this round proves. None: the calls are fewer now, and no quicker. So nobody had waited, or
        others are in line too: only a dip can tell."""
        anchor = self._anchor
        if anchor is None or seen.limit >= anchor.limit or seen.latency > anchor.latency * (1 + self._noise(seen)):
            self._anchor = seen
            return seen
        share = seen.limit / anchor.limit
        if share > _FEWER:
            return seen
        self._anchor = seen
        if seen.latency < anchor.latency * (1 + share) / 2 or seen.latency < (self.base_seconds or 0.0):
            return seen
        if self.cv / math.sqrt(self._base_runs) < _TRUST:
            return None
        self.base_seconds, self._base_runs = seen.latency, float(seen.runs)
        return anchor

    def _smoothed(self, seen: _Seen) -> _Seen:
        """Small changes of the rate are mostly chance."""
        if (held := self._held) is None or abs(seen.per_second / held.per_second - 1) > _CHANGE:
            return seen
        return seen._replace(per_second=(held.per_second + seen.per_second) / 2)

    def _look_up(self, now: float, limit: float) -> None:
        """Whether the downstream takes more than it did when it refused."""
        if self._ceiling < float("inf") and now >= self._look_at and limit >= 0.9 * self._ceiling:
            self._ceiling += self._step
            self._step *= 2
            self._looks = True
            self._look_at = now + _LOOK_AGAIN * (self.base_seconds or 1.0)

    def _next_dip(self, now: float) -> float:
        """At a multiple of a power of two of seconds, by the wall clock. The first ones follow one another sooner."""
        every = 2.0 ** math.ceil(math.log2(_DIP_EVERY * (self.base_seconds or 1.0)) - max(0, 2 - self._dips))
        return ((now + self._wall) // every + 1) * every - self._wall

    def _start_dip(self, now: float, seen: _Seen) -> float:
        self._enter(_Mode.DIP)
        knee = min(self.knee or seen.limit, seen.limit)
        return max(1.0, (_DIP if self._dips > 1 else _FIRST_DIP) * knee, 0.5 * seen.limit)

    def _learn(self, seen: _Seen, round: Round) -> None:
        """The base, from calls that did not wait."""
        if self.base_seconds is None:
            self.base_seconds = seen.latency
        self._learn_cv(seen, round)
        self._base_runs = min(self._base_runs + seen.runs, max(60.0, (self.cv / _BASE_ERROR) ** 2))
        self.base_seconds += (seen.latency - self.base_seconds) * min(1.0, seen.runs / self._base_runs)

    def _learn_cv(self, seen: _Seen, round: Round) -> None:
        deviation = round.cv * round.mean_seconds / (self.base_seconds or round.mean_seconds)
        self.cv += min(1.0, seen.runs / 50) * (deviation - self.cv)

    def _noise(self, seen: _Seen) -> float:
        """How far above the base a round's latency may be by chance."""
        return _TOLERANCE + 2 * self.cv * math.sqrt(1 / seen.runs + 1 / max(self._base_runs, 1.0))

    def _enough(self) -> float:
        error = 0.04 + 0.1 / math.sqrt(self.knee or 4.0)
        most = _ROUND_TRIPS * self._held.limit if self._held is not None else 0.0
        return max(min((self.cv / error) ** 2, most), _ROUND_RUNS)

    def _enter(self, mode: _Mode) -> None:
        self._mode = mode

    def _plan(self, now: float, seen: _Seen, limit: float) -> None:
        """How long the next round is."""
        base = self.base_seconds or seen.latency
        self.settle_seconds, self.due_at = 0.0, float("inf")
        if self._mode is _Mode.RAMP:
            self.round_runs, self.round_seconds = limit, 0.0
        elif self._mode is _Mode.DIP:
            self.settle_seconds = 1.5 * seen.latency
            self.round_runs, self.round_seconds = (self.cv / _DIP_ERROR) ** 2, _DIP_TRIPS[0] * base
            self.due_at = now + self.settle_seconds + _DIP_TRIPS[1] * base
        else:
            self.settle_seconds = seen.latency if abs(limit - seen.limit) > 0.1 * seen.limit else 0.0
            self.round_runs, self.round_seconds = self._enough(), 2 * seen.latency
            self.due_at = self._next_dip(now)
