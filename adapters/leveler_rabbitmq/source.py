"""Source: where one receiver gets its messages from, and gives them back to. Lost once, it is lost for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from leveler.adapter import QueueSpec
from leveler.clock import Clock, Timer
from leveler.errors import BrokerUnavailable, LevelerError, ReceiverLost
from leveler_rabbitmq.buffer import Buffer
from leveler_rabbitmq.connections import Connections
from leveler_rabbitmq.copies import Copies, unseen
from leveler_rabbitmq.delays import Room
from leveler_rabbitmq.errors import ChannelClosed, refused, within
from leveler_rabbitmq.feed import Arrival, Feed
from leveler_rabbitmq.lane import LaneLost

log: Final = logging.getLogger("leveler.rabbitmq")
T = TypeVar("T")


class Source:
    """
    Args:
        queue: whose messages, or whose dead letters if `dead`.
        connections: over which.
        copies: of what nobody has seen.
        clock: time.
        stale_seconds: what nobody has asked for goes back after so long.
        held: how many messages are out of our hands and not settled.
        on_change: told when there is something to take, or nothing any more.
    """

    def __init__(
        self,
        queue: QueueSpec,
        connections: Connections,
        copies: Copies,
        clock: Clock,
        *,
        dead: bool,
        stale_seconds: float,
        held: Callable[[], int],
        on_change: Callable[[], object],
    ) -> None:
        #: Why it is lost; empty while it is not.
        self.over = ""
        self.buffer = Buffer()
        self._main = queue.name
        self._name = queue.dead_name if dead else queue.name
        self._what = f"queue {self._name!r}"
        self._dead = dead
        self._connections = connections
        self._copies = copies
        self._clock = clock
        self._stale_seconds = stale_seconds
        self._held = held
        self._on_change = on_change
        self._limit = 0
        self._feed: Feed | None = None
        self._opening = asyncio.Lock()
        self._errands: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None

    @property
    def opened(self) -> bool:
        return self._feed is not None

    async def allow(self, limit: int) -> None:
        """Have at most so many unsettled, here and handed out. After 0 nothing is here any more.

        Raises:
            QueueNotFound, AccessDenied: there is nothing to receive from.
            BrokerUnavailable: there is no connection.
            ReceiverLost: the broker has not answered.
        """
        self._limit = limit
        if not limit and self._feed is None:
            return
        feed = await self._open()
        await self._do(lambda: feed.allow(limit))
        await self.give_back(self.buffer.surplus(limit - self._held()))
        if not limit and self._errands:
            await asyncio.wait(self._errands, timeout=self._connections.deadline_seconds)

    async def complete(self, arrivals: Sequence[Arrival]) -> None:
        """They are done.

        Raises:
            ReceiverLost: nobody knows whether the broker has heard it.
        """
        feed = self._feed
        if feed is not None:
            await self._do(lambda: feed.complete(arrivals))

    async def fetch_marked(self, room: Room) -> Arrival | None:
        """One out of there that is marked and that nobody has had; None if it was not fetched in time.

        Raises:
            ReceiverLost: nobody knows.
        """
        feed = self._feed
        while feed is not None and (arrival := await self._do(lambda: feed.fetch(room.name))) is not None:
            if not arrival.delivered_before:
                return arrival
            self.give_back_soon([arrival])  # the process of whoever had it has ended, and it has not gone on yet
        return None

    def requeue(self, arrivals: Sequence[Arrival]) -> None:
        """They go back as they are, and that counts."""
        if self._feed is not None and self._feed.lost is None:
            self._feed.requeue(arrivals)

    async def give_back(self, arrivals: Sequence[Arrival]) -> None:
        """Nobody has seen these: they go back and do not count, unless that cannot be done."""
        if self._dead:
            self.requeue(arrivals)
            return
        copies = {index: unseen(arrival) for index, arrival in enumerate(arrivals)}
        log.debug("queue %r: goes back unseen: %s", self._main, [copy.id for copy in copies.values()])
        failed = await self._copies.send(copies, self._main)
        self.requeue([arrivals[index] for index in failed])
        await self.complete([arrival for index, arrival in enumerate(arrivals) if index not in failed])

    def give_back_soon(self, arrivals: Sequence[Arrival]) -> None:
        """The same, in the background. If it fails the connection is gone, and they are back."""
        if arrivals:
            self._errand(self.give_back(arrivals))

    async def close(self) -> None:
        """What is here goes back at once, and what was handed out as after a crash."""
        lost, self.over = self.over, self.over or f"the receiver of {self._name!r} is closed: make a new one"
        self._on_change()
        if self._feed is not None and not lost:
            with suppress(LevelerError, LaneLost, ChannelClosed, TimeoutError):
                async with asyncio.timeout(self._connections.deadline_seconds):
                    await self.allow(0)
                    await self._feed.close()
            self._feed.abandon("the receiver was closed")
        self._end()

    async def _open(self) -> Feed:
        async with self._opening:
            if self._feed is None:
                async with within(self._connections.deadline_seconds, self._what):
                    self._feed = await self._connections.lane(
                        lambda wire, number: Feed(
                            wire,
                            number,
                            self._name,
                            self._clock,
                            on_arrival=self._on_arrival,
                            on_room=self._on_room,
                            on_end=self._on_end,
                        )
                    )
            return self._feed

    async def _do(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Something after whose failure nobody knows what the broker thinks is ours."""
        try:
            async with within(self._connections.deadline_seconds, self._what):
                return await act()
        except ChannelClosed as error:
            raise self._lose(refused(error, self._what)) from error
        except (LaneLost, BrokerUnavailable) as error:
            raise self._lose(ReceiverLost(f"{self._what}: {error}")) from error

    def _on_arrival(self, arrival: Arrival) -> None:
        self.buffer.add(arrival)
        if not self._limit:  # it was on its way when the flow was stopped
            self.give_back_soon(self.buffer.surplus(0))
            return
        if self._timer is None:
            self._timer = self._clock.call_later(self._stale_seconds, self._look)
        if len(self.buffer) == 1:
            self._on_change()

    def _on_room(self) -> None:
        if self._feed is not None and not self._errands:
            self._errand(self._feed.fill())

    def _on_end(self, why: Exception) -> None:
        told = refused(why, self._what) if isinstance(why, ChannelClosed) else why
        self.over = self.over or f"the receiver of {self._name!r} is lost: {told}"
        self._end()

    def _lose(self, error: LevelerError) -> LevelerError:
        self.over = self.over or f"the receiver of {self._name!r} is lost: {error}"
        if self._feed is not None:
            self._feed.abandon(str(error))
        return error

    def _end(self) -> None:
        self.buffer.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_change()

    def _look(self) -> None:
        """Let nothing wait here so long that the broker takes it back, with everything else, and counts that."""
        self._timer = None
        self.give_back_soon(self.buffer.stale(self._clock.monotonic() - self._stale_seconds))
        if len(self.buffer):
            self._timer = self._clock.call_later(self._stale_seconds, self._look)

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
