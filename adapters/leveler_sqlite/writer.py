"""Writer: the one thread that touches the file, and the way there and back.

Jobs that come in one turn of the event loop, or while a commit is under way, share the next commit; all of them are
answered by one call back into the loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable
from enum import Enum, auto
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from leveler.errors import BrokerError, BrokerUnavailable, NotStarted, QueueNotFound
from leveler_sqlite.committer import Committer
from leveler_sqlite.errors import locked, silent
from leveler_sqlite.job import WAITING, WITHDRAWN, Job
from leveler_sqlite.location import is_there
from leveler_sqlite.timeline import Timeline

R = TypeVar("R")

#: A busy event loop may never let another thread have the interpreter lock: it gives it up for microseconds only, at
#: each look for I/O, and the other one wakes up too late. Measured on an otherwise idle host: 30 s for a hundred rows,
#: and 2 ms with these naps. So as long as an answer is overdue the loop naps for a moment, every so often.
_PULSE_SECONDS: Final = 0.005
_NAP_SECONDS: Final = 0.0002

#: Jobs in one commit: more would make the first of them wait for the last.
_MOST_JOBS: Final = 1000


class State(Enum):
    """Of a writer. It may go from any one to a later one, and never back."""

    #: Nothing is open: there may be no file yet.
    NEW = auto()
    #: Jobs are done.
    OPEN = auto()
    #: No job is taken any more.
    STOPPED = auto()


class Writer:
    """
    Args:
        open_file: opens the file, in the thread; makes it, if it is not there.
        path: for messages.
        deadline_seconds: a job is answered within it, with an error if need be.
        poll_seconds: how often to look for changes by others while somebody `watch`es.
        on_touched: told the queues in which something may be ready since.
        on_changed: told that somebody else has changed something.
    """

    def __init__(
        self,
        open_file: Callable[[], Committer],
        path: str,
        *,
        deadline_seconds: float,
        poll_seconds: float,
        on_touched: Callable[[set[int]], object],
        on_changed: Callable[[], object],
    ) -> None:
        self._open_file = open_file
        self._path = path
        self._deadline = deadline_seconds
        self._poll = poll_seconds
        self._on_touched = on_touched
        self._on_changed = on_changed
        self._inbox: SimpleQueue[list[Job[Any]] | None] = SimpleQueue()
        self._fresh: list[Job[Any]] = []
        self._unanswered: dict[Job[Any], None] = {}
        self._pulsing = False
        self._watchers = 0
        self._dormant = False
        self._starting = asyncio.Lock()
        self._state = State.NEW
        self._timeline: Timeline | None = None
        self._process = os.getpid()

    async def start(self) -> None:
        """Open the file, which may have to be made; at most once."""
        async with self._starting:
            if self._state is State.NEW:
                await self._start()

    async def found(self) -> bool:
        """Whether the file is open. It is opened now if it is there by now."""
        if self._state is State.NEW and is_there(self._path):
            await self.start()
        return self._state is State.OPEN

    async def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[Committer] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name=f"sqlite {self._path}", daemon=True)
        self._thread.start()
        try:
            self._committer = await opened
        except BaseException:
            self._inbox.put(None)
            raise
        self._timeline = self._committer.timeline
        self._state = State.OPEN

    async def stop(self) -> None:
        """Answer what was asked, and close the file."""
        async with self._starting:
            before, self._state = self._state, State.STOPPED
        if before is State.OPEN and os.getpid() == self._process:
            self._hand_over()
            self._inbox.put(None)
            await asyncio.wait({self._ended}, timeout=self._deadline)
            if self._ended.done():
                self._thread.join()  # it has nothing left to do

    @property
    def timeline(self) -> Timeline:
        """
        Raises:
            QueueNotFound: there is no file.
        """
        if self._timeline is None:
            raise self._closed()
        return self._timeline

    async def do(self, job: Job[R]) -> R:
        """The answer to `job`.

        Raises:
            BrokerUnavailable: it was not done within the deadline; or `Job.doubt`.
            QueueNotFound: there is no file.
        """
        if self._state is State.NEW:
            await self.found()
        future = self.submit(job)
        try:
            return await future
        finally:
            if future.cancelled():
                self.withdraw(job)

    def submit(self, job: Job[R]) -> asyncio.Future[R]:
        """Have `job` done; its answer comes here."""
        self._check()
        job.future = self._loop.create_future()
        job.since = self._loop.time()
        self._unanswered[job] = None
        if not self._fresh:
            self._loop.call_soon(self._hand_over)
        self._fresh.append(job)
        if not self._pulsing:
            self._pulsing = True
            self._loop.call_later(_PULSE_SECONDS, self._pulse)
        return job.future

    def withdraw(self, job: Job[Any]) -> bool:
        """Whether `job` will not be done; too late if it is being done already."""
        with self._committer.taking:
            if job.state == WAITING:
                job.state = WITHDRAWN
        return job.state == WITHDRAWN

    def watch(self, begin: bool) -> None:
        """Somebody begins, or ceases, to wait for changes by others."""
        self._watchers += 1 if begin else -1
        if begin and self._dormant:
            self._inbox.put([])

    def _check(self) -> None:
        if os.getpid() != self._process:
            raise NotStarted(f"{self._path}: was opened before a fork: open an adapter of its own in each process")
        if self._state is not State.OPEN:
            raise self._closed()

    def _closed(self) -> BrokerError | NotStarted:
        if self._state is State.STOPPED:
            return NotStarted(f"{self._path}: is not open: use the adapter inside 'async with'")
        return QueueNotFound(
            f"{self._path}: there is no such file: correct the path, or let the first worker or producer make it "
            "(declare: create)"
        )

    def _hand_over(self) -> None:
        if self._fresh:
            self._inbox.put(self._fresh)
            self._fresh = []

    def _answer(self, jobs: Iterable[Job[Any]], touched: set[int]) -> None:
        for job in jobs:
            self._unanswered.pop(job, None)
            if job.state != WITHDRAWN:
                job.conclude()
        if touched:
            self._on_touched(touched)

    def _pulse(self) -> None:
        """While answers are due: let the thread have the interpreter, and give up on those that take too long."""
        oldest = next(iter(self._unanswered), None)
        if oldest is None:
            self._pulsing = False
            return
        now = self._loop.time()
        if now - oldest.since > _PULSE_SECONDS:
            time.sleep(_NAP_SECONDS)
        if now - oldest.since > self._deadline:
            self._give_up(now - self._deadline)
        self._loop.call_later(_PULSE_SECONDS, self._pulse)

    def _give_up(self, since: float) -> None:
        for job in [job for job in self._unanswered if job.since < since]:
            del self._unanswered[job]
            undone = self.withdraw(job)
            if not job.future.done():
                job.future.set_exception(self._overdue(job, undone))

    def _overdue(self, job: Job[Any], undone: bool) -> BrokerError:
        if undone and self._committer.blocked:
            return locked(self._path)
        text = silent(self._path, self._deadline)
        return BrokerUnavailable(f"{text}; nothing was done") if undone else job.doubt(f"{text}; it may yet be done")

    # -- in the thread

    def _work(self, opened: asyncio.Future[Committer]) -> None:
        try:
            committer = self._open_file()
        except Exception as error:
            self._call(_resolve, opened, None, error)
            return
        self._call(_resolve, opened, committer)
        while (jobs := self._next()) is not None:
            if jobs:
                self._call(self._answer, jobs, committer.run(jobs))
                if self._inbox.empty():
                    committer.tidy()
            if self._watchers and committer.changed():
                self._call(self._on_changed)
        committer.close()
        self._call(_resolve, self._ended, None)

    def _next(self) -> list[Job[Any]] | None:
        """What waits, at most a commit's worth; None at the end."""
        try:
            jobs = self._inbox.get(timeout=self._rest())
        except Empty:
            return []
        if jobs is None:
            return None
        while len(jobs) < _MOST_JOBS:
            try:
                more = self._inbox.get_nowait()
            except Empty:
                break
            if more is None:
                self._inbox.put(None)
                break
            jobs += more
        return jobs

    def _rest(self) -> float | None:
        """How long to sleep at most. `_dormant` comes first: whoever begins to watch after the look sees it."""
        self._dormant = True
        rest = self._poll if self._watchers else None
        self._dormant = rest is None
        return rest

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            return  # the loop is closed: nobody is left to be told


def _resolve(future: asyncio.Future[Any], value: object, error: Exception | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
