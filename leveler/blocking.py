"""Blocking: send from code that has no event loop (Django, Flask, threads, scripts), with the same promises."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from leveler.errors import NotStarted
from leveler.message import Message

if TYPE_CHECKING:
    from leveler.app import Leveler
    from leveler.producer import SendWords

R = TypeVar("R")


class Blocking:
    """An app, started in an event loop on a thread of its own. Any thread may use it.

    After a fork the child starts a loop and connections of its own with its first send: nothing is shared with the
    parent, whose thread does not exist in the child.
    """

    def __init__(self, app: Leveler) -> None:
        self._app = app
        self._life: _Life | None = None

    def __enter__(self) -> Self:
        self._life = _start(self._app)
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, queue: str, value: Any, **words: Unpack[SendWords]) -> Message:
        """See `Leveler.send`."""
        return self._call(lambda: self._app.send(queue, value, **words))

    def send_many(self, queue: str, values: Iterable[Any], **words: Unpack[SendWords]) -> list[Message]:
        """See `Leveler.send_many`."""
        return self._call(lambda: self._app.send_many(queue, values, **words))

    def close(self) -> None:
        """Disconnect and end the thread. Sending afterwards raises `NotStarted`."""
        life, self._life = self._life, None
        if life is not None and life.process == os.getpid():
            life.call(lambda: self._app.__aexit__(None, None, None))
            life.end()

    def _call(self, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        life = self._life
        if life is None:
            raise NotStarted("use it inside 'with app.blocking() as out:'")
        return (life if life.process == os.getpid() else self._after_fork()).call(make)

    def _after_fork(self) -> _Life:
        parents = self._life
        if parents is not None and parents.process != os.getpid():
            with parents.after_fork:  # a lock that only children ever take: no thread of the parent can hold it
                if self._life is parents:
                    self._app._forget()
                    self._life = _start(self._app)
        assert self._life is not None
        return self._life


@dataclass(frozen=True)
class _Life:
    """A loop on its thread, in one process."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    process: int
    after_fork: threading.Lock

    def call(self, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return asyncio.run_coroutine_threadsafe(make(), self.loop).result()

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def _start(app: Leveler) -> _Life:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="leveler-blocking", daemon=True)
    life = _Life(loop, thread, os.getpid(), threading.Lock())
    thread.start()
    try:
        life.call(app.__aenter__)
    except BaseException:
        life.end()
        raise
    return life
