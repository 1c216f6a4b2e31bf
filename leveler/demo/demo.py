"""The story of the demo: a week arrives in seconds, a worker levels it, and what died of a fault gets a second life."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from leveler.adapter import redact
from leveler.app import Leveler
from leveler.demo.book import Book
from leveler.demo.curve import Curves, levels, rates
from leveler.demo.plan import QUEUE, Plan
from leveler.demo.summary import Record, Summary
from leveler.demo.week import id_of
from leveler.demo.worker import Worker
from leveler.errors import BrokerUnavailable, ConfigError, LevelerError
from leveler.message import Message

T = TypeVar("T")

#: How often it is looked at.
LOOK_SECONDS: Final = 0.15
#: After a look that failed: Cloud Tasks lets nobody list tasks more than 10 times a second, a thousand at a time.
_REST_SECONDS: Final = 4.0
#: Where nothing changes for so long, an error is better than a demo without an end.
PATIENCE_SECONDS: Final = 20.0
#: Where nothing waits for so long, what has not ended never will.
_SURE_SECONDS: Final = 10.0

_BATCH: Final = 200


class Demo:
    """One run of it.

    Args:
        plan: what is to happen.
        folder: for its files; the caller's to remove.
        show: called at every look.
    """

    def __init__(self, plan: Plan, folder: Path, show: Callable[[Demo], object]) -> None:
        self.plan = plan
        self.record = Record()
        self.book = Book(folder / "board.jsonl")
        self.began_at = time.time()
        self._folder = folder
        self._show = show
        #: Dead letters at the last look.
        self.dead = 0
        #: What is being done.
        self.phase = "a worker process starts"

    async def play(self) -> None:
        """
        Raises:
            LevelerError: the worker ended, or nothing goes on.
        """
        config = self._folder / "leveler.yaml"
        config.write_text(self.plan.yaml())
        environment = {
            "BOARD_BOOK": str(self._folder / "board.jsonl"),
            "BOARD_PER_SECOND": str(self.plan.borne_per_second),
        }
        async with Leveler(config=config) as app:
            await _refuse(app, redact(self.plan.broker))
            self._show(self)
            async with Worker(config, environment, self._folder / "worker.log") as worker:
                await self._act(app, worker)
            self.record.dead = {id_of(letter.body): _reason(letter) for letter in await self._dead(app)}
        self.book.read()
        self.phase = "done"
        self._show(self)

    @property
    def waiting(self) -> int:
        """Messages in the queue, at the last look."""
        return self.record.depths[-1][1] if self.record.depths else 0

    @property
    def elapsed_seconds(self) -> float:
        """From the first arrival to the last look."""
        return self.record.depths[-1][0] - self.began_at if self.record.depths else 0.0

    def curves(self, columns: int, column_seconds: float) -> Curves:
        """What happened so far."""
        began = self.began_at
        return Curves(
            column_seconds,
            rates(sorted(at - began for at in self.record.sent_at.values()), columns, column_seconds),
            levels([(at - began, depth) for at, depth in self.record.depths], columns, column_seconds),
            rates(sorted(at - began for at in self.book.shown_at.values()), columns, column_seconds),
        )

    def summary(self) -> Summary:
        return self.record.summary(self.book)

    def as_data(self) -> dict[str, Any]:
        """The summary and the curves, for a picture."""
        column_seconds = 0.2
        curves = self.curves(math.ceil(self.elapsed_seconds / column_seconds), column_seconds)
        return {"summary": self.summary().as_data(), "per_second": self.plan.per_second, "curves": curves._asdict()}

    async def _act(self, app: Leveler, worker: Worker) -> None:
        self.began_at = time.time()
        self.phase = "the week arrives"
        await self._meanwhile(app, worker, self._send(app))
        self.phase = "the week is over; what waits is levelled"
        await self._meanwhile(app, worker, self._until_over())
        self.phase = "the dead letters that died of a fault are replayed; what cannot be decoded stays"
        await self._meanwhile(app, worker, self._replay(app))
        await self._meanwhile(app, worker, self._until_over())

    async def _send(self, app: Leveler) -> None:
        """Every departure when it is due."""
        arrivals, sent = self.plan.arrivals, 0
        while sent < len(arrivals):
            elapsed = time.time() - self.began_at
            due = [arrival for arrival in arrivals[sent : sent + _BATCH] if arrival.due_seconds <= elapsed]
            if not due:
                await asyncio.sleep(min(0.02, arrivals[sent].due_seconds - elapsed))
                continue
            await app.send_many(QUEUE, [msgspec.Raw(arrival.line) for arrival in due], type="Departure")
            self.record.sent_at.update(dict.fromkeys((arrival.id for arrival in due), time.time()))
            sent += len(due)

    async def _replay(self, app: Leveler) -> None:
        """The letters whose calls failed; what lacks a field will lack it for ever."""

        def of_a_fault(letter: Message) -> bool:
            if _reason(letter) != "exhausted":
                return False
            self.record.replayed.append(id_of(letter.body))
            return True

        letters = await app.dead_letters(QUEUE)
        await letters.replay(of_a_fault, per_second=self.plan.per_second)

    async def _dead(self, app: Leveler) -> list[Message]:
        return list(await (await app.dead_letters(QUEUE)).browse(len(self.plan.arrivals)))

    async def _until_over(self) -> None:
        """Until every departure is shown or dead, or nothing waits any more for long: what is leased a broker may not
        tell."""
        looked, waited_at = len(self.record.depths), time.monotonic()
        ended = 0
        while ended < len(self.record.sent_at) and time.monotonic() - waited_at < _SURE_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            if len(self.record.depths) <= looked or self.waiting:
                waited_at = time.monotonic()
            else:
                ended = len(self.book.shown_at) + self.dead

    async def _meanwhile(self, app: Leveler, worker: Worker, work: Coroutine[Any, Any, T]) -> T:
        """Look while `work` is done."""
        task, seen, changed_at = asyncio.ensure_future(work), (0, 0, 0), time.monotonic()
        try:
            while not task.done():
                worker.check()
                before, seen = seen, await self._look(app)
                changed_at = time.monotonic() if seen != before else changed_at
                if time.monotonic() - changed_at > PATIENCE_SECONDS:
                    raise LevelerError(f"the demo stands still: for {PATIENCE_SECONDS:g} s nothing was sent or done")
                await asyncio.wait({task}, timeout=LOOK_SECONDS)
            return task.result()
        finally:
            task.cancel()

    async def _look(self, app: Leveler) -> tuple[int, int, int]:
        self.book.read()
        try:
            depth = await app.depth(QUEUE)
        except BrokerUnavailable:  # away, or asked more often than it likes
            await asyncio.sleep(_REST_SECONDS)
        else:
            waiting = sum(part or 0 for part in (depth.ready, depth.leased, depth.delayed))
            self.record.depths.append((time.time(), waiting))
            self.dead = depth.dead or 0
        self._show(self)
        return len(self.record.sent_at), self.book.calls.total(), self.waiting


async def _refuse(app: Leveler, broker: str) -> None:
    """A broker on which the demo could not tell its story."""
    queue = await app._started().queue(QUEUE)
    if queue.can.scope == "process" or queue.can.depth == "none":
        lacks = "can be shared by processes" if queue.can.scope == "process" else "knows how many messages wait"
        raise ConfigError(f"the demo needs a broker that {lacks}, and {broker} is none: try it without --broker")
    if any((await app.depth(QUEUE))[:4]):
        raise ConfigError(
            f"the demo needs an empty queue {QUEUE!r}, and the one on {broker} is not: use another broker, or remove "
            f"what is left of an earlier demo with 'leveler dead purge {QUEUE} --broker ...'"
        )


def _reason(letter: Message) -> str:
    return letter.death.reason if letter.death is not None else "unknown"
