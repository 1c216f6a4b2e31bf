"""Connections: the two of one adapter, made when they are needed.

What is published goes over a connection of its own. A broker that is short of memory or disk stops reading from
connections that publish, and settlements must not be held up with them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from pamqp import commands

from leveler.errors import BrokerUnavailable, NotStarted
from leveler_rabbitmq.address import Address
from leveler_rabbitmq.errors import ChannelClosed, not_connected, refused, within
from leveler_rabbitmq.lane import Lane, LaneLost
from leveler_rabbitmq.link import AnyLane, Link, connect
from leveler_rabbitmq.wire import Wire


class Side:
    """One connection, or none at the moment.

    Args:
        dial: makes one.
    """

    def __init__(self, dial: Callable[[], Coroutine[Any, Any, Link]]) -> None:
        self._dial = dial
        self._link: Link | None = None
        self._dialling = asyncio.Lock()

    async def link(self) -> Link:
        async with self._dialling:
            if self._link is None or not self._link.open:
                self._link = await self._dial()
            return self._link

    async def close(self) -> None:
        async with self._dialling:
            if self._link is not None:
                link, self._link = self._link, None
                await link.close()


class Connections:
    """
    Args:
        address: where the broker is; the nodes are tried in this order, from the last one that answered on.
        context: for TLS.
        heartbeat_seconds: of each connection.
        deadline_seconds: of everything here.
    """

    def __init__(
        self,
        address: Address,
        context: Callable[[], ssl.SSLContext | None],
        heartbeat_seconds: int,
        deadline_seconds: float,
    ) -> None:
        self.deadline_seconds = deadline_seconds
        self.where = ", ".join(map(str, address.nodes))
        self._address = address
        self._context = context
        self._heartbeat = heartbeat_seconds
        self._first = 0
        self._sides: tuple[Side, Side] | None = None

    async def open(self) -> Link:
        """Connect.

        Raises:
            BrokerUnavailable: no node answers.
            AccessDenied, ConfigError: one answers, and not well.
        """
        self._sides = (Side(self._dial), Side(self._dial))
        return await self._side(0).link()

    async def close(self) -> None:
        if self._sides is not None:
            sides, self._sides = self._sides, None
            await asyncio.gather(*(side.close() for side in sides))

    async def outgoing(self) -> Link:
        """For publishing."""
        return await self._side(1).link()

    async def lane(self, make: Callable[[Wire, int], AnyLane]) -> AnyLane:
        """A new channel for everything but publishing.

        Raises:
            BrokerUnavailable: there can be none at the moment.
        """
        try:
            return await (await self._side(0).link()).lane(make)
        except (LaneLost, ChannelClosed) as error:
            raise BrokerUnavailable(f"{self.where}: {error}") from error

    @asynccontextmanager
    async def talk(self, what: str) -> AsyncIterator[Lane]:
        """A channel for some questions about `what`.

        Raises:
            LevelerError: whatever the broker has against it.
        """
        async with within(self.deadline_seconds, what):
            lane = await self.lane(Lane)
            try:
                yield lane
            except ChannelClosed as error:
                raise refused(error, what) from error
            except LaneLost as error:
                raise BrokerUnavailable(f"{what}: {error}") from error
            finally:
                lane.abandon("it is not needed any more")

    async def ready(self, name: str) -> int:
        """How many messages wait in that queue.

        Raises:
            QueueNotFound: there is none.
        """
        async with self.talk(f"queue {name!r}") as lane:
            declaration = commands.Queue.Declare(queue=name, passive=True)
            return (await lane.ask(declaration, commands.Queue.DeclareOk)).message_count or 0

    def _side(self, which: int) -> Side:
        if self._sides is None:
            raise NotStarted(f"the adapter of {self.where} is not open: use it inside 'async with'")
        return self._sides[which]

    async def _dial(self) -> Link:
        """The first node that answers. A refusal of one is a refusal of all: they share users and permissions."""
        nodes = self._address.nodes
        problems: list[str] = []
        cause: BaseException | None = None
        for turn in range(len(nodes)):
            place = (self._first + turn) % len(nodes)
            node = nodes[place]
            try:
                async with asyncio.timeout(self.deadline_seconds / len(nodes)):
                    link = await connect(self._address, node, self._context(), self._heartbeat)
            except (Exception, asyncio.CancelledError) as error:  # aiormq lets through whatever breaks in it
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                problem = not_connected(error, str(node), self._address.vhost)
                if not isinstance(problem, BrokerUnavailable):
                    raise problem from error
                problems.append(str(problem))
                cause = error
            else:
                self._first = place
                return link
        raise BrokerUnavailable("; ".join(problems)) from cause


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
