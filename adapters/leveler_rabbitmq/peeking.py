"""Peeking: dead letters that are delivered, looked at and given back at once. Nobody counts their deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from pamqp import commands

from leveler.clock import Clock
from leveler.errors import BrokerUnavailable
from leveler.message import Message
from leveler_rabbitmq.connections import Connections
from leveler_rabbitmq.envelope import open_up
from leveler_rabbitmq.errors import ChannelClosed, refused, within
from leveler_rabbitmq.lane import Lane, LaneLost
from leveler_rabbitmq.wire import Wire

#: Somebody else has what was counted and does not come.
_SILENCE_SECONDS: Final = 0.5
_LOOKS: Final = 20


class Glance(Lane):
    """A channel that takes some messages and settles none."""

    def __init__(self, wire: Wire, number: int) -> None:
        super().__init__(wire, number)
        #: How many there were to see.
        self.waiting = 0
        self.seen: list[tuple[bytes, bytes]] = []
        self.changed = asyncio.Event()

    def delivered(self, consumer: bytes, tag: int, properties: bytes, body: bytes) -> None:
        self.seen.append((properties, body))
        self.changed.set()

    async def look(self, queue: str, limit: int) -> None:
        """Until so many have come, or no more do."""
        self.waiting = await _ready(self, queue, limit)
        wanted = min(limit, self.waiting)
        if wanted < 1:
            return
        await self.ask(commands.Basic.Qos(prefetch_count=min(wanted, 0xFFFF)), commands.Basic.QosOk)
        await self.ask(commands.Basic.Consume(queue=queue, consumer_tag="leveler-peek"), commands.Basic.ConsumeOk)
        while len(self.seen) < wanted and self.lost is None:
            self.changed.clear()
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self.changed.wait()
            except TimeoutError:
                return


async def _ready(lane: Lane, queue: str, count: int) -> int:
    """How many are ready, which is known when there are `count`, or when nobody consumes any more.

    The broker says that a channel is closed before what it held is ready again; both are over at the same moment
    only for the queue itself.
    """
    declaration = commands.Queue.Declare(queue=queue, passive=True)
    left = _LOOKS
    while True:
        declared = await lane.ask(declaration, commands.Queue.DeclareOk)
        ready, consumers = declared.message_count or 0, declared.consumer_count or 0
        if ready >= count or not consumers or not left:
            return ready
        left -= 1
        await asyncio.sleep(_SILENCE_SECONDS / _LOOKS)


async def peek(connections: Connections, queue: str, limit: int, clock: Clock) -> Sequence[Message]:
    """Up to `limit` messages of `queue`, which are all there again when this returns."""
    what = f"queue {queue!r}"
    async with within(connections.deadline_seconds, what):
        glance = await connections.lane(Glance)
        try:
            await glance.look(queue, limit)
            await glance.close()  # which gives back what it has
        except ChannelClosed as error:
            raise refused(error, what) from error
        except LaneLost as error:
            raise BrokerUnavailable(f"{what}: {error}") from error
        finally:
            glance.abandon("the look is over")
        async with connections.talk(what) as lane:
            await _ready(lane, queue, glance.waiting)
    now = clock.now()
    return [open_up(properties, body, now).message for properties, body in glance.seen[:limit]]
