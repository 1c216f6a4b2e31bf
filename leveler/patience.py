"""Patience: wait for somebody for so long and no longer, and never cancel what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any, TypeVar

from leveler.clock import Clock

T = TypeVar("T")


class Unanswered(Exception):
    """A verb has given no answer: in time, or at all. What it has done or will do yet, nobody knows."""


async def answer(verb: Coroutine[Any, Any, T], clock: Clock, seconds: float) -> T:
    """What `verb` answers. It is never cancelled, not even when we are: half a verb leaves a connection in any state.

    Raises:
        Unanswered: not within `seconds`, or it cancelled itself, as client libraries do when their connection goes.
    """
    task = asyncio.ensure_future(verb)
    over = asyncio.get_running_loop().create_future()
    task.add_done_callback(partial(_hear, over))
    timer = clock.call_later(seconds, partial(resolve, over))
    try:
        await over
    finally:
        timer.cancel()
    if not task.done():
        raise Unanswered(f"no answer within {seconds:g} s")
    if task.cancelled():
        raise Unanswered("the adapter has cancelled its own verb")
    return task.result()


async def ended(tasks: Collection[asyncio.Future[Any]], clock: Clock, seconds: float) -> bool:
    """Wait until all of `tasks` have ended, or for so long; whether they have."""
    pending = {task for task in tasks if not task.done()}
    if not pending:
        return True
    over = asyncio.get_running_loop().create_future()

    def on_end(task: asyncio.Future[Any]) -> None:
        pending.discard(task)
        if not pending:
            resolve(over)

    for task in tuple(pending):
        task.add_done_callback(on_end)
    timer = clock.call_later(seconds, partial(resolve, over))
    try:
        await over
    finally:
        timer.cancel()
        for task in pending:
            task.remove_done_callback(on_end)
    return not pending


def resolve(future: asyncio.Future[None]) -> None:
    """Let go who awaits `future`, if nobody has yet."""
    if not future.done():
        future.set_result(None)


def _hear(over: asyncio.Future[None], task: asyncio.Future[Any]) -> None:
    """It has answered. Its error is looked at even if nobody waits any more, or asyncio reports it as forgotten."""
    if not task.cancelled():
        task.exception()
    resolve(over)
