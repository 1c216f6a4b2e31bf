"""Polls: requests for messages that are under way, as many as there is reason for.

One, while the queue is nearly empty: it waits at SQS, so an idle consumer costs a request every few seconds. Each
one that comes back full lets one more go; when one comes back nearly empty there is one again. While something comes
they do not wait for long, since whoever stops has to sit them out.

A poll is never cancelled. SQS may have leased messages to it already, which nobody else would see until their lease
ends. Whoever does not want its answer any more gets it all the same, and gives it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from leveler.adapter import Delivery
from leveler.clock import Clock
from leveler.errors import BrokerError, LevelerError
from leveler_sqs.background import Background

#: What one request brings.
MOST_ITEMS: Final = 10
#: How long one waits while the queue is busy.
_BUSY_SECONDS: Final = 1


class _Poll(NamedTuple):
    asked_for: int
    ends_at: float


class Polls:
    """
    Args:
        ask: one request: for how many, and how long it waits for the first, in whole seconds.
        clock: time.
        background: runs them.
        most: under way at once.
        on_answer: told what came, or why nothing did.
    """

    def __init__(
        self,
        ask: Callable[[int, int], Awaitable[Sequence[Delivery]]],
        clock: Clock,
        background: Background,
        most: int,
        *,
        on_answer: Callable[[Sequence[Delivery], LevelerError | None], None],
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._background = background
        self._most = most
        self._on_answer = on_answer
        self._wanted = 1
        self._is_busy = False
        self._under_way: dict[asyncio.Task[None], _Poll] = {}

    @property
    def asked(self) -> int:
        """How many messages may come with those that are under way."""
        return sum(poll.asked_for for poll in self._under_way.values())

    def any_ends_by(self, moment: float) -> bool:
        return any(poll.ends_at <= moment for poll in self._under_way.values())

    def start(self, room: int, wait_seconds: int) -> None:
        """Have as many under way as is worth it, for up to `room` messages more."""
        while room > 0 and len(self._under_way) < self._wanted:
            count = min(room, MOST_ITEMS)
            if count < MOST_ITEMS and self._under_way:  # a request costs the same, however few it is for
                return
            self._start(count, min(wait_seconds, _BUSY_SECONDS) if self._is_busy else wait_seconds)
            room -= count

    async def finished(self, seconds: float) -> None:
        """Wait for those under way, for so long; then they go on alone."""
        if self._under_way:
            await asyncio.wait(list(self._under_way), timeout=seconds)

    def _start(self, count: int, wait_seconds: int) -> None:
        task = self._background.start(self._poll(count, wait_seconds))
        self._under_way[task] = _Poll(count, self._clock.monotonic() + wait_seconds)

    async def _poll(self, count: int, wait_seconds: int) -> None:
        came: Sequence[Delivery] = ()
        failure: LevelerError | None = None
        try:
            came = await self._ask(count, wait_seconds)
        except LevelerError as error:
            failure = error
        except Exception as error:  # whatever it is, nobody waits for it in vain
            failure = BrokerError(f"the answer cannot be read: {error!r}")
        finally:
            del self._under_way[asyncio.current_task()]  # type: ignore[arg-type]  # it is one
        self._wanted = self._next_wanted(count, len(came))
        self._is_busy = bool(came)
        self._on_answer(came, failure)

    def _next_wanted(self, asked: int, came: int) -> int:
        if came == asked == MOST_ITEMS:
            return min(self._wanted + 1, self._most)
        return self._wanted if 2 * came > asked else 1
