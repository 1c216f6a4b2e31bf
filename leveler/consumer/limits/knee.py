"""Knee: Little's law says how many calls are really served at once: the rate of completions x the latency of a call
that does not wait. The limit is that and a little more.

    ramp    twice as many each round trip, until the latency rises or the downstream refuses
    hold    rounds of some round trips; each gives the knee in one step
    dip     a few round trips with fewer calls, now and then: what the latency is when nobody waits

What a latency means is never believed without a check. A ramp that meets a higher latency looks once more, and what
it met before counts as the base only where twice as many calls were as quick; what only its first calls have shown is
looked at with fewer, and forgotten where those are slower. Fewer or more calls at once with the same latency each:
nobody waited, so the base was too low. A call alone waits for no other, so it teaches the base: a limit that has come
down to one does not stay there. A dip that makes every call quicker in proportion: everybody still waits, so it dips
on; and it dips once more before it takes a higher latency for the base. Noise is told from change by the coefficient
of variation: heavy tails make rounds longer, not wrong.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from leveler.consumer.limits.anchor import Anchor
from leveler.consumer.limits.ceiling import Ceiling
from leveler.consumer.limits.dips import Dips
from leveler.consumer.limits.round import Plan, Round
from leveler.consumer.limits.unqueued import TOLERANCE, Seen, Unqueued

#: Above the knee, so that a call that ends finds another one in line: an idle place is not made up for.
_HEADROOM: Final = 1.1
_ROOT: Final = 0.35
#: Runs of a round of the ramp at least: fewer end it by chance, or do not end it in time.
_RAMP_RUNS: Final = 12.0
#: A latency that is so many times what chance explains need not be looked at twice.
_CLEAR: Final = 1.5
#: Runs of a round that holds at least; and it is no longer than so many trips, however exact it should be.
_ROUND_RUNS: Final = 20.0
_ROUND_TRIPS: Final = 5.0
#: After a second round trip with refusals, of the limit.
_LESS: Final = 0.85
#: A rate that has changed by less than that share is averaged with the one before.
_CHANGE: Final = 0.25
#: A limit below that is one call.
_ALONE: Final = 1.5
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
    wall_seconds: see `Dips`.
    """

    def __init__(self, wall_seconds: float = 0.0) -> None:
        self.growth = 0.0
        self.plan = Plan(runs=_RAMP_RUNS)
        self._mode = _Mode.RAMP
        # Where the ramp ends without a sign: at what the downstream bore before an outage.
        self._goal = float("inf")
        self._base = Unqueued()
        self._ceiling = Ceiling()
        self._dips = Dips(wall_seconds)
        self._anchor = Anchor(self._base)
        # The last round that says what the rate is.
        self._held: Seen | None = None
        # Calls at once that have taught the base, while no others have: they may all have waited.
        self._doubted = float("inf")
        # Whether this round repeats one, because what that one showed is not believed yet.
        self._is_second = False
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
        self.plan = self._next(now, seen, limit)
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
            self._mode, self._is_second = _Mode.HOLD, False
        return min(limit, self._ceiling.limit)

    def resumed(self, limit: float, goal: float) -> None:
        self._mode, self._goal = _Mode.RAMP, goal
        self._ceiling.lift()
        self._anchor.lift()
        self._is_second = False
        self.plan = self._ramping(limit, self._base.seconds or math.inf)

    # The modes

    def _app_limited(self, seen: Seen, round: Round) -> None:
        """Nothing about the limit. The base, where there were clearly fewer calls than the knee."""
        if self.knee is None or seen.per_second * seen.latency < 0.7 * self.knee:
            self._base.learn_cv(seen, round)
            self._base.learn(seen)

    def _ramp(self, now: float, seen: Seen, round: Round) -> float:
        # Little's law instead of the mean: those that go on for long have not ended yet, and count.
        seen = seen._replace(latency=round.inside_seconds / seen.runs)
        bearable = self._base.bearable(seen.runs)
        if seen.latency > bearable:
            if not self._is_second and seen.latency < _CLEAR * bearable:
                self._is_second = True
                return seen.limit
            self._goal, self._held = float("inf"), seen
            return self._start_dip(seen)
        self._is_second = False
        self._learn_in_ramp(seen, round)
        if seen.limit < self._goal:
            return min(2 * seen.limit, self._goal)
        self._mode, self._goal = _Mode.HOLD, float("inf")
        return seen.limit

    def _hold(self, now: float, seen: Seen, round: Round) -> float:
        self._base.learn_cv(seen, round)
        self._is_due = now >= self.plan.due_at
        if self._is_due and seen.runs < self.plan.runs:
            self._held = self._held or seen
            return self._start_dip(self._held._replace(limit=seen.limit))
        if seen.limit < _ALONE and not round.refused:
            self._base.learn(seen)  # a call alone waits for no other
        proven = self._anchor.check(seen)
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
        is_slower, is_higher = seen.latency > held.latency * (1 + noise), seen.latency > base * (1 + noise)
        is_in_proportion = seen.latency <= 1.12 * held.latency * seen.limit / held.limit
        waits = is_in_proportion and seen.latency > base * (1 + 0.5 * noise)
        # Fewer calls than the first, and slower: nobody had waited, and those were quick by chance.
        was_chance = is_higher and self._doubted < math.inf
        goes_on = waits or (is_higher and not self._is_second and not was_chance)
        if goes_on and self._dips.can_go_on(seen.limit):
            # Fewer calls may not use all that there is; but what has become slower meanwhile has no more than that.
            self._held = seen if is_slower else seen._replace(per_second=max(seen.per_second, held.per_second))
            limit, self._is_second = self._start_dip(seen), True
            return limit
        self._mode, self._is_second = _Mode.HOLD, False
        self._anchor.lift()
        self._doubted = float("inf")
        self._dips.end()
        if is_slower and not was_chance:  # the downstream has become slower meanwhile: no news of the base
            self._held = seen
            return self._target(seen.limit)
        if was_chance or seen.latency < base * (1 - noise + TOLERANCE) or (self._is_due and is_higher):
            self._base.forget()  # it has changed, or was wrong
        self._base.learn_cv(seen, round)
        self._base.learn(seen)
        return self._target(held.limit)

    # What it makes of that

    def _learn_in_ramp(self, seen: Seen, round: Round) -> None:
        """The first round, for there is nothing better; then each one when twice as many calls were as quick."""
        self._base.learn_cv(seen, round)
        if self._base.seconds is None:  # all began at once: the mean is of the quick ones, Little's law sees few ends
            self._base.learn(seen._replace(latency=(round.mean_seconds + seen.latency) / 2))
            self._doubted = seen.limit
            return
        self._doubted = float("inf")
        self._anchor.climb(seen, teaches=self._goal == float("inf"))

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

    def _smoothed(self, seen: Seen) -> Seen:
        """Small changes of the rate are mostly chance."""
        if (held := self._held) is None or abs(seen.per_second / held.per_second - 1) > _CHANGE:
            return seen
        return seen._replace(per_second=(held.per_second + seen.per_second) / 2)

    def _start_dip(self, seen: Seen) -> float:
        self._mode, self._is_second = _Mode.DIP, False
        return self._dips.limit(seen, self.knee or seen.limit, self._doubted)

    # How long the next round is

    def _next(self, now: float, seen: Seen, limit: float) -> Plan:
        base = self._base.seconds or seen.latency
        if self._mode is _Mode.RAMP:
            return self._ramping(limit, base)
        if self._mode is _Mode.DIP:
            return self._dips.plan(limit, base, self._base.cv)
        return Plan(
            runs=self._enough(),
            seconds=2 * seen.latency,
            settles=abs(limit - seen.limit) > 0.1 * seen.limit,
            latency_seconds=seen.latency,
            due_at=self._dips.due_at(now, self._base.seconds or 1.0),
        )

    def _ramping(self, limit: float, base: float) -> Plan:
        return Plan(runs=max(limit, _RAMP_RUNS), latency_seconds=base)

    def _enough(self) -> float:
        """Runs of a round that holds. The smaller the knee, the less exact it need be: to less than a call."""
        error = 0.04 + 0.1 / math.sqrt(self.knee or 4.0)
        most = _ROUND_TRIPS * self._held.limit if self._held is not None else 0.0
        return max(min((self._base.cv / error) ** 2, most), _ROUND_RUNS)
