"""Schedule: when the starts of a whole fleet are due, as a store keeps it. Pure: stores bring the time and the memory.

A rate that many processes share is one number, the moment at which the next start is due (GCRA, ITU-T I.371), on the
clock of the store that keeps it. A worker takes a *stretch* of the schedule at a time and starts its runs in it by
its own clock. Nobody gives a stretch back: one whose worker died passes, like any other.
"""

from __future__ import annotations

from typing import NamedTuple


class Ask(NamedTuple):
    """What a worker wants of a rate."""

    #: Who asks; no other process is called so.
    holder: str
    #: How many; 1 or more.
    starts: int
    #: From one start to the next, for all of the fleet.
    interval_seconds: float
    #: A stretch that would begin later than this is not reserved: nobody holds what is far away.
    ahead_seconds: float
    #: Time in which nobody started anything is not saved up, but for so much.
    late_seconds: float
    #: Who has asked within so much is counted as a worker.
    present_seconds: float


class Stretch(NamedTuple):
    """What was reserved: so many starts, one an interval, that nobody else has."""

    #: From when the store looked at its clock to the first start; below 0: it is due since then. Where nothing was
    #: reserved: until it is worth while to ask again.
    wait_seconds: float
    #: As many as were asked for, or 0.
    starts: int
    #: How many have asked of late, this one included.
    workers: int


class Mark(NamedTuple):
    """All that a store remembers of a schedule, besides who asked when."""

    #: When the next start is due, on the store's clock.
    due: float
    #: How long the stretch is that was reserved last.
    length_seconds: float


def reserve(mark: Mark | None, ask: Ask, now: float) -> tuple[Mark | None, float]:
    """The mark that is to be kept and the wait of the stretch; None and how long to wait if nothing is reserved.

    Args:
        mark: that was kept; None = nobody has ever asked.
        ask: what is wanted.
        now: on the store's clock.
    """
    begin = now - ask.late_seconds
    # What lies further ahead than anybody can have reserved was written before the clock was set back.
    if mark is not None and mark.due <= now + ask.ahead_seconds + mark.length_seconds:
        begin = max(begin, mark.due)
    if begin > now + ask.ahead_seconds:
        return None, begin - now - ask.ahead_seconds
    length_seconds = ask.starts * ask.interval_seconds
    return Mark(begin + length_seconds, length_seconds), begin - now
