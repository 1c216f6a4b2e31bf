"""VirtualLoop: an event loop without a machine under it. Time is a `VirtualClock` that jumps whenever nothing is ready.

Every callback belongs to the simulated process in whose context it was asked for. A process that is dead is never
called again: its tasks stay where they are, and no ``finally`` of theirs ever runs, as after ``kill -9``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol, TypeVar

from leveler.testing import VirtualClock

T = TypeVar("T")


class Mortal(Protocol):
    """What callbacks belong to."""

    alive: bool
    #: Suspension points passed so far.
    steps: int
    #: While it is frozen: what is to be called when it goes on.
    backlog: list[asyncio.Handle] | None

    def step(self) -> None:
        """It has got from one suspension point to the next."""
        ...


class Restless(Exception):
    """So much has happened that it will never end."""


#: No run of a sound leveler needs a tenth of it.
_MOST_STEPS: Final = 50_000

#: The process that runs now; None: the world around it, which never dies.
PROCESS: ContextVar[Mortal | None] = ContextVar("PROCESS", default=None)


class Stalled(Exception):
    """Nothing is ready and nobody waits for a time: nothing will ever happen again."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready, first come first served; then lets time pass to the next timer.

    Args:
        clock: the time; its timers are this loop's.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        #: How often anything was called.
        self.steps = 0
        #: What failed with nobody looking.
        self.unheard: list[dict[str, Any]] = []
        self.set_exception_handler(lambda loop, context: self.unheard.append(context))
        # asyncio holds its tasks weakly. Those of a dead process must stay: whoever collects them runs their clean-up.
        self._tasks: list[asyncio.Task[Any]] = []

    def time(self) -> float:
        return self._clock.monotonic()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end, then let the dead rest: nothing of this loop runs any more."""
        try:
            return self.run_until_complete(main)
        finally:
            self._bury()
            self.close()

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._clock.call_later(when - self.time(), lambda: self._ready.append(handle))
        return handle

    def thaw(self, process: Mortal) -> None:
        """Go on with what a frozen process has missed, first of all."""
        backlog, process.backlog = process.backlog or [], None
        self._ready.extendleft(reversed(backlog))

    def create_task(self, coro: Any, **words: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **words)
        self._tasks.append(task)
        return task

    def _run_once(self) -> None:
        if self.steps > _MOST_STEPS:
            raise Restless(f"{self.steps} suspension points, and no end")
        if not self._ready:
            if not self._clock.fire_next():
                raise Stalled
            return
        handle = self._ready.popleft()
        if handle.cancelled():
            return
        process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
        if process is None:
            self.steps += 1
            handle._run()
        elif process.backlog is not None:
            process.backlog.append(handle)
        elif process.alive:
            self.steps += 1
            handle._run()
            process.step()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a system call here."""

    def _bury(self) -> None:
        """End what was left behind, where nobody can see it: else a garbage collection would, at any time."""
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())


def _close(coroutine: Any) -> None:
    """One that waits in a ``finally`` goes on to the next one."""
    for _ in range(100):
        with suppress(Exception):
            coroutine.close()
            return


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine`, which never waits for anything, returns."""
    try:
        coroutine.send(None)
    except StopIteration as result:
        return result.value  # type: ignore[no-any-return]
    raise RuntimeError("it waits, so it cannot be over at once")
