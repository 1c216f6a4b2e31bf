"""Exchange: one request from its arrival to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from leveler.clock import Clock
from leveler.message import Message

#: The answers. What is below 500 does not count as a try; see `leveler_cloudtasks.attempt`.
DONE: Final = 200
REFUSED: Final = 429
FAILED: Final = 500


class Exchange:
    """Waits for a receiver, is then one's delivery, and is answered once: by it, or because its time is over.

    Args:
        message: what came.
        attempt: which one this is.
        origin: the sender's own name for what it sends, the same at each try.
        lease_seconds: how long the caller waits, less what the way back takes.
        clock: time.
    """

    __slots__ = ("_ended", "_sent", "_timer", "attempt", "leased_until", "message", "origin", "reply")

    def __init__(self, message: Message, attempt: int, origin: str, lease_seconds: float, clock: Clock) -> None:
        loop = asyncio.get_running_loop()
        self.message = message
        self.attempt = attempt
        self.origin = origin
        self.leased_until = clock.monotonic() + lease_seconds
        #: The HTTP status of the answer, once there is one; 0: the caller has gone, so nobody gets one.
        self.reply: asyncio.Future[int] = loop.create_future()
        self._sent: asyncio.Future[bool] = loop.create_future()
        self._ended: Callable[[Exchange], object] | None = None
        self._timer = clock.call_later(lease_seconds, lambda: self.answer(FAILED))

    @property
    def open(self) -> bool:
        return not self.reply.done()

    def held(self, ended: Callable[[Exchange], object]) -> None:
        """Somebody has it. `ended` is called as soon as it is answered, by whomever."""
        self._ended = ended

    def answer(self, status: int) -> bool:
        """Answer; False if it was answered before."""
        if self.reply.done():
            return False
        self._timer.cancel()
        self.reply.set_result(status)
        if self._ended is not None:
            self._ended(self)
        return True

    def gone(self) -> None:
        """The caller does not listen any more."""
        self.answer(0)

    def sent(self, out: bool) -> None:
        """The answer is on its way, or could not be sent."""
        if not self._sent.done():
            self._sent.set_result(out)

    async def was_sent(self) -> bool:
        """Whether the answer went out; waits until that is known."""
        return await asyncio.shield(self._sent)
