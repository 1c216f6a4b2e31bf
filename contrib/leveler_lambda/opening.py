"""Opening: what is opened when it is needed for the first time. Most invocations never do, and start faster for it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


class Opening(Generic[T]):
    """
    Args:
        closed: what is to be opened.
    """

    def __init__(self, closed: T) -> None:
        self.closed = closed
        self._is_open = False
        self._lock = asyncio.Lock()
        self._open = AsyncExitStack()

    async def opened(self) -> T:
        async with self._lock:
            if not self._is_open:
                await self._open.enter_async_context(self.closed)
                self._is_open = True
        return self.closed

    async def close(self) -> None:
        await self._open.aclose()
