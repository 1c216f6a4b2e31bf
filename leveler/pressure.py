"""Pressure: what a producer does while its queue is as full as it is to be: it waits for room, or says so.

The bound on the depth is the broker's, which refuses what is too much. The bound on the wait is kept here, by a
forecast from the depth, which is asked for once a second at most.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from leveler import units
from leveler.adapter import Depth
from leveler.clock import Clock
from leveler.errors import BrokerError, LevelerError, QueueFull
from leveler.forecast import Forecast
from leveler.message import Message

#: Sends messages; the error of each one that was not accepted, by its index.
Deliver = Callable[[Sequence[Message]], Awaitable[Mapping[int, LevelerError]]]

_LOOK_SECONDS: Final = 1.0
#: ... but for the first time that more than a few wait: nobody knows yet what is done in a second.
_FIRST_LOOK_SECONDS: Final = 0.25
_FEW: Final = 10
_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 1.0


class Pressure:
    """On the producer of one queue.

    Args:
        queue: its name.
        max_wait_seconds: no message is to wait longer; None = whatever the broker takes.
        block_seconds: how long to wait for room where the sender does not say; 0 = not at all.
        max_batch: the most that one call takes.
        depth: asks the broker.
        clock: time.
        rng: chance: who waits for room does not look for it in lockstep with the others.
    """

    def __init__(
        self,
        queue: str,
        *,
        max_wait_seconds: float | None,
        block_seconds: float,
        max_batch: int,
        depth: Callable[[], Awaitable[Depth]],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        #: The queue may become full.
        self.is_expected = max_wait_seconds is not None or block_seconds > 0
        self._block_seconds = block_seconds
        self._queue = queue
        self._max_wait_seconds = max_wait_seconds
        self._max_batch = max_batch
        self._depth = depth
        self._clock = clock
        self._rng = rng
        self._forecast = Forecast()
        self._looking = asyncio.Lock()

    async def send(
        self, messages: Sequence[Message], block_seconds: float | None, deliver: Deliver
    ) -> dict[int, LevelerError]:
        """Deliver `messages` in order, as there is room for them.

        Args:
            messages: those.
            block_seconds: how long to wait for room; None = as long as is usual here.
            deliver: hands them to the broker.

        Returns:
            The error of each one that was not accepted; `QueueFull`, if there was no room in time.
        """
        give_up_at = self._clock.monotonic() + (self._block_seconds if block_seconds is None else block_seconds)
        failed: dict[int, LevelerError] = {}
        left = list(range(len(messages)))
        pause_seconds = _FIRST_PAUSE_SECONDS
        while left:
            room = await self._room(min(len(left), self._max_batch))
            errors = await self._deliver([messages[index] for index in left[:room]], deliver) if room else {}
            of_index = {left[place]: errors[place] for place in sorted(errors)}
            full = {index: error for index, error in of_index.items() if isinstance(error, QueueFull)}
            failed |= {index: error for index, error in of_index.items() if index not in full}
            is_stuck, left = room == len(full), [*full, *left[room:]]
            if not is_stuck:
                pause_seconds = _FIRST_PAUSE_SECONDS
            elif await self._pause(pause_seconds, give_up_at):
                pause_seconds = min(pause_seconds * 2, _LAST_PAUSE_SECONDS)
            else:
                return failed | {index: full.get(index) or self._full() for index in left}
        return failed

    async def _deliver(self, messages: Sequence[Message], deliver: Deliver) -> Mapping[int, LevelerError]:
        self._forecast.begin(len(messages))
        accepted = 0
        try:
            errors = await deliver(messages)
            accepted = len(messages) - len(errors)
        finally:
            self._forecast.end(accepted, len(messages) - accepted)
        return errors

    async def _room(self, wanted: int) -> int:
        """How many may be sent now."""
        if self._max_wait_seconds is None:
            return wanted
        async with self._looking:  # who comes meanwhile looks at what this one has seen
            is_new = self._forecast.per_second is None and self._forecast.waiting > _FEW
            due = self._forecast.looked_at + (_FIRST_LOOK_SECONDS if is_new else _LOOK_SECONDS)
            if self._clock.monotonic() >= due:
                await self._look()
        return int(min(wanted, self._forecast.room(self._max_wait_seconds)))

    async def _look(self) -> None:
        self._forecast.before_look()
        try:
            depth = await self._depth()
        except BrokerError:  # then the send itself will say what is wrong
            return
        self._forecast.look(self._clock.monotonic(), depth)

    async def _pause(self, seconds: float, give_up_at: float) -> bool:
        """Wait a little for room. False: the time for that is over."""
        left = give_up_at - self._clock.monotonic()
        if left <= 0:
            return False
        await self._clock.sleep(min(left, self._rng.uniform(0.5, 1.0) * seconds))
        return True

    def _full(self) -> QueueFull:
        wait = units.duration(round(self._forecast.wait_seconds(), 1))
        most = units.duration(self._max_wait_seconds or 0.0)
        return QueueFull(
            f"a message sent to {self._queue!r} now would wait for about {wait} (max_wait is {most}): it was not sent; "
            "send it again later, or let send wait for room (when_full: block)"
        )
