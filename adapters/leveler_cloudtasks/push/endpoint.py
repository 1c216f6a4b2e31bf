"""Endpoint: the ASGI app. Decides who may call before it reads what they send."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple, Protocol

from leveler.clock import Clock
from leveler.errors import LevelerError, MessageTooLarge
from leveler.message import Message
from leveler_cloudtasks.push.desk import Desk, Desks
from leveler_cloudtasks.push.exchange import DONE, REFUSED, Exchange

log = logging.getLogger("leveler")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Mapping[str, str]

#: Those who call send what they have at once; who does not is not one of them.
BODY_SECONDS: Final = 10.0

_MARGIN: Final = 0.05
_MOST_MARGIN_SECONDS: Final = 1.0


class Guard(Protocol):
    """Who may call."""

    async def check(self, headers: Headers) -> int:
        """0, or the HTTP status of the refusal."""
        ...


class Arrived(NamedTuple):
    """A request as it was understood."""

    message: Message
    attempt: int
    #: The sender's own name for it, the same at each try.
    origin: str
    #: How long the sender waits for the answer; None = as long as the queue's lease.
    lease_seconds: float | None
    #: What is to be sent in its place. Only if it is too large for that, it is handed out itself.
    instead: Message | None = None


class Unreadable(Exception):
    """A request that nothing can be made of: `status` says why, and none of it is kept."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Endpoint:
    """POST .../QUEUE is a delivery of that queue, if one of its receivers has room; else it is refused with 429.

    Args:
        guard: who may call.
        read: makes a message of a request; may raise `Unreadable`.
        takes_any_method: whether a request with these headers may be other than POST and PUT.
        max_body_bytes: what is larger is refused with 413, unread.
        clock: time.
    """

    def __init__(
        self,
        guard: Guard,
        read: Callable[[Headers, bytes], Arrived],
        *,
        takes_any_method: Callable[[Headers], bool] = lambda headers: False,
        max_body_bytes: int,
        clock: Clock,
    ) -> None:
        self.desks = Desks(clock)
        self._guard = guard
        self._read = read
        self._takes_any_method = takes_any_method
        self._most = max_body_bytes
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        came_at = self._clock.monotonic()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        name = scope["path"].rstrip("/").rpartition("/")[2]
        desk = self.desks.get(name)
        refusal = await self._refusal(scope["method"], headers, desk)
        if refusal or desk is None:
            await _answer(send, refusal)
            return
        try:
            body = await self._body(receive)
            arrived = self._read(headers, body)
        except Unreadable as error:
            await _answer(send, error.status)
            return
        if not desk.has_room():  # any more
            await _answer(send, REFUSED)
        elif arrived.instead is not None and (status := await _replaced(desk, arrived.instead)):
            await _answer(send, status)
        else:
            exchange = self._exchange(desk, arrived, came_at)
            desk.offer(exchange)
            await _settled(exchange, receive, send)

    async def _refusal(self, method: str, headers: Headers, desk: Desk | None) -> int:
        """What is said without a look at the body; 0 = nothing against it. Strangers learn nothing of our queues."""
        if status := await self._guard.check(headers):
            return status
        if method not in ("POST", "PUT") and not self._takes_any_method(headers):
            return 405
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length[:20]) > self._most:
            return 413
        return 0 if desk is not None and desk.has_room() else REFUSED

    async def _body(self, receive: Receive) -> bytes:
        chunks, size = [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise Unreadable(400)
                    chunks.append(event.get("body", b""))
                    size += len(chunks[-1])
                    if size > self._most:
                        raise Unreadable(413)
                    if not event.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            raise Unreadable(408) from None

    def _exchange(self, desk: Desk, arrived: Arrived, came_at: float) -> Exchange:
        """Our lease ends before the sender stops to listen: the answer must arrive in time."""
        lease = arrived.lease_seconds or desk.lease_seconds
        lease -= min(_MARGIN * lease, _MOST_MARGIN_SECONDS) + self._clock.monotonic() - came_at
        return Exchange(arrived.message, arrived.attempt, arrived.origin, lease, self._clock)


async def _settled(exchange: Exchange, receive: Receive, send: Send) -> None:
    """Answer once it is settled; never before."""
    leaving = asyncio.ensure_future(receive())  # after the body there is nothing but the end
    leaving.add_done_callback(lambda _: exchange.gone())
    out = False
    try:
        status = await exchange.reply
        listening = status != 0 and not leaving.done()
        if listening:
            await _answer(send, status)
        out = listening
    finally:
        exchange.gone()  # cancelled: the server stops
        exchange.sent(out)
        leaving.cancel()


async def _replaced(desk: Desk, instead: Message) -> int:
    """The copy is confirmed before the source goes. 0 = there can be none."""
    try:
        await desk.resend(instead)
    except MessageTooLarge:
        return 0
    except LevelerError as error:
        log.warning("a copy of message %s cannot be sent, so it is refused: %s", instead.id, error)
        return REFUSED
    return DONE


async def _answer(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _live(receive: Receive, send: Send) -> None:
    """The server's start and stop are none of ours."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
