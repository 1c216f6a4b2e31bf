"""Crew: which workers to start, to stop and to start again, and with which exit code it ends. Pure: it is told what
happens to the workers, and says what is to be done.

    off -> starting -> begun -> ready
     ^        |          |        |      told to stop, or by itself: then it is started again after a pause
     +--------+----------+--------+

The first one starts alone: what is wrong with the app, the settings or the broker is said once, not by each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

WRONG_INPUT: Final = 2
#: A worker is told two things: to drain, and to give everything back at once.
_MOST_TOLD: Final = 2


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """When a worker that has ended by itself is started again."""

    #: After the first time.
    pause_seconds: float = 0.5
    #: It doubles each time, up to this.
    most_seconds: float = 30.0
    #: Who has been ready for so long begins anew: it did not end of what it was started with.
    proven_seconds: float = 60.0

    def pause(self, times: int) -> float:
        """Before it is started again, if it has ended so many times in a row."""
        return float(min(self.most_seconds, self.pause_seconds * 2.0 ** min(times - 1, 64)))


class Phase(IntEnum):
    """How far a worker has come."""

    OFF = 0
    STARTING = 1
    #: Its queues are there and its settings are right: all that it lacks is what the broker says.
    BEGUN = 2
    READY = 3


@dataclass
class _Member:
    """One place of the crew, whichever process fills it now."""

    phase: Phase = Phase.OFF
    #: When it may be started.
    due_at: float = float("-inf")
    ready_at: float = float("inf")
    #: How often in a row it has ended by itself.
    falls: int = 0
    #: How often it was told to stop.
    told: int = 0


@dataclass(frozen=True)
class Start:
    """Start worker `number`."""

    number: int


@dataclass(frozen=True)
class Stop:
    """Let worker `number` drain."""

    number: int


@dataclass(frozen=True)
class Hurry:
    """Let worker `number`, which drains, give everything back at once."""

    number: int


Order = Start | Stop | Hurry


class Crew:
    """Workers 1, 2, 3 ... of which those with the lowest numbers run.

    Args:
        least: so many make it ready.
        policy: when a worker is started again.
    """

    def __init__(self, least: int, policy: RestartPolicy) -> None:
        self._least = least
        self._policy = policy
        self._members: dict[int, _Member] = {}
        #: So many there are to be.
        self.wanted = least
        #: All the least were ready at the same moment, once.
        self.was_ready = False
        self._has_begun = False
        self._told = 0
        self._code: int | None = None

    # What is to be done

    def orders(self, now: float) -> Iterator[Order]:
        """Each one is given once."""
        for number in range(1, self._most_now() + 1):
            member = self._members.setdefault(number, _Member())
            if member.phase is Phase.OFF and not self._told and member.due_at <= now:
                member.phase, member.told = Phase.STARTING, 0
                yield Start(number)
        for number, member in self._members.items():
            told = max(self._told, int(number > self.wanted))
            if member.phase is not Phase.OFF and member.told < told:
                member.told += 1
                yield Stop(number) if member.told == 1 else Hurry(number)

    def next_at(self) -> float:
        """When there is something to be done, if nothing happens before."""
        waiting = [self._members[number] for number in range(1, self._most_now() + 1) if number in self._members]
        due = [member.due_at for member in waiting if member.phase is Phase.OFF]
        return float("inf") if self._told else min(due, default=float("inf"))

    def _most_now(self) -> int:
        return self.wanted if self._has_begun else 1

    @property
    def code(self) -> int | None:
        """With which exit code it is over; None as long as it is not."""
        is_over = self._told > 0 and all(member.phase is Phase.OFF for member in self._members.values())
        return (self._code or 0) if is_over else None

    # What happens

    def stop(self) -> None:
        """All of them, once (more)."""
        self._told = min(self._told + 1, _MOST_TOLD)

    @property
    def is_stopping(self) -> bool:
        return self._told > 0

    def began(self, number: int) -> None:
        """Its queues are declared."""
        self._has_begun = True
        self._members[number].phase = Phase.BEGUN

    def ready(self, number: int, now: float) -> None:
        """It consumes."""
        self._members[number].phase = Phase.READY
        self._members[number].ready_at = now
        self.was_ready = self.was_ready or self.count(Phase.READY) >= self._least

    def ended(self, number: int, code: int, now: float) -> float | None:
        """Its process is gone, with this exit code (below 0: by a signal).

        Returns:
            After how many seconds it is started again; None if it is not.
        """
        member = self._members[number]
        phase, member.phase = member.phase, Phase.OFF
        ready_at, member.ready_at = member.ready_at, float("inf")
        if self._told:
            # Who was killed before it had begun held nothing; later, it may have left some to the end of their leases.
            self._code = self._code or int(code > 0 or (code < 0 and phase >= Phase.BEGUN))
            return None
        if code == WRONG_INPUT and phase is not Phase.READY and not self.was_ready:
            self._code = WRONG_INPUT
            self.stop()
            return None
        if member.told:
            member.due_at = now  # it is wanted again, perhaps
            return None
        member.falls = 1 if now >= ready_at + self._policy.proven_seconds else member.falls + 1
        pause_seconds = self._policy.pause(member.falls)
        member.due_at = now + pause_seconds
        return pause_seconds

    # What is there

    def is_told(self, number: int) -> bool:
        """Whether the process of this worker was to be told to stop."""
        return self._members[number].told > 0

    def count(self, phase: Phase) -> int:
        """Of those that are to stay, so many have come at least so far."""
        return sum(member.phase >= phase and not member.told for member in self._members.values())
