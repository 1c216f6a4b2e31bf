"""Service: what all connections share: the queues, who waits for their messages, and when answers leave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.refusal import TIMEOUT, Refused
from leveler_servicebus.emulator.namespace import Namespace

#: How many messages a link takes at a time that is alone: then it is asked again whether its client reads them.
SHARE: Final = 16


class Taker(Protocol):
    """A link that takes messages of a queue."""

    def room(self) -> int:
        """How many it can take now."""
        ...

    def deliver(self, limit: int) -> int:
        """Take up to `limit`; how many there were."""
        ...


class Line(Protocol):
    """A connection with something to write."""

    def flush(self) -> None: ...


@dataclass(eq=False, slots=True)
class Waiting:
    """A link that is attached as soon as there is a session for it."""

    #: Try it now; whether it need not be tried again: it has been attached, or refused, or nobody wants it any more.
    attempt: Callable[[], bool]
    #: It has waited too long, or what it waits for is gone.
    fail: Callable[[Refused], None]
    until_ms: int


class Service:
    """One emulator at work.

    Args:
        namespace: its queues.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.clock = namespace.clock
        self._takers: dict[Queue, deque[Taker]] = {}
        self._waiting: dict[Queue, list[Waiting]] = {}
        self._lines: dict[Line, None] = {}
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms: int | None = None
        self._closed = False

    # ---- who wants messages

    def join(self, queue: Queue, taker: Taker) -> None:
        self._takers.setdefault(queue, deque()).append(taker)

    def leave(self, queue: Queue, taker: Taker) -> None:
        takers = self._takers.get(queue)
        if takers and taker in takers:
            takers.remove(taker)

    def wait(self, queue: Queue, waiting: Waiting) -> None:
        """Attach it now, or as soon as there is a session."""
        if not waiting.attempt():
            self._waiting.setdefault(queue, []).append(waiting)
            self._wake_at(waiting.until_ms)

    def forget(self, queue: Queue, refused: Refused) -> None:
        """The queue is gone: whoever waits for it is told why."""
        self._takers.pop(queue, None)
        for one in self._waiting.pop(queue, []):
            one.fail(refused)

    def serve(self, queue: Queue) -> None:
        """Hand out what there is: in turn, where several can take."""
        if self._waiting.get(queue):
            self._waiting[queue] = [one for one in self._waiting[queue] if not one.attempt()]
        takers = self._takers.get(queue)
        delivered = bool(takers)
        while takers and delivered:
            able = [taker for taker in takers if taker.room() > 0]
            share = 1 if len(able) > 1 else SHARE
            delivered = sum(taker.deliver(min(share, taker.room())) for taker in able) > 0
            takers.rotate(-1)
        self.watch(queue)

    def serve_all(self) -> None:
        for queue in self.namespace:
            self.serve(queue)
            if queue.dead is not None:
                self.serve(queue.dead)

    # ---- what leaves

    def flush_soon(self, line: Line) -> None:
        """Write what this connection has to say, with what the others have, once it is kept."""
        self._lines[line] = None
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        lines, self._lines = self._lines, {}
        if not self._closed:
            self.namespace.store.commit()
        for line in lines:
            line.flush()

    # ---- time

    def watch(self, queue: Queue) -> None:
        """Wake up when its next thing is due."""
        due_ms = queue.next_due_ms()
        if due_ms is not None:
            self._wake_at(due_ms)

    def _wake_at(self, due_ms: int) -> None:
        if self._closed or (self._timer_ms is not None and self._timer_ms <= due_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.001, self.clock.real_seconds(due_ms - self.clock.now_ms() + 1))
        self._timer, self._timer_ms = asyncio.get_running_loop().call_later(delay, self.tick), due_ms

    def tick(self) -> None:
        """Do what is due."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_ms = None
        self.namespace.advance()
        now_ms = self.clock.now_ms()
        for queue, all_waiting in self._waiting.items():
            late = [one for one in all_waiting if one.until_ms <= now_ms]
            self._waiting[queue] = [one for one in all_waiting if one.until_ms > now_ms]
            for one in late:
                one.fail(Refused(TIMEOUT, "The operation did not complete within the allotted time: no session came."))
        self.serve_all()
        if not self._flushing and not self._closed:
            self.namespace.store.commit()
        if (due_ms := self._next_due_ms()) is not None:
            self._wake_at(due_ms)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._closed = True
        self.namespace.store.commit()
        self.namespace.store.close()

    def _next_due_ms(self) -> int | None:
        waits = [one.until_ms for waiting in self._waiting.values() for one in waiting]
        due_ms = self.namespace.next_due_ms()
        return min([*waits, *([] if due_ms is None else [due_ms])], default=None)
