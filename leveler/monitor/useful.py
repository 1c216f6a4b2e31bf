"""Useful: how many workers would be of use for a queue, as far as one of them can tell. Pure.

A worker knows the backlog, which is everybody's, and itself. It knows neither how many workers there are nor what the
others do, so it tells three numbers, and whoever sees all workers (a scaler, `leveler top`) makes one of them:

    useful workers = the largest needed, no fewer than the sum of busy, no more than the sum of borne

    needed    backlog / what one worker works off within `target_wait`. All tell about the same: take the largest.
    busy      how much of this worker is in use, 0 to 1. So nobody is sent away while all are busy: a backlog is
              finished by as many as it called for, and then as many stay as what arrives keeps busy.
    borne     1, this worker; or 2, another like it besides, if for a minute the downstream has held back nothing here.
              So the number doubles at most, and not again before the downstream has had time to say something.

None of them depends on how many workers there are, so none runs away with them: a scaler that is late, that looks
seldom or that sees one worker less is late or one less, and nothing adds up. But where a fixed concurrency makes a
downstream slow that refuses nothing, every run takes longer, and needed grows: nobody but the scaler's most is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from leveler.consumer.limits import Figures

#: So long a downstream must have held nothing back here before it is believed to bear more: longer than a worker needs
#: to find its limit, and than a scaler needs to see what its last step did.
CALM_SECONDS: Final = 60.0

#: Nothing is so quick that one worker works off any backlog.
_INSTANT_SECONDS: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class Load:
    """One queue, as a worker that consumes it sees it."""

    #: Messages that are ready or leased, anywhere; None where nobody can tell.
    backlog: int | None
    #: For how long a message takes one place; None as long as no run has ended.
    seconds_each: float | None = None
    #: Places that its runs take here, on average of late.
    running: float = 0.0
    #: Messages whose runs ended here per second, of late.
    per_second: float = 0.0
    #: Messages that one run takes.
    batch_size: int = 1
    #: How long a message may wait.
    target_wait_seconds: float


@dataclass(frozen=True, kw_only=True)
class Way:
    """Some limits of this process, and all that has to pass them."""

    #: As they show themselves.
    limits: Figures
    #: For how long the downstream has held nothing back here.
    calm_seconds: float
    loads: Sequence[Load]


@dataclass(frozen=True, kw_only=True)
class Useful:
    """What one worker says of the workers that would be useful for one queue."""

    #: Workers that the backlog needs, about the same at every worker; None where nobody can tell.
    needed: float | None = None
    #: How much of this one is in use, 0 to 1. They add up.
    busy: float = 0.0
    #: How many the downstream bears in its place: 0 while it consumes nothing, else 1, or 2. They add up.
    borne: float = 0.0


def useful(ways: Sequence[Way]) -> Useful:
    """What a worker that is consuming says, from the ways that the messages of one queue go in it."""
    needs = [_needed(way) for way in ways]
    needed = None if None in needs else max((need for need in needs if need is not None), default=None)
    return Useful(
        needed=None if needed is None else min(needed, _shared(ways)),
        busy=max((_busy(way) for way in ways), default=0.0),
        borne=2.0 if all(way.calm_seconds >= CALM_SECONDS for way in ways) else 1.0,
    )


def together(told: Sequence[Useful]) -> int | None:
    """How many workers would be useful, from what each of them says; None where nobody can tell."""
    needed = max((one.needed for one in told if one.needed is not None), default=None)
    if needed is None:
        return None
    return ceil(max(min(needed, sum(one.borne for one in told)), sum(one.busy for one in told)))


def _needed(way: Way) -> float | None:
    needed = 0.0
    for load in way.loads:
        if load.backlog:
            if load.seconds_each is None:
                return None
            needed += load.backlog / _works_off(way.limits, load, load.seconds_each)
        elif load.backlog is None:
            return None
    return needed


def _shared(ways: Sequence[Way]) -> float:
    """Workers that start as many as the rates of the whole fleet let start: more would wait for one another."""
    places = min((found for way in ways if (found := _places(way.limits)) is not None), default=None)
    most = float("inf")
    for way in ways:
        per_second = _number(way.limits, "rate_per_second") if "rate_scope" in way.limits else None
        if per_second is not None and places is not None:
            longest = max((load.seconds_each or 0.0 for load in way.loads), default=0.0)
            most = min(most, max(1.0, per_second * longest / places))
    return most


def _works_off(limits: Figures, load: Load, seconds_each: float) -> float:
    """Messages that one worker works off within the target, if it has nothing else to do. What takes longer than that
    is not done sooner by more workers than have a place for it."""
    target_seconds = load.target_wait_seconds
    works_off = float("inf")
    if (places := _places(limits)) is not None:
        works_off = places * max(load.batch_size, target_seconds / max(seconds_each, _INSTANT_SECONDS))
    if (per_second := _own_rate(limits)) is not None:
        works_off = min(works_off, max(1.0, per_second * target_seconds))
    return works_off


def _busy(way: Way) -> float:
    places, per_second = _places(way.limits), _own_rate(way.limits)
    running = 0.0 if places is None else sum(load.running for load in way.loads) / places
    ending = 0.0 if per_second is None else sum(load.per_second for load in way.loads) / per_second
    return min(1.0, max(running, ending))


def _places(limits: Figures) -> float | None:
    """Runs at once, of a worker at full use: where an adaptive limit is lower for now, it is held back, not smaller."""
    return _number(limits, "concurrency_max") or _number(limits, "concurrency")


def _own_rate(limits: Figures) -> float | None:
    """Of each process."""
    return None if "rate_scope" in limits else _number(limits, "rate_per_second")


def _number(limits: Figures, name: str) -> float | None:
    value = limits.get(name)
    return None if value is None else float(value)
