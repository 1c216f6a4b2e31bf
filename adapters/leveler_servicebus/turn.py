"""Turn: one connection that has one session after another, for as long as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from leveler.clock import Clock
from leveler.errors import BrokerUnavailable, LeaseLost, LevelerError
from leveler_servicebus.session import Session
from leveler_servicebus.session_link import NoSession, SessionLink

#: What is not wanted for so long is for others: a session is given up, a connection is closed.
_IDLE_SECONDS: Final = 0.5
#: A key that never runs dry makes way for others after so long.
_LONGEST_SECONDS: Final = 2.0
#: By then an accept that was called back has given back what it got.
_CALL_SECONDS: Final = 0.3
#: It may not hear of it the first time: the library's reading of a frame that has just come keeps it to itself.
_MOST_CALLS: Final = 10


class Turn:
    """Begins at once, with the next session.

    Args:
        link: that has no session yet.
        clock: for waits.
        locked: makes the session that a link has locked; until when, in the service's time.
        changed: told when there is something to hand out, or to order, or nothing more to come.
    """

    def __init__(
        self,
        link: SessionLink,
        clock: Clock,
        *,
        locked: Callable[[SessionLink, datetime | None], Session],
        changed: Callable[[], object],
    ) -> None:
        self._link = link
        self._clock = clock
        self._locked = locked
        self._changed = changed
        self.began_at = clock.monotonic()
        self.session: Session | None = None
        #: Whether it has ended, because there was no session to be had, or something was wrong, or nobody wanted more.
        self.is_over = False
        self.found_none = False
        self.failure: Exception | None = None
        #: Whether it waits for a session.
        self.accepts = True
        #: How many deliveries are on their way.
        self.ordered = 0
        self._left = 0
        self._order: asyncio.Future[bool] | None = None
        self._dismissed = False
        self._task = asyncio.create_task(self._run(), name="turn of sessions")

    @property
    def has_left(self) -> bool:
        """Whether nothing of it is left, not even a farewell."""
        return self._task.done()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for an order: of more messages of its session, or of a session, if it has none."""
        return self._order is not None and not self._order.done()

    @property
    def coming(self) -> int:
        """How many deliveries are on their way, or have come and are not handed out."""
        return self.ordered + (len(self.session.waiting) if self.session else 0)

    def order(self, most: int) -> int:
        """Get up to so many deliveries, 0 for none any more; how many there may be, then."""
        self.ordered = min(most, self._left)
        self._answer(self.ordered > 0)
        return self.ordered

    def accept(self) -> None:
        """Get another session."""
        self.accepts, self.began_at = True, self._clock.monotonic()
        self._answer(True)

    async def dismiss(self) -> None:
        """Get nothing more. What has been fetched goes back, and then the session; what is out can still be settled."""
        self._dismissed = True
        self._answer(False)
        if self.session is None:
            await self._call_back()
        elif self.session.waiting:
            self.session.end()

    async def close(self) -> None:
        """The same, and what is out goes back as after a crash. A delay goes on."""
        if self.session is not None and self.session.rests:
            self._dismissed = True
        else:
            await self.cut()

    async def cut(self) -> None:
        """The same, and a delay is over."""
        self._dismissed = True
        self._answer(False)
        if self.session is None:
            await self._call_back()
        else:
            self.session.cut()
            await asyncio.wait({self._task}, timeout=self._link.deadline_seconds)

    async def _call_back(self) -> None:
        for _ in range(_MOST_CALLS):
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_CALL_SECONDS)
            if self._task.done():
                return

    async def _run(self) -> None:
        try:
            goes_on = True
            while goes_on:
                self.session = self._locked(self._link, await self._link.accept())
                self.accepts, self._left = False, 1
                await self._serve(self.session)
                await self._part(self.session)
                goes_on = await self._is_ordered()
        except NoSession:
            self.found_none = True
        except Exception as error:
            self.failure = error
        finally:
            self.accepts, self.is_over = False, True
            self._changed()
            await self._link.drop()

    async def _serve(self, session: Session) -> None:
        """Until it has nothing more, or nobody wants it, or others have waited for long enough."""
        until = self._clock.monotonic() + _LONGEST_SECONDS
        try:
            while self._left and await self._is_ordered() and await self._fetch(session):
                await session.over()
                if self._dismissed or not session.goes_on or self._clock.monotonic() > until:
                    return
                self._left = self._left or await session.count()
        except (LeaseLost, BrokerUnavailable):  # whether the service is there at all the next wait for a session tells
            session.lose()

    async def _fetch(self, session: Session) -> int:
        """How many there were. What is known to be left behind them stays, since the session is ours."""
        try:
            came = await session.fetch(self.ordered)
            self._left = self._left - came if came == self.ordered else 0
            return came
        finally:
            self.ordered = 0
            if self._dismissed:
                session.end()
            self._changed()

    async def _is_ordered(self) -> bool:
        """Whether somebody wants to have more, and says so in time."""
        if self._dismissed:
            return False
        order: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._order = order
        timer = self._clock.call_later(_IDLE_SECONDS, lambda: self._answer(False))
        self._changed()
        try:
            return await order
        finally:
            timer.cancel()
            self._order = None

    def _answer(self, wanted: bool) -> None:
        if self._order is not None and not self._order.done():
            self._order.set_result(wanted)

    async def _part(self, session: Session) -> None:
        session.end()
        try:
            if session.out:
                await session.give_back()
            await self._link.leave()
        except LevelerError:
            await self._link.drop()
        self.session = None
