"""Tending: what the server answers to whoever looks after a queue, and what follows for the next reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leveler_redis.keys import BASE


@dataclass(frozen=True, slots=True)
class Tending:
    """The state of a queue at one moment."""

    #: On the server's clock, in seconds; so are all other moments here.
    now: float
    lease_seconds: float
    #: When there is something to be tended again.
    next_due: float
    #: Whether there is more to be tended already.
    more: bool
    #: How many wait in each lane, in the order in which they are served. Empty where only the one lane is in use.
    waiting: tuple[tuple[int, int], ...]

    @property
    def lanes(self) -> tuple[int, ...]:
        """Lanes in use."""
        return tuple(lane for lane, _ in self.waiting) or (BASE,)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits in any lane; only known where there are several."""
        return all(count == 0 for _, count in self.waiting)

    def shares(self, credit: int) -> list[tuple[int, int]]:
        """How many to read from each lane: `credit` in all. What has come since is most likely in the usual one."""
        shares: dict[int, int] = {}
        for lane, count in self.waiting:
            if credit > 0 and count > 0:
                shares[lane] = min(count, credit)
                credit -= shares[lane]
        if credit > 0:
            shares[BASE] = shares.get(BASE, 0) + credit
        return sorted(shares.items())

    def seconds_left(self) -> float:
        """How long there is nothing to be tended."""
        return max(0.0, self.next_due - self.now)


def tending_of(answer: Sequence[int]) -> Tending:
    """What the script says."""
    now, lease, due, more, *lanes = answer
    waiting = tuple(zip(lanes[::2], lanes[1::2], strict=True))
    return Tending(now / 1000, lease / 1000, due / 1000, bool(more), waiting)


#: Before anybody has asked.
UNKNOWN = Tending(0.0, 0.0, 0.0, False, ())
