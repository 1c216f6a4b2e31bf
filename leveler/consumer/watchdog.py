"""Watchdog: a receiver may answer in time and for ever with nothing, while the broker has messages for it.

That has been seen with every kind of broker: a subscription that the server has forgotten, a poll on a connection
whose other end was moved. So when nothing has come for a while, the queue is asked how much it has.
"""

from __future__ import annotations

from typing import Final

from leveler.adapter import Adapter, Capabilities, QueueSpec
from leveler.clock import Clock
from leveler.errors import LevelerError, ReceiverLost
from leveler.patience import Unanswered, answer

#: How long nothing must come before the queue is asked, and between two questions.
LOOK_SECONDS: Final = 30.0


class Watchdog:
    """
    Args:
        adapter: knows the depth.
        spec: of the queue.
        can: whether its depth can be known, and whether we ask the broker or it calls us.
        clock: time.
    """

    def __init__(self, adapter: Adapter, spec: QueueSpec, can: Capabilities, clock: Clock) -> None:
        self._adapter = adapter
        self._spec = spec
        self._knows = can.depth != "none" and not can.push
        self._clock = clock
        self._calm()

    async def watch(self, fed: bool) -> None:
        """A receive has ended.

        Args:
            fed: whether it has brought something, or something is still held, or a new receiver begins.

        Raises:
            ReceiverLost: the queue had messages ready for a whole `LOOK_SECONDS`.
        """
        if fed:
            self._calm()
        elif self._knows and self._clock.monotonic() >= self._look_at:
            await self._look()

    def _calm(self) -> None:
        self._look_at = self._clock.monotonic() + LOOK_SECONDS
        self._barked = False

    async def _look(self) -> None:
        ready = await self._ready()
        if ready and self._barked:
            raise ReceiverLost(
                f"queue {self._spec.name!r} has {ready} messages ready, and its receiver brings none: making a new one"
            )
        self._calm()
        self._barked = ready > 0

    async def _ready(self) -> int:
        """How many should have come; 0 where that cannot be known now."""
        try:
            depth = await answer(self._adapter.depth(self._spec), self._clock, self._adapter.deadline_seconds)
        except (LevelerError, Unanswered):
            return 0  # the receiver's own trouble is noticed by the receiver
        # Of an ordered queue what is ready may have to wait for what somebody else has.
        return 0 if self._spec.ordered and depth.leased != 0 else depth.ready or 0
