"""What every limit answers, fixed or adaptive, of this process or of the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable

#: What a limit shows of itself: names with their units -> a number, or a state in one word.
Figures = Mapping[str, float | str]


class Verdict(Enum):
    """What one handler run tells the limits about the downstream."""

    SUCCESS = "success"
    FAILURE = "failure"
    OVERLOAD = "overload"
    #: It says nothing: snoozed, rejected, cut short by us.
    NOTHING = "nothing"


class Refusal(NamedTuple):
    """A downstream said that it has too much to do."""

    #: Which one; None = the one nearest to the handler.
    downstream: str | None
    #: For how long it wants to be left alone.
    pause_seconds: float


class Limit(Protocol):
    """One limit. Times are monotonic seconds; `now` is passed in, so a limit has no clock and no I/O."""

    def credit(self, now: float, horizon_seconds: float) -> float:
        """How many runs could start between `now` and `horizon_seconds` later; may be below 0 when over the limit."""
        ...

    def wait(self, now: float) -> float:
        """Seconds until one more run may start: 0 = now, infinity = not before another has ended."""
        ...

    def start(self, now: float, runs: int) -> None:
        """`runs` runs start. Only called when `wait` was 0."""
        ...

    def series(self, now: float, most: int) -> int:
        """How many of `most` runs may start by now, one after another: each when the one before has ended."""
        ...

    def finish(self, now: float, runs: int, latency_seconds: float, verdict: Verdict) -> None:
        """`runs` runs have ended, after `latency_seconds` each."""
        ...

    def take_back(self, runs: int) -> None:
        """`runs` runs were to `start`, and have not."""
        ...


@runtime_checkable
class Weighing(Protocol):
    """A limit that counts messages, of which one run may take several; the others count runs."""

    def charge(self, messages: int) -> None:
        """A run that has started takes so many messages more; below 0: fewer."""
        ...


@runtime_checkable
class Finding(Protocol):
    """A limit that finds out what the downstream bears."""

    #: When it was last lower than it might be, and in use to the full.
    held_back_at: float


@runtime_checkable
class Shown(Protocol):
    """A limit that can be looked at while it works. Not every one has something to show."""

    def figures(self) -> Figures:
        """What it allows and where it stands, for people and for metrics; asked for a few times a second at most.

        The same thing has the same name at every limit: ``concurrency`` (runs allowed at once), ``concurrency_max``
        (... that ever will be, where that is found out), ``running``, ``rate_per_second``, ``breaker`` (``closed``,
        ``open``, ``half-open``), ``phase``, ``base_seconds``; and where the rate is that of all processes together
        ``rate_scope`` (``fleet``, or ``local-share`` without a store).
        """
        ...
