"""Series: deliveries that one worker carries one after another, with no switch of tasks between them.

As long as their handlers do not wait nobody else has a turn, so nothing can have changed for the next one: it takes
the place in the limits that the one before it has left. A series breaks off when a handler waits, when one does not
complete its message, and after a slice of time; what was not started by then is for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

from leveler.clock import Clock
from leveler.consumer.held import RUNNING, Held

#: So long handlers that do not wait may keep the loop busy: heartbeats, senders and signals can bear it.
SLICE_SECONDS: Final = 0.005

#: In a series of this length, what is done once a series is spread thin enough.
_LONGEST: Final = 256


class Stride:
    """How many deliveries a worker should take together: one while handlers wait, more and more while they do not."""

    def __init__(self) -> None:
        self.length = 1

    def lengthen(self) -> None:
        self.length = min(self.length * 2, _LONGEST)

    def shorten(self) -> None:
        self.length = 1


class Series:
    """One worker's.

    Args:
        batch: what the worker has taken. When the series breaks off, only the current one stays in it.
        clock: time.
        stride: learns whether handlers wait.
        on_break: told what is left to others.
        on_ran: told how many runs went well, and how long each took on average.
    """

    def __init__(
        self,
        batch: list[Held],
        clock: Clock,
        stride: Stride,
        *,
        on_break: Callable[[Sequence[Held]], object],
        on_ran: Callable[[int, float], object],
    ) -> None:
        self.batch = batch
        #: The one that the worker is at.
        self.current = batch[0]
        #: The worker.
        self.task = cast("asyncio.Task[object]", asyncio.current_task())
        #: It waits until it may start again; see `Runs.admit`.
        self.kept = False
        self._monotonic = clock.monotonic
        self._stride = stride
        self._on_break = on_break
        self._on_ran = on_ran
        # When the last run ended, and the next one began.
        self._now = 0.0
        # When the limits were told of those that went well, and how many have since.
        self._told_at = 0.0
        self._ran = 0
        self._over = False

    @property
    def carries(self) -> bool:
        """Whether something follows for the current one."""
        return not (self.current.lost or self.kept)

    @property
    def runs(self) -> bool:
        """Whether the current one's handler runs."""
        return self.current.state == RUNNING

    def __iter__(self) -> Iterator[Held]:
        """Each one that is to start now; the limits have admitted all of them."""
        self._now = self._told_at = self._monotonic()
        self._until = self._now + SLICE_SECONDS
        # The loop's next turn comes when a handler waits, unless the series is over by then.
        turn = asyncio.get_running_loop().call_soon(self._on_turn)
        for held in self.batch:  # `break_off` shortens it
            self.current = held
            yield held
        turn.cancel()
        if not self._over:
            self._stride.lengthen()
        self.break_off()

    def run_ended(self, held: Held, well: bool) -> None:
        """Just now. Of those that went well the limits are told by and by, together."""
        if not well:
            self.break_off()
        now = self._monotonic()
        held.value = None
        held.run_seconds = now - self._now
        self._now = now
        self._ran += well
        if now >= self._until or self.task.cancelling():
            self.break_off()

    def break_off(self) -> None:
        """Start no more of it."""
        if self._ran:
            ran, self._ran = self._ran, 0
            self._on_ran(ran, (self._now - self._told_at) / ran)
        self._told_at = self._now
        if not self._over:
            self._over = True
            rest = self.batch[self.batch.index(self.current) + 1 :]
            self.batch[:] = [self.current]  # which may run for long: nobody keeps the others as long as that
            if rest:
                self._on_break(rest)

    def _on_turn(self) -> None:
        """The current one waits. From now on others look at it, as it is written down here."""
        self._stride.shorten()
        self.break_off()
        self.current.waits(self._now, self.task)
