"""Service: the client library, asked under a deadline, with its own repetitions switched off: the core has patience."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from leveler.errors import BrokerUnavailable, ConfigError, LevelerError
from leveler_storagequeue.account import Account
from leveler_storagequeue.errors import code_of, translate

_T = TypeVar("_T")

#: Who is told this may see certain queues all the same.
_KNOWN_BUT_NOT_HERE: Final = ("AuthorizationPermissionMismatch", "AuthorizationResourceTypeMismatch")

#: The part of a verb's deadline that a single request gets: a connection that has died without a word is found out, and
#: there is time left for one more.
_PATIENCE: Final = 0.5


class Service:
    """
    Args:
        account: where, and who we are.
        deadline_seconds: a verb ends within it.
        connections: requests of one verb that are under way at once, at most.
    """

    def __init__(self, account: Account, deadline_seconds: float, connections: int) -> None:
        self.account = account
        self._deadline = deadline_seconds
        self._connections = connections
        self._life = AsyncExitStack()

    async def open(self) -> None:
        self._client = await self._life.enter_async_context(
            QueueServiceClient(
                self.account.endpoint,
                credential=await self._credential(),
                retry_total=0,
                connection_timeout=self._deadline * _PATIENCE,
                read_timeout=self._deadline * _PATIENCE,
            )
        )

    async def close(self) -> None:
        await self._life.aclose()

    async def _credential(self) -> Any:
        if not self.account.needs_entra:
            return self.account.credential()
        try:
            from azure.identity.aio import DefaultAzureCredential
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{self.account}: without a key or a signature Entra ID says who we are, and azure-identity is not "
                "installed: pip install 'leveler-mq[storagequeue]'"
            ) from error
        return await self._life.enter_async_context(DefaultAzureCredential())

    def queue(self, name: str) -> QueueClient:
        return self._client.get_queue_client(name)

    async def look(self) -> None:
        """A look at the account, which shows whether anybody answers, and knows us."""
        try:
            async for _ in self._client.list_queues(results_per_page=1):
                break
        except HttpResponseError as error:
            if code_of(error) not in _KNOWN_BUT_NOT_HERE:
                raise

    def due(self) -> float:
        """When a verb that begins now gives up, on the clock of the loop."""
        return asyncio.get_running_loop().time() + self._deadline * 0.95

    async def ask(self, request: Awaitable[_T], place: str, due: float | None = None) -> _T:
        """The answer.

        Args:
            request: what the client library makes of one call.
            place: the queue, for messages.
            due: of a verb that asks more than once.

        Raises:
            LevelerError: see `leveler_storagequeue.errors`.
        """
        now = asyncio.get_running_loop().time()
        patience = now + self._deadline * _PATIENCE
        try:
            async with asyncio.timeout_at(patience if due is None else min(patience, due)):
                return await request
        except (AzureError, TimeoutError, OSError) as error:
            raise translate(error, place) from error

    async def each(self, count: int, do: Callable[[int, float], Awaitable[None]]) -> dict[int, LevelerError]:
        """Do it for 0, 1, ... `count` - 1, several at once; the error of each that failed.

        Args:
            count: how many.
            do: one of them, and when it is due. None begins after that.
        """
        failed: dict[int, LevelerError] = {}
        places, due = iter(range(count)), self.due()
        now = asyncio.get_running_loop().time

        async def work() -> None:
            for place in places:
                try:
                    if now() >= due:
                        raise BrokerUnavailable(f"{self.account}: not begun within the deadline: nothing was done")
                    await do(place, due)
                except LevelerError as error:
                    failed[place] = error

        if count == 1:
            await work()
        else:
            await asyncio.gather(*(work() for _ in range(min(count, self._connections))))
        return failed
