"""Threads: where ``def`` handlers run."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

_Job = tuple[Callable[[], Any], "asyncio.Future[_Result]", asyncio.AbstractEventLoop]
#: What a call returned, or what it raised: as data, because a future refuses some exceptions (StopIteration).
_Result = tuple[Any, BaseException | None]


class Threads:
    """As many threads as there are calls at once, made when they are first needed and used again.

    They are daemons: a handler that never returns cannot keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._made = 0
        self._busy = 0

    async def run(self, call: Callable[[], Any]) -> Any:
        """What `call` returns, or raises, in a thread. If we are cancelled, it goes on and nobody hears of it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_Result] = loop.create_future()
        self._busy += 1
        if self._busy > self._made:
            self._made += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True).start()
        self._jobs.put((partial(contextvars.copy_context().run, call), done, loop))
        result, error = await done
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Threads end as soon as they are idle."""
        for _ in range(self._made):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, done, loop = job
            result = _outcome(call)
            try:
                loop.call_soon_threadsafe(self._answer, done, result)
            except RuntimeError:  # the loop is closed: the process ends, or has left this call behind
                return
            del job, call, done, result  # an idle thread keeps no message

    def _answer(self, done: asyncio.Future[_Result], result: _Result) -> None:
        self._busy -= 1
        if not done.done():
            done.set_result(result)


def _outcome(call: Callable[[], Any]) -> _Result:
    try:
        return call(), None
    except BaseException as error:  # a handler ends its message, never a thread
        return None, error
