"""Blocking: send from code that has no event loop (Django, Flask, threads, scripts), with the same promises."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from leveler.errors import LevelerError, NotStarted
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
        self._life = _Life(self._app)
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
                    self._life = _Life(self._app)
        if self._life is None:
            raise NotStarted("it was closed while another thread was sending")
        return self._life


class _Life:
    """An app that is started in a loop on a thread of its own, in one process."""

    def __init__(self, app: Leveler) -> None:
        self.process = os.getpid()
        self.after_fork = threading.Lock()
        self._app = app
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._ended: Future[Any] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="leveler-blocking", daemon=True)
        self._thread.start()
        self._loop = self._started.result()

    def call(self, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """What `make` gives, made and awaited there."""
        if threading.current_thread() is self._thread:
            raise LevelerError("out.send() would wait here for its own thread: use 'await app.send()'")
        work = make()
        try:
            answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:  # the loop is closed
            work.close()
            raise NotStarted("it was closed by another thread: nothing was sent") from error
        wait([answer, self._ended], return_when=FIRST_COMPLETED)
        if not answer.done() or answer.cancelled():
            raise NotStarted("it was closed by another thread before the broker had answered: it may be queued or not")
        return answer.result()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._ended.result()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            (self._ended if self._started.done() else self._started).set_exception(error)
        else:
            self._ended.set_result(None)

    async def _live(self) -> None:
        async with self._app:
            self._started.set_result(asyncio.get_running_loop())
            await self._stop.wait()
