"""Letters: the dead letters of a queue, as they were listed a moment ago. The service allows 600 lists in a minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from leveler.clock import Clock
from leveler_cloudtasks.client import Client

#: What was listed longer ago is listed again. The service remembers a removed task's name for an hour at least; later
#: the next task of a letter that is gone could be made once more.
_FRESH_SECONDS: Final = 60.0


class Letters:
    """One after another, from the first to the last, and then from the first again.

    Args:
        queue: the name of the queue that they are in.
        client: the calls.
        clock: time.
    """

    def __init__(self, queue: str, client: Client, clock: Clock) -> None:
        self._queue = queue
        self._client = client
        self._clock = clock
        self._listing: AsyncGenerator[Any, None] | None = None
        self._listed_at = 0.0
        self._turn = asyncio.Lock()

    @property
    def begun(self) -> bool:
        """Whether the next one is not the first."""
        return self._listing is not None

    async def next(self) -> Any | None:
        """The next one, which may be gone by now; None after the last.

        Raises:
            BrokerUnavailable: they cannot be listed now; the next one will be the first.
        """
        async with self._turn:
            if self._clock.monotonic() - self._listed_at > _FRESH_SECONDS:
                await self._drop()
            if self._listing is None:
                self._listing = self._client.tasks(self._queue, full=True)
                self._listed_at = self._clock.monotonic()
            try:
                return await anext(self._listing)
            except StopAsyncIteration:
                await self._drop()
                return None
            except BaseException:
                await self._drop()
                raise

    async def close(self) -> None:
        async with self._turn:
            await self._drop()

    async def _drop(self) -> None:
        listing, self._listing = self._listing, None
        if listing is not None:
            await listing.aclose()
