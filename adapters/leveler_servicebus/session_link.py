"""SessionLink: the other place that knows the client library's insides: it has one session after another.

The library makes a connection for each session, and sleeps ten times in between: half a second in all. What it does
there takes no longer than the way to the service and back a few times, and another link on a connection that is there
takes it once, so sessions follow each other on one connection.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final

from azure.servicebus.aio._async_utils import create_authentication
from azure.servicebus.exceptions import OperationTimeoutError

from leveler.errors import BrokerUnavailable, LeaseLost, LevelerError
from leveler_servicebus.errors import Unanswered
from leveler_servicebus.links import Closable, Settling, Taking
from leveler_servicebus.seen import seen

#: Over one connection: the library forgets no link that it ever had there, and the service has a bound for them.
_MOST_SESSIONS: Final = 100
#: Of one look, and of one bite of a purge.
_MOST_SEEN: Final = 250
#: What is known to be there comes at once.
_TAKE_SECONDS: Final = 1.0


class NoSession(BrokerUnavailable):
    """There is none with something to take that nobody has."""


class SessionLink(Taking, Settling):
    """Takes and settles the messages of one session, which it has locked: `accept` is the first call.

    The lock of a session belongs to its link. One that has failed is not made again: all calls raise `LeaseLost` until
    the next `accept`.

    Args:
        make: a receiver of the library's for the next available session that is not open yet.
        place: the queue, for messages.
        deadline_seconds: of one call.
        wait_seconds: for how long the service looks for a session. This bounds `accept`, since nothing else can: a
            call of the library's that is cancelled may not hear of it.
    """

    def __init__(
        self, make: Callable[[], Closable], place: str, deadline_seconds: float, *, wait_seconds: float
    ) -> None:
        super().__init__(make, place, deadline_seconds)
        self._wait_seconds = wait_seconds
        self._accepting = False
        self._sessions = 0

    async def accept(self) -> datetime | None:
        """Lock the next session that has something to take; until when, in the service's time, if it says so.

        Raises:
            NoSession: there was none.
        """
        self._accepting = True
        try:
            return await self.ask(_accepted, wait_seconds=self._wait_seconds)
        finally:
            self._accepting = False

    async def leave(self) -> None:
        """Give the session up. What is locked in it goes back at once, uncounted."""
        self._sessions += 1
        if self._sessions < _MOST_SESSIONS:
            await self.ask(_detached)
        else:
            await self.drop()

    async def renew_session(self) -> None:
        """Start the lock of the session anew."""

        async def verb(receiver: Any) -> None:
            await receiver.session.renew_lock(timeout=self.deadline_seconds)
            _forget_end(receiver)

        await self.ask(verb)

    async def count(self, most: int) -> int:
        """How many of the session's first messages can be taken now, up to so many. At least one, if there are any."""
        return sum(seen(shown).is_active for shown in await self._page(most, 1))

    async def drop(self) -> None:
        self._sessions = 0
        await super().drop()

    def _is_answer(self, error: LevelerError) -> bool:
        """What has lost its session the library would open again, for the same session."""
        return isinstance(error, NoSession) or not (self._accepting or isinstance(error, Unanswered | LeaseLost))

    async def _opened(self) -> None:
        """Only made: `_accepted` does what the library does when it opens one."""
        if self._open is None:
            if not self._accepting:
                raise LeaseLost(f"{self._place}: the link to the session is lost, and its lock with it")
            self._open = self._make()


async def emptied(link: SessionLink) -> int:
    """Take away all that is there to be had; how many there were."""
    removed = 0
    try:
        while True:
            await link.accept()
            seen = 1
            while seen:
                removed += len(await link.take(seen, _TAKE_SECONDS))
                seen = await link.count(_MOST_SEEN)
            await link.leave()
    except NoSession:
        return removed
    finally:
        await link.drop()


async def _accepted(receiver: Any) -> datetime | None:
    try:
        await receiver._do_retryable_operation(partial(_attached, receiver))
    except OperationTimeoutError as error:
        raise NoSession(str(error)) from error
    return _forget_end(receiver)


async def _attached(receiver: Any) -> None:
    if not receiver._running:
        receiver._create_handler(await create_authentication(receiver))  # type: ignore[no-untyped-call]
        await _open(receiver._handler)
        receiver._running = True
    while not await receiver._handler.client_ready_async():  # it attaches, then listens for the answer
        continue


async def _open(handler: Any) -> None:
    try:
        await handler.open_async()
    except BaseException:
        if handler._connection is not None:  # the library takes it for closed before there is more of it
            await handler._connection.close()
        raise


async def _detached(receiver: Any) -> None:
    await receiver._handler._close_link_async()
    receiver._handler._link = None


def _forget_end(receiver: Any) -> datetime | None:
    """When the lock ends. The library would look at this machine's clock, which may be wrong, to see that it has."""
    session = receiver.session
    until: datetime | None = session.locked_until_utc
    session._locked_until_utc = None
    return until
