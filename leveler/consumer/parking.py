"""Parking: deliveries that stay leased until it is time to start them, where the broker cannot take them back
without counting an attempt. They hold no worker and no slot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leveler.clock import Clock, Timer
from leveler.consumer.held import ARRIVED, Held

_LOOK_AGAIN_SECONDS: Final = 1.0


class Parking:
    """The parked deliveries of one consumer.

    Args:
        clock: time.
        on_time: told of each one whose time has come; False = not yet, wait on.
    """

    def __init__(self, clock: Clock, on_time: Callable[[Held], bool]) -> None:
        self._clock = clock
        self._on_time = on_time
        self._parked: dict[Held, Timer] = {}

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, held: Held, seconds: float = _LOOK_AGAIN_SECONDS) -> None:
        """Keep it for so long. It is as if it had just been received."""
        held.state = ARRIVED
        held.started_at, held.outcome, held.task = None, None, None
        self._parked[held] = self._clock.call_later(seconds, lambda: self._ripe(held))

    def forget(self, held: Held) -> None:
        """It is no longer ours."""
        if (timer := self._parked.pop(held, None)) is not None:
            timer.cancel()

    def empty(self) -> list[Held]:
        """Take out all of them, in the order in which they were parked."""
        parked = list(self._parked)
        for held in parked:
            self.forget(held)
        return parked

    def _ripe(self, held: Held) -> None:
        if self._parked.pop(held, None) is not None and not self._on_time(held):
            self.park(held)
