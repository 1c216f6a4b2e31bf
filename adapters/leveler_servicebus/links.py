"""Links: all that is used of the client library to receive and to settle. The one place that knows its insides.

Its public way settles one message at a time, each with an answer that is waited for, and not at all well while the same
receiver waits for messages: on one connection either starves the other. The service itself takes many settlements, or
renewals, in one request. So there are two receivers: one takes, the other settles, by lock tokens, and both only ever
do one thing at a time. A lock belongs to the queue and not to a link, so it survives a lost one.

Whatever goes wrong with a link ends it: the next call makes a new one. The library's own repair is off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeVar

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus._common.mgmt_handlers import peek_op

from leveler.errors import BrokerUnavailable, LeaseLost, LevelerError
from leveler_servicebus.errors import Unanswered, translate
from leveler_servicebus.seen import Seen, seen

_T = TypeVar("_T")

#: What becomes of a message, in the service's words.
Status = Literal["completed", "abandoned", "suspended"]

#: By then all has been given back. The rest of a farewell takes the library a second.
_FAREWELL_SECONDS: Final = 0.3
_LONGEST_FAREWELL_SECONDS: Final = 5.0
#: More in one request saves no time worth speaking of.
MOST_TOKENS: Final = 100


class Unread(BrokerUnavailable):
    """A message has come that the library cannot read, and has ended the link: it stays locked until its lock ends."""


class Closable(Protocol):
    """What all of the library's senders and receivers have."""

    async def __aenter__(self) -> Any: ...

    async def close(self) -> None: ...


