"""Knee: Little's law says how many calls are really served at once: the rate of completions x the latency of a call
that does not wait. The limit is that and a little more.

    ramp    twice as many each round trip, until the latency rises or the downstream refuses
    hold    rounds of some round trips; each gives the knee in one step
    dip     a few round trips with fewer calls, now and then: what the latency is when nobody waits

What a latency means is never believed without a check. Fewer calls at once with the same latency each: nobody waited,
so the base was too low. A dip that makes every call quicker in proportion: everybody still waits, so it dips on. Noise
is told from change by the coefficient of variation: heavy tails make rounds longer, not wrong.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from leveler.consumer.limits.ceiling import Ceiling
from leveler.consumer.limits.round import Round
from leveler.consumer.limits.unqueued import TOLERANCE, Seen, Unqueued

#: Above the knee, so that a call that ends finds another one in line: an idle place is not made up for.
_HEADROOM: Final = 1.1
_ROOT: Final = 0.35
#: Of the knee, in a dip; in the first ones, when other processes may crowd the downstream, too.
_DIP: Final = 0.8
_FIRST_DIP: Final = 0.7
#: How exact a dip should be, and how long it lasts, in round trips.
_DIP_ERROR: Final = 0.1
_DIP_TRIPS: Final = (3.0, 8.0)
#: Between dips, in base latencies; rounded up to a power of two of seconds.
_DIP_EVERY: Final = 60.0
#: Runs of a round at least; and it is no longer than so many trips, however exact it should be.
_ROUND_RUNS: Final = 20.0
_ROUND_TRIPS: Final = 5.0
#: After a second round trip with refusals, of the limit.
_LESS: Final = 0.85
#: So many fewer calls must be quicker, if any of them had waited.
_FEWER: Final = 0.75
#: A rate that has changed by less than that share is averaged with the one before.
_CHANGE: Final = 0.25
#: Nobody waits at a latency up to so many bases.
_IDLE: Final = 1.08
#: How much faster the limit grows in each round in which nobody waits, and at most.
_FASTER: Final = 1.1
_FASTEST: Final = 1.4


class _Mode(Enum):
    RAMP = "ramp"
    HOLD = "hold"
    DIP = "dip"


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
        self._wall = wall_seconds
        self._mode = _Mode.RAMP
        # Where the ramp ends without a sign: at what the downstream bore before an outage.
        self._goal = float("inf")
        self._base = Unqueued()
        self._ceiling = Ceiling()
        # The last round that says what the rate is; and one with more calls, to compare with.
        self._held: Seen | None = None
        self._anchor: Seen | None = None
        self._dips = 0
        # Whether the others dip, too: the first dip and those on suspicion come at any time.
        self._is_due = False
        # Rounds in a row in which nobody waited.
        self._rises = 0
        self._was_refused = False

    @property
    def base_seconds(self) -> float | None:
        return self._base.seconds

    @property
    def knee(self) -> float | None:
        """Calls that the downstream serves at once, as far as it is known."""
        if self._held is None or self._base.seconds is None:
            return None
        return self._held.per_second * self._base.seconds

    # What it is told

    def decide(self, now: float, limit: float, round: Round) -> float:
        seen = Seen(limit, round.mean_seconds, round.per_second, round.runs)
        if self._mode is not _Mode.DIP and not round.is_full:
            self._app_limited(seen, round)
        else:
            limit = {_Mode.RAMP: self._ramp, _Mode.HOLD: self._hold, _Mode.DIP: self._dip}[self._mode](now, seen, round)
        self._plan(now, seen, limit)
        return limit

    def refused(self, now: float, limit: float, inside: int, round: Round, first: bool) -> float:
        """The place of a refused call is not filled again: what remains is what the downstream takes."""
        self._ceiling.refused(now, min(limit, float(inside)), self._base.seconds or 1.0, first)
        self._rises = 0
        if first:
            again, self._was_refused = self._was_refused, True
            if again or self._mode is _Mode.RAMP:
                limit *= _LESS
        if self._mode is _Mode.RAMP:
            self._mode = _Mode.HOLD
        return min(limit, self._ceiling.limit)

    def resumed(self, limit: float, goal: float) -> None:
        self._mode, self._goal = _Mode.RAMP, goal
        self._ceiling.lift()
        self._anchor = None

    # The modes

    def _app_limited(self, seen: Seen, round: Round) -> None:
        """Nothing about the limit. The base, where there were clearly fewer calls than the knee."""
        if self.knee is None or seen.per_second * seen.latency < 0.7 * self.knee:
            self._base.learn(seen, round)

    def _ramp(self, now: float, seen: Seen, round: Round) -> float:
        # Little's law instead of the mean: those that go on for long have not ended yet, and count.
        seen = seen._replace(latency=round.inside_seconds / seen.runs)
        base, goal = self._base.seconds, self._goal
        if base is None or seen.latency <= base * (1 + self._base.noise(seen.runs)):
            if base is None or goal == float("inf"):
                self._base.learn(seen, round)
            if seen.limit < goal:
                return min(2 * seen.limit, goal)
            self._mode, self._goal = _Mode.HOLD, float("inf")
            return seen.limit
        self._goal = float("inf")
        self._held = seen
        return self._start_dip(seen)

    def _hold(self, now: float, seen: Seen, round: Round) -> float:
        self._base.learn_cv(seen, round)
        self._is_due = now >= self.due_at
        if self._is_due and seen.runs < self.round_runs:
            self._held = self._held or seen
            return self._start_dip(self._held._replace(limit=seen.limit))
        proven = self._check(seen)
        self._held = self._smoothed(proven or seen)
        if proven is None or self._is_due:
            return self._start_dip(seen)
        if not round.refused:
            self._was_refused = False
            self._ceiling.look_up(now, seen.limit, self._base.seconds or 1.0)
        return self._target(seen.limit)

    def _dip(self, now: float, seen: Seen, round: Round) -> float:
        held = self._held or seen
        base, noise = self._base.seconds or seen.latency, self._base.noise(seen.runs)
        still_wait = seen.latency <= 1.12 * held.latency * seen.limit / held.limit
        if still_wait and seen.latency > base * (1 + 0.5 * noise) and int(_DIP * seen.limit) >= 1:
            self._held = seen
            return self._start_dip(seen)
        self._mode = _Mode.HOLD
        self._dips += 1
        self._anchor = None
        if seen.latency > held.latency * (1 + noise):  # the downstream has become slower meanwhile: no news of the base
            self._held = seen
            return self._target(seen.limit)
        is_lower = seen.latency < base * (1 - noise + TOLERANCE)
        if is_lower or (self._is_due and seen.latency > base * (1 + noise)):
            self._base.forget()  # it has changed, or was wrong
        self._base.learn(seen, round)
        return self._target(held.limit)

    # What it makes of that

    def _target(self, limit: float) -> float:
        knee, held, base = self.knee, self._held, self._base.seconds
        if knee is None or held is None or base is None:
            return limit
        target = _HEADROOM * knee + _ROOT * math.sqrt(knee)
        self._rises = self._rises + 1 if held.latency <= _IDLE * base else 0
        if self._rises:
            target *= min(_FASTER ** (self._rises - 1), _FASTEST)
        if limit < 4 and held.latency <= base * (1 + 0.5 * self._base.noise(held.runs)):
            target = max(target, int(limit) + 1.0)  # a tenth of it is less than one
        target = min(target, self._ceiling.limit)
        return min(max(target, 0.5 * limit), 1.5 * limit)

    def _check(self, seen: Seen) -> Seen | None:
        """What the rate of this round proves. None: the calls are fewer now, and no quicker. So nobody had waited, or
        others are in line too: only a dip can tell."""
        anchor = self._anchor
        if (
            anchor is None
            or seen.limit >= anchor.limit
            or seen.latency > anchor.latency * (1 + self._base.noise(seen.runs))
        ):
            self._anchor = seen
            return seen
        share = seen.limit / anchor.limit
        if share > _FEWER:
            return seen
        self._anchor = seen
        if seen.latency < anchor.latency * (1 + share) / 2 or seen.latency < (self._base.seconds or 0.0):
            return seen
        if self._base.is_proven:
            return None
        self._base.correct(seen)
        return anchor

    def _smoothed(self, seen: Seen) -> Seen:
        """Small changes of the rate are mostly chance."""
        if (held := self._held) is None or abs(seen.per_second / held.per_second - 1) > _CHANGE:
            return seen
        return seen._replace(per_second=(held.per_second + seen.per_second) / 2)

    def _start_dip(self, seen: Seen) -> float:
        self._mode = _Mode.DIP
        knee = min(self.knee or seen.limit, seen.limit)
        return max(1.0, (_DIP if self._dips > 1 else _FIRST_DIP) * knee, 0.5 * seen.limit)

    def _next_dip(self, now: float) -> float:
        """At a multiple of a power of two of seconds, by the wall clock. The first ones follow one another sooner."""
        every = 2.0 ** math.ceil(math.log2(_DIP_EVERY * (self._base.seconds or 1.0)) - max(0, 2 - self._dips))
        return ((now + self._wall) // every + 1) * every - self._wall

    # How long the next round is

    def _plan(self, now: float, seen: Seen, limit: float) -> None:
        base = self._base.seconds or seen.latency
        self.settle_seconds, self.due_at = 0.0, float("inf")
        if self._mode is _Mode.RAMP:
            self.round_runs, self.round_seconds = limit, 0.0
        elif self._mode is _Mode.DIP:
            self.settle_seconds = 1.5 * seen.latency
            self.round_runs, self.round_seconds = (self._base.cv / _DIP_ERROR) ** 2, _DIP_TRIPS[0] * base
            self.due_at = now + self.settle_seconds + _DIP_TRIPS[1] * base
        else:
            self.settle_seconds = seen.latency if abs(limit - seen.limit) > 0.1 * seen.limit else 0.0
            self.round_runs, self.round_seconds = self._enough(), 2 * seen.latency
            self.due_at = self._next_dip(now)

    def _enough(self) -> float:
        """Runs of a round that holds. The smaller the knee, the less exact it need be: to less than a call."""
        error = 0.04 + 0.1 / math.sqrt(self.knee or 4.0)
        most = _ROUND_TRIPS * self._held.limit if self._held is not None else 0.0
        return max(min((self._base.cv / error) ** 2, most), _ROUND_RUNS)
