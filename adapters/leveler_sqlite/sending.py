"""Sending: what is sent to a queue in one turn of the event loop shares a job, and each send has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from leveler_sqlite.bundles import Stretch
from leveler_sqlite.job import Job
from leveler_sqlite.writer import Writer

#: Messages in one job: more would make the first of them wait for the last.
_MOST_MESSAGES: Final = 1000

#: Answered with the indexes of those that were refused.
Sends = Job[Sequence[int]]


class Sending:
    """
    Args:
        writer: has the job done.
        job: makes it, for messages that may become more until it is handed over.
    """

    def __init__(self, writer: Writer, job: Callable[[Sequence[Stretch]], Sends]) -> None:
        self._writer = writer
        self._stretches: list[Stretch] = []
        self._count = 0
        #: Where the messages of each send begin and end, and who waits for it.
        self._sends: list[tuple[int, int, asyncio.Future[Sequence[int]]]] = []
        self._turn = writer.turn
        self._loop = asyncio.get_running_loop()
        self._job = job(self._stretches)
        writer.submit(self._job).add_done_callback(self._answer)

    @property
    def open(self) -> bool:
        """Whether more may join."""
        return self._turn == self._writer.turn and self._count < _MOST_MESSAGES

    def join(self, stretches: Sequence[Stretch]) -> asyncio.Future[Sequence[int]]:
        """Send these, too. Answered with the indexes of those that were refused; all in a job fail together."""
        start = self._count
        self._stretches += stretches
        self._count += sum(len(stretch.messages) for stretch in stretches)
        future: asyncio.Future[Sequence[int]] = self._loop.create_future()
        self._sends.append((start, self._count, future))
        return future

    def give_up(self) -> None:
        """A send has been cancelled. When all are, nothing need be done, if it has not been begun."""
        if all(future.cancelled() for *_, future in self._sends):
            self._writer.withdraw(self._job)

    def _answer(self, done: asyncio.Future[Sequence[int]]) -> None:
        error = done.exception()
        refused = frozenset(() if error else done.result())
        for start, end, future in self._sends:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result([place - start for place in range(start, end) if place in refused] if refused else ())
