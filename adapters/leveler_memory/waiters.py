"""Waiters: receivers that found nothing and wait for something to change."""

from __future__ import annotations

import asyncio

from leveler.clock import Clock


class Waiters:
    """Whoever waits is woken by the next `wake`, or by the one timer that it sets itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._futures: dict[asyncio.Future[None], None] = {}

    async def wait(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._futures[future] = None
        timer = self._clock.call_later(seconds, lambda: _resolve(future))
        try:
            await future
        finally:
            timer.cancel()
            self._futures.pop(future, None)

    def wake(self) -> None:
        """Wake all of them: if only some were, one that has just been stopped would keep the news from the others."""
        if self._futures:
            futures, self._futures = self._futures, {}
            for future in futures:
                _resolve(future)

    def __len__(self) -> int:
        return len(self._futures)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
