"""Takes from the queues what is due, calls the workers, and does with each task what the answer says."""

from __future__ import annotations

import asyncio

from leveler.clock import Clock, Timer
from leveler_cloudtasks.emulator.caller import Answer, Caller
from leveler_cloudtasks.emulator.entry import Entry
from leveler_cloudtasks.emulator.queue import Queue
from leveler_cloudtasks.emulator.store import Store


class Dispatcher:
    """One for all queues. Whoever changes a queue calls `pump`; nothing here polls."""

    def __init__(self, caller: Caller, store: Store, clock: Clock) -> None:
        self._caller = caller
        self._store = store
        self._clock = clock
        self._timers: dict[str, Timer] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    def pump(self, queue: Queue) -> None:
        """Dispatch what may be dispatched now, and come back when there may be more."""
        now = self._now()
        while (entry := queue.take(now)) is not None:
            self.begin(queue, entry)
        if (timer := self._timers.pop(queue.name, None)) is not None:
            timer.cancel()
        if (wait := queue.wait_seconds(now)) is not None:
            self._timers[queue.name] = self._clock.call_later(wait, lambda: self.pump(queue))

    def forget(self, queue: Queue) -> None:
        """The queue is gone. What runs of it may end."""
        if (timer := self._timers.pop(queue.name, None)) is not None:
            timer.cancel()

    def begin(self, queue: Queue, entry: Entry) -> None:
        """Dispatch this one, whatever the queue's limits and state say."""
        entry.turn = 0
        entry.begins(self._now())
        queue.running += 1
        self._store.put_task(queue.name, entry)
        call = asyncio.ensure_future(self._call(queue, entry))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _call(self, queue: Queue, entry: Entry) -> None:
        answer = await self._caller.call(queue.name, entry)
        queue.running -= 1
        self._settle(queue, entry, answer)
        self.pump(queue)

    def _settle(self, queue: Queue, entry: Entry, answer: Answer) -> None:
        now = self._now()
        entry.ends(now, answer.status, answer.code.value[0], answer.text)
        if queue.tasks.get(entry.name) is not entry:
            return  # deleted, or purged, while it ran
        wait = None if answer.succeeded else queue.retry_seconds(entry, now)
        if wait is None:
            self._store.drop_task(queue.name, entry.name, queue.remove(entry, now))
            return
        entry.facts.reason = answer.code.name
        entry.due(now + max(wait, answer.retry_after_seconds))
        queue.schedule(entry)
        self._store.put_task(queue.name, entry)

    def _now(self) -> float:
        return self._clock.now().timestamp()
