"""Sessions: which of them one receiver has, and how many more it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from leveler.adapter import INFINITE, Delivery
from leveler.clock import Clock
from leveler.errors import BrokerUnavailable
from leveler_servicebus.clocks import Clocks
from leveler_servicebus.session import Session
from leveler_servicebus.session_link import SessionLink
from leveler_servicebus.turn import Turn

#: Until the first answer one does not know whether there is a queue at all.
_FIRST_WAIT_SECONDS: Final = 0.5
#: Who has waited for a session for so long would have got one, had there been one.
_LOOK_SECONDS: Final = 1.0
#: Links that are made at the same time, if each of them gets a session.
_MOST_AT_ONCE: Final = 32
#: Sessions of which something is out, or that something is taken of: each has a connection.
_MOST_AT_WORK: Final = 100
#: Sessions that are only kept from others, for as long as a delay lasts. With so many nothing else is begun.
_MOST_AT_REST: Final = 100


class Sessions:
    """
    Args:
        connect: makes a link; its argument is for how long it waits for a session.
        clock: for leases and waits.
        clocks: what the service's clock says.
        lock_seconds: how long a lock lasts.
        silence_seconds: a wait for a session that is longer shows that nobody is there.
        changed: told when there is something to hand out, or to ask for.
    """

    def __init__(
        self,
        connect: Callable[[float], SessionLink],
        clock: Clock,
        clocks: Clocks,
        *,
        lock_seconds: float,
        silence_seconds: float,
        changed: Callable[[], object],
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._clocks = clocks
        self._lock = lock_seconds
        self._silence = silence_seconds
        self._changed = changed
        self._turns: list[Turn] = []
        #: Those that have ended and say farewell still.
        self._leaving: list[Turn] = []
        self._appetite = 1
        self._closed = False
        self._was_answered = False
        #: When there was no session to be had.
        self._none_at = 0.0
        #: When something wrong was told. What had begun before fails of the same, one after the other.
        self._told_at = -INFINITE

    def ask_for(self, wanted: int) -> None:
        """See that so many deliveries are on their way: of what we have half of it, since other keys wait, too.

        Raises:
            Exception: what has kept one from coming.
        """
        self._sweep()
        wanted -= sum(turn.coming for turn in self._turns)
        for turn in self._turns:
            if turn.is_idle and turn.session and wanted > 0:
                wanted -= turn.order(max(1, wanted // 2))
        at_rest = sum(turn.session is not None and turn.session.rests for turn in self._turns)
        if at_rest < _MOST_AT_REST:
            accepting = sum(turn.accepts for turn in self._turns)
            self._accept(min(min(wanted, self._appetite) - accepting, _MOST_AT_WORK + at_rest - len(self._turns)))

    def hand_out(self, most: int) -> list[Delivery]:
        """Up to so many of what has come."""
        handed: list[Delivery] = []
        for turn in self._turns:
            if turn.session is not None and len(handed) < most:
                handed += turn.session.hand_out(most - len(handed))
        return handed

    def has_looked(self, since: float) -> bool:
        """Whether what is there to be had since then would be here."""
        looking = [turn.began_at for turn in self._turns if turn.accepts]
        long_ago = min(looking, default=0.0) + _LOOK_SECONDS <= self._clock.monotonic()
        return self._was_answered and (self._none_at >= since or long_ago)

    @property
    def are_over(self) -> bool:
        """Whether nothing is left of a receiver that is closed."""
        return self._closed and all(turn.has_left for turn in (*self._turns, *self._leaving))

    async def dismiss(self) -> None:
        """Ask for nothing more, and give back what was not handed out."""
        await asyncio.gather(*(turn.dismiss() for turn in self._turns))

    async def close(self) -> None:
        """The same, and what was handed out goes back as after a crash. Delays go on."""
        self._closed = True
        await asyncio.gather(*(turn.close() for turn in self._turns))

    async def cut(self) -> None:
        """The same, and delays are over."""
        await asyncio.gather(*(turn.cut() for turn in (*self._turns, *self._leaving)))

    def _accept(self, more: int) -> None:
        idle = [turn for turn in self._turns if turn.is_idle and not turn.session]
        for _ in range(more):
            if idle:
                idle.pop().accept()
            else:
                self._turns.append(self._new_turn())

    def _new_turn(self) -> Turn:
        link = self._connect(self._silence if self._was_answered else _FIRST_WAIT_SECONDS)
        return Turn(link, self._clock, locked=self._locked, changed=self._changed)

    def _locked(self, link: SessionLink, locked_until: datetime | None) -> Session:
        self._was_answered = True
        self._appetite = min(2 * self._appetite, _MOST_AT_ONCE)
        return Session(link, self._clock, self._clocks, self._lock, locked_until)

    def _sweep(self) -> None:
        """Turns that have ended say what they have found."""
        over = [turn for turn in self._turns if turn.is_over]
        self._turns = [turn for turn in self._turns if not turn.is_over]
        self._leaving = [turn for turn in (*self._leaving, *over) if not turn.has_left]
        if any(turn.found_none for turn in over):
            self._was_answered = True
            self._none_at = self._clock.monotonic()
            self._appetite = 1
        for turn in over:
            is_told = isinstance(turn.failure, BrokerUnavailable) and turn.began_at < self._told_at
            if turn.failure and not is_told:
                self._told_at = self._clock.monotonic()
                self._appetite = 1
                raise turn.failure
