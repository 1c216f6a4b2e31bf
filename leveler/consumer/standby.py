"""Standby: while a downstream takes nothing, nothing is asked for and nothing is held for it.

A breaker that is open and a long pause are alike in this: what is held would only wait here, where nobody else can
have it, and its lease would have to be renewed. So the broker's flow is stopped and what is not started goes back. For
a probe the flow is opened again, as far as the limits let one run start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from leveler.adapter import INFINITE
from leveler.clock import Clock, Timer
from leveler.consumer.limits import Limits


class Standby:
    """One consumer's.

    Args:
        clock: time.
        limits: they say for how long surely nothing will start, and whether what may start is a probe.
        pause: asks for nothing any more.
        resume: asks again.
        stop: stops the flow; returns when nothing comes any more. First `pause`.
        give_back: everything that nobody has started.
        start: runs a task, and looks after it.
        on_turned: told for how long it stands by, 0 = not any more, and whether only for a probe.
    """

    def __init__(
        self,
        clock: Clock,
        limits: Limits,
        *,
        pause: Callable[[], object],
        resume: Callable[[], object],
        stop: Callable[[], Awaitable[None]],
        give_back: Callable[[], object],
        start: Callable[[Coroutine[Any, Any, None]], object],
        on_turned: Callable[[float, bool], object],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._pause = pause
        self._resume = resume
        self._stop = stop
        self._give_back = give_back
        self._start = start
        self._on_turned = on_turned
        self._timer: Timer | None = None
        #: Nothing is asked for.
        self.stands = False

    def look(self) -> None:
        """Something has turned at the limits, or time has come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        seconds = self._limits.shut_seconds()
        if seconds > 0 and not self.stands:
            self.stands = True
            self._pause()
            self._start(self._stop_flow())
            self._on_turned(seconds, False)
        elif seconds <= 0 and self.stands:
            self.stands = False
            self._resume()
            self._on_turned(0.0, self._limits.down_seconds() is not None)
        if 0 < seconds < INFINITE:
            self._timer = self._clock.call_later(seconds, self.look)

    def end(self) -> None:
        """The consumer ends: look no more."""
        if self._timer is not None:
            self._timer.cancel()

    async def _stop_flow(self) -> None:
        await asyncio.sleep(0)  # one that has just been let in knows it before the others are sent away
        if self.stands:
            self._give_back()
            await self._stop()
        if self.stands:  # what has come meanwhile
            self._give_back()
