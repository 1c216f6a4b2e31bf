"""Together: single sends that come in one turn of the event loop share a call to the broker, as a batch would.

A web application sends one message per request and many at once. Each of them alone would pay for a task, a timer and a
trip; together they pay once. Nobody waits for company: what comes in the next turn is the next batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from leveler.errors import LevelerError
from leveler.message import Message

_Waiting = tuple[Message, "asyncio.Future[None]"]


class Together:
    """
    Args:
        deliver: sends several messages; the error of each one that was not accepted, by its index.
    """

    def __init__(self, deliver: Callable[[Sequence[Message]], Awaitable[Mapping[int, LevelerError]]]) -> None:
        self._deliver = deliver
        self._waiting: list[_Waiting] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(self, message: Message) -> None:
        """Return when it has been accepted; raise why not."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._go)
        accepted: asyncio.Future[None] = loop.create_future()
        self._waiting.append((message, accepted))
        await accepted

    def _go(self) -> None:
        waiting, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._send(waiting))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _send(self, waiting: list[_Waiting]) -> None:
        for batch in _without_repeats(waiting):
            error: BaseException | None = None
            failed: Mapping[int, LevelerError] = {}
            try:
                failed = await self._deliver([message for message, _ in batch])
            except BaseException as broken:
                error = broken
            for index, (_, accepted) in enumerate(batch):
                if accepted.done():  # who sent it does not wait any more
                    continue
                if (reason := failed.get(index, error)) is None:
                    accepted.set_result(None)
                else:
                    accepted.set_exception(reason)


def _without_repeats(waiting: list[_Waiting]) -> list[list[_Waiting]]:
    """Batches in which no id is twice: a message that is sent again may come beside the first try."""
    batches: list[list[_Waiting]] = []
    ids: set[str] = set()
    for one in waiting:
        if not batches or one[0].id in ids:
            batches.append([])
            ids = set()
        batches[-1].append(one)
        ids.add(one[0].id)
    return batches