class Link:
    """A sender or a receiver of the library's, made when it is needed, and again when it has failed.

    Args:
        make: one that is not open yet.
        place: the queue, for messages.
        deadline_seconds: of one call.
    """

    def __init__(self, make: Callable[[], Closable], place: str, deadline_seconds: float) -> None:
        self._make = make
        self._place = place
        #: Of one call.
        self.deadline_seconds = deadline_seconds
        self._open: Closable | None = None
        self._busy = asyncio.Lock()
        #: Those that say farewell still.
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, verb: Callable[[Any], Awaitable[_T]], *, wait_seconds: float = 0.0) -> _T:
        """The answer of one call, one at a time.

        Args:
            verb: the call, on what is open.
            wait_seconds: for how long the call itself may wait.

        Raises:
            LevelerError: see `leveler_servicebus.errors`.
        """
        due = asyncio.get_running_loop().time() + self.deadline_seconds + wait_seconds
        try:
            async with asyncio.timeout_at(due):
                await self._busy.acquire()
        except TimeoutError as error:
            raise BrokerUnavailable(
                f"{self._place}: an earlier call has taken all the time: nothing was done"
            ) from error
        try:
            async with asyncio.timeout_at(due):
                await self._opened()
                return await verb(self._open)
        except Exception as error:
            wrong = translate(error, self._place)
            if not self._is_answer(wrong):
                await self.drop()
            raise wrong from error
        except asyncio.CancelledError:  # in the middle of a frame, perhaps
            await self.drop()
            raise
        finally:
            self._busy.release()

    @property
    def is_open(self) -> bool:
        return self._open is not None

    def _is_answer(self, error: LevelerError) -> bool:
        """Whether the link is as good after it as it was before."""
        return isinstance(error, LeaseLost)

    async def open(self) -> None:
        """So that the first call does not have to wait for it."""
        await self.ask(_nothing)

    async def _opened(self) -> None:
        if self._open is not None:
            return
        self._open = self._make()
        try:
            await self._open.__aenter__()
        except Exception as error:
            wrong = translate(error, self._place)
            raise (BrokerUnavailable(str(wrong)) if isinstance(wrong, Unanswered) else wrong) from error

    async def doubt(self) -> None:
        """End it if it idles: nobody may be there any more. Who is asking something finds that out alone."""
        if not self._busy.locked():
            await self.drop()

    async def drop(self) -> None:
        """End it. What has come and was not taken from it goes back at once, uncounted."""
        if self._open is None:
            return
        was, self._open = self._open, None
        closing = asyncio.create_task(_closed(was), name=f"close {self._place}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.wait({closing}, timeout=_FAREWELL_SECONDS)


class Probing(Link):
    """A link to a queue that one may look into."""

    async def probe(self) -> None:
        """A question whose answer shows that there is still somebody at the other end, if none is being asked."""
        if not self._busy.locked():
            await self._page(1, 1)

    async def _page(self, count: int, first: int) -> list[bytes]:
        """Messages as they are, from this number on: the library's own look fails with one that it cannot read."""

        async def verb(receiver: Any) -> list[bytes]:
            def answer(status: int, answered: Any, description: str, amqp_transport: Any) -> list[bytes]:
                if status == 200:
                    return [one[b"message"] for one in answered.value[b"messages"]]
                nothing: list[bytes] = peek_op(  # type: ignore[no-untyped-call]
                    status, answered, description, receiver, amqp_transport
                )
                return nothing

            asked = {"from-sequence-number": receiver._amqp_transport.AMQP_LONG_VALUE(first), "message-count": count}
            receiver._populate_message_properties(asked)
            shown: list[bytes] = await receiver._mgmt_request_response_with_retry(
                b"com.microsoft:peek-message", asked, answer, timeout=self.deadline_seconds
            )
            return shown

        return await self.ask(verb)


class Taking(Probing):
    """Takes messages."""

    async def take(self, count: int, wait_seconds: float) -> Sequence[ServiceBusReceivedMessage]:
        """Up to so many, waiting for the first; see `leveler_servicebus.appetite` for what comes after it."""

        async def verb(receiver: Any) -> Sequence[ServiceBusReceivedMessage]:
            began_at = asyncio.get_running_loop().time()
            came: Sequence[ServiceBusReceivedMessage] = await receiver.receive_messages(
                count, max_wait_time=wait_seconds
            )
            if not came and asyncio.get_running_loop().time() - began_at < wait_seconds / 2:
                # The library has met what it cannot read, waits for nothing any more, and says so only much later.
                raise Unread(f"{self._place}: the link has ended over what cannot be read: a new one is made")
            if len(came) < count:
                await self._quench(receiver)
            return came

        return await self.ask(verb, wait_seconds=wait_seconds)

    async def stop(self) -> None:
        """Take nothing more until the next `take`; what is on its way goes back."""
        async with self._busy:
            await self.drop()

    async def _quench(self, receiver: Any) -> None:
        """Or what comes next would be locked, with nobody to take it."""
        try:
            await receiver._amqp_transport.reset_link_credit_async(receiver._handler, 0)
        except Exception:  # what has been taken is ours all the same
            await self.drop()


class Settling(Probing):
    """Settles messages and renews their locks, many at once."""

    async def settle(self, status: Status, tokens: Sequence[Any], *, reason: str = "", description: str = "") -> None:
        """All of them, or an error for the whole: then some may have been settled."""
        details = {"deadletter-reason": reason, "deadletter-description": description} if reason else None

        async def verb(receiver: Any) -> None:
            await receiver._do_retryable_operation(
                receiver._settle_message_via_mgmt_link,
                settlement=status,
                lock_tokens=list(tokens),
                dead_letter_details=details,
            )

        await self.ask(verb)

    async def renew(self, tokens: Sequence[Any]) -> list[datetime]:
        """When each ends now, in the service's time."""
        answer = await self.ask(lambda receiver: receiver._renew_locks(*tokens, timeout=self.deadline_seconds))
        return [datetime.fromtimestamp(stamp / 1000, UTC) for stamp in answer[b"expirations"]]

    async def peek(self, count: int) -> Sequence[Seen]:
        """The first ones, in whatever state. The service shows a part of them at a time."""
        found: list[Seen] = []
        after = 0
        while len(found) < count and (page := await self._page(count - len(found), after + 1)):
            found += map(seen, page)
            numbers = [one.sequence for one in found if one.sequence is not None]
            if not numbers or numbers[-1] <= after:  # there is no telling what comes next
                break
            after = numbers[-1]
        return found


async def _closed(was: Closable) -> None:
    try:
        async with asyncio.timeout(_LONGEST_FAREWELL_SECONDS):
            await was.close()
    except Exception:  # it is gone already
        return


async def _nothing(opened: object) -> None:
    pass
