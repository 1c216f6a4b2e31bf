"""Gathering: a buffer that waits a little for company, so that a batch handler gets large batches."""

from __future__ import annotations

from collections.abc import Callable

from leveler.clock import Clock, Timer
from leveler.consumer.buffer import Buffer
from leveler.consumer.held import Held


class Gathering(Buffer):
    """Gives nothing until there is a whole batch, or until what there is has waited for so long.

    What waits here is still in the buffer: a stop, a lost lease or a quarantine finds it there like anything else that
    has not been started.

    Args:
        ordered: as for `Buffer`.
        on_taken: as for `Buffer`.
        size: how many a whole batch is now: one that looks whether a downstream is back waits for nobody.
        wait_seconds: how long to wait for one, from when there is something and a worker is free.
        clock: time.
    """

    def __init__(
        self,
        *,
        ordered: bool,
        on_taken: Callable[[], object],
        size: Callable[[], int],
        wait_seconds: float,
        clock: Clock,
    ) -> None:
        super().__init__(ordered=ordered, on_taken=self._on_batch)
        self._told = on_taken
        self._size = size
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._timer: Timer | None = None
        self._is_due = False
        self._takers = 0

    async def take(self, most: Callable[[], int]) -> list[Held]:
        """See `Buffer.take`."""
        self._takers += 1
        self._wait_for_more(self._takers)
        try:
            return await super().take(most)
        finally:
            self._takers -= 1

    def empty(self) -> list[Held]:
        """See `Buffer.empty`."""
        self._wait_anew()
        return super().empty()

    def _ripe(self) -> bool:
        return bool(self._ready) and (len(self._ready) >= self._size() or self._is_due or self._closed)

    def _wake_worker(self) -> None:
        self._wait_for_more(self._takers)
        super()._wake_worker()

    def _wait_for_more(self, takers: int) -> None:
        """The wait begins when a worker is free: while all are busy, company comes anyway."""
        if takers and self._ready and self._timer is None and not self._is_due:
            self._timer = self._clock.call_later(self._wait_seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._is_due = True
        self._wake_worker()

    def _on_batch(self) -> None:
        """A worker has taken one: what is left waits for company of its own."""
        self._wait_anew()
        self._wait_for_more(self._takers - 1)
        self._told()

    def _wait_anew(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._is_due = None, False
