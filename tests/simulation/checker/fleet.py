"""Fleet: a rate that all workers have together, whoever comes, goes, stands still or does not hear from the store.

The numbers are the README's. What a worker knows of the store is told by the witness between the two.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tests.excess import most_above
from tests.simulation.ledger import Handout, Run
from tests.simulation.outcome import Outcome
from tests.simulation.worker import Worker

#: How late a start may be, but for the answer that brought it.
_LATE_SECONDS: Final = 0.1
#: An answer that takes longer counts as none.
_PATIENCE_SECONDS: Final = 1.0
#: A store that is away is asked again so soon.
_AGAIN_SECONDS: Final = 0.5
#: Who has asked within so much is counted as a worker.
_PRESENT_SECONDS: Final = 60.0
#: No start is reserved longer before.
_AHEAD_SECONDS: Final = 1.0
#: What a share may make up for after a late start.
_CATCH_UP_SECONDS: Final = 0.05
_TOLERANCE: Final = 1e-6


class _Word(NamedTuple):
    """What a worker was told of the store, or that it heard nothing for too long."""

    at: float
    number: float
    #: The worker has an answer.
    is_given: bool
    #: How long it took.
    seconds: float


def the_fleet_starts_no_more_than_its_rate(outcome: Outcome) -> Iterator[str]:
    """In any span of time, all who hear from the store together."""
    rate = outcome.scenario.fleet_rate_per_second
    if rate is None:
        return
    starts, slowest = [], 0.0
    for worker in outcome.workers:
        words = _words(worker, outcome)
        slowest = max([slowest, *(word.seconds for word in words if word.is_given)])
        starts += [run.began.at for run in _runs(worker, outcome) if (word := _last(words, run)) and word.is_given]
    allowed = 1 + rate * (_LATE_SECONDS + slowest)
    if (most := most_above(starts, rate)) > allowed + _TOLERANCE:
        yield f"{most:.2f} starts more than {rate:g}/s gives in some span; {allowed:.2f} are allowed"


def who_does_not_hear_from_the_store_keeps_to_its_share(outcome: Outcome) -> Iterator[str]:
    """The rate, divided by those that had asked in the minute before it was answered last. Who never was has none."""
    rate = outcome.scenario.fleet_rate_per_second
    if rate is None:
        return
    for worker in outcome.workers:
        words = _words(worker, outcome)
        shares: list[float] = []
        starts: list[float] = []
        for run in _runs(worker, outcome):
            word = _last(words, run)
            if word is not None and word.is_given:
                continue
            heard = [one for one in words if one.is_given and one.number < run.began.number]
            if not heard:
                yield f"{run.handout} was started, and the store has never answered"
                continue
            shares.append(rate / _workers(worker, heard[-1], outcome))
            starts.append(run.began.at)
        allowed = 1 + _CATCH_UP_SECONDS * max(shares, default=0.0)
        if starts and (most := most_above(starts, max(shares))) > allowed + _TOLERANCE:
            yield f"{worker.name} started {most:.2f} more than its share of {max(shares):.2f}/s gives in some span"


def who_does_not_hear_from_the_store_asks_again(outcome: Outcome) -> Iterator[str]:
    """Every half second, or the fleet would never be one again."""
    if outcome.scenario.fleet_rate_per_second is None:
        return
    for worker in outcome.workers:
        asked = [one.at for one in outcome.ledger.asked.get(worker.name, ())]
        for word in _words(worker, outcome):
            until = word.at + _AGAIN_SECONDS + _TOLERANCE
            if word.is_given or until > _end(worker, outcome) or _stands_still(worker, word.at, until, outcome):
                continue
            if bisect_right(asked, until) == bisect_left(asked, word.at):
                yield f"{worker.name} has heard nothing since {word.at:.3f}, and did not ask again"


def starts_go_on(outcome: Outcome) -> Iterator[str]:
    """Whatever has become of the store and of others: who has something to start, and a slot, is not left waiting."""
    scenario = outcome.scenario
    rate = scenario.fleet_rate_per_second
    if rate is None or any(plan.kind != "good" for plan in scenario.plans):
        return
    starts = sorted(run.began.at for one in outcome.ledger.handouts for run in one.runs)
    allowed = _PATIENCE_SECONDS + _AGAIN_SECONDS + _AHEAD_SECONDS + (len(outcome.workers) + 2) / rate
    for worker in outcome.workers:
        words = _words(worker, outcome)
        for handout in outcome.ledger.handouts:
            if handout.process != worker.name or not handout.heard or handout.touched:
                continue
            for begin, end in _waits(worker, handout, outcome):
                # Who has never been answered may start nothing: from when it could not hear on it counts anew.
                first = next((word.at for word in words if word.is_given), float("inf"))
                deaf = [word.at for word in words if not word.is_given and word.at < first]
                marks = sorted([begin, end, *(at for at in [*starts, *deaf] if begin < at < end)])
                for earlier, later in pairwise(marks):
                    if later - earlier > allowed:
                        yield f"{handout}: nothing was started from {earlier:.3f} to {later:.3f}"


def the_whole_rate_is_used(outcome: Outcome) -> Iterator[str]:
    """Where nothing goes wrong, the store is near, and there is enough to do and room for it."""
    scenario = outcome.scenario
    rate = scenario.fleet_rate_per_second
    if rate is None or not scenario.calm or scenario.latency_seconds > _LATE_SECONDS / 4:
        return
    quick = all(plan.kind == "good" and plan.seconds <= 0.01 and not plan.at for plan in scenario.plans)
    starts = sorted(run.began.at for one in outcome.ledger.handouts for run in one.runs)
    if quick and starts[-1] - starts[0] > len(starts) / rate * 1.1 + 2.0:
        yield f"{len(starts)} starts took {starts[-1] - starts[0]:.2f} s"


def _words(worker: Worker, outcome: Outcome) -> Sequence[_Word]:
    words = []
    for asked in outcome.ledger.asked.get(worker.name, ()):
        gives_up_at = asked.at + _PATIENCE_SECONDS
        if asked.told is not None and asked.told.at <= gives_up_at + _TOLERANCE:
            words.append(_Word(*asked.told, asked.is_given, asked.told.at - asked.at))
        else:
            words.append(_Word(gives_up_at, float("inf"), is_given=False, seconds=_PATIENCE_SECONDS))
    return sorted(words)


def _last(words: Sequence[_Word], run: Run) -> _Word | None:
    """What its worker had been told last when it was started."""
    place = bisect_left(words, (run.began.at, run.began.number))
    return words[place - 1] if place else None


def _workers(worker: Worker, heard: _Word, outcome: Outcome) -> int:
    """How many had asked when the store gave this answer."""
    ledger = outcome.ledger
    own = [one.moment for one in ledger.reservations if one.process == worker.name and one.moment.number < heard.number]
    at = own[-1].at
    near = (one for one in ledger.reservations if one.moment.number <= own[-1].number)
    return len({one.process for one in near if one.moment.at > at - _PRESENT_SECONDS})


def _runs(worker: Worker, outcome: Outcome) -> Sequence[Run]:
    runs = [run for one in outcome.ledger.handouts if one.process == worker.name for run in one.runs]
    return sorted(runs, key=lambda run: run.began)


def _end(worker: Worker, outcome: Outcome) -> float:
    """When it was told to stop, or died."""
    ends = [outcome.ledger.stops.get(worker.name), outcome.ledger.exits.get(worker.name)]
    return min((moment.at for moment in ends if moment is not None), default=float("inf"))


def _stands_still(worker: Worker, begin: float, end: float, outcome: Outcome) -> bool:
    return any(since < end and begin < until for since, until in outcome.ledger.frozen.get(worker.name, ()))


def _waits(worker: Worker, handout: Handout, outcome: Outcome) -> Iterator[tuple[float, float]]:
    """The spans in which nothing but the rate can have kept its worker from starting it."""
    scenario = outcome.scenario
    ends = [_end(worker, outcome), *(run.began.at for run in handout.runs)]
    if handout.end is not None:
        ends.append(handout.end.moment.at)
    end = min(ends)
    changes = [handout.heard_at, end]
    runs = [(run.began.at, end if run.ended is None else run.ended.at) for run in _runs(worker, outcome)]
    for span in [*runs, *outcome.ledger.frozen.get(worker.name, ())]:
        changes += span
    most = min(scenario.concurrency, scenario.shared_concurrency or scenario.concurrency)
    began: float | None = None
    for since, until in pairwise(sorted({at for at in changes if handout.heard_at <= at <= end})):
        busy = sum(first <= since and until <= last for first, last in runs) >= most
        if busy or _stands_still(worker, since, until, outcome):
            if began is not None:
                yield began, since
            began = None
        elif began is None:
            began = since
    if began is not None:
        yield began, end
