"""Line: one client of botocore with its connections, for as long as somebody has a request on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any


class Line:
    """Connected once, left once."""

    def __init__(self) -> None:
        self.client: Any = None
        self._open = AsyncExitStack()
        self._users = 0
        self._retired = False

    async def connect(self, making: AbstractAsyncContextManager[Any]) -> None:
        self.client = await self._open.enter_async_context(making)

    @asynccontextmanager
    async def used(self) -> AsyncIterator[Any]:
        self._users += 1
        try:
            yield self.client
        finally:
            self._users -= 1
            if self._retired and not self._users:
                await self._open.aclose()

    async def retire(self) -> None:
        """Close it, as soon as nobody uses it."""
        self._retired = True
        if not self._users:
            await self._open.aclose()
