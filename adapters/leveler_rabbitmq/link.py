"""Link: one connection to one node. aiormq shakes hands and keeps it alive; lanes are made here."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar

from aiormq.connection import Connection, TransportFactory

from leveler_rabbitmq.address import Address, Node
from leveler_rabbitmq.errors import NotWelcome
from leveler_rabbitmq.lane import Lane, LaneLost
from leveler_rabbitmq.wire import Wire

AnyLane = TypeVar("AnyLane", bound=Lane)

_LEAST_CHANNELS: Final = 16
_GOODBYE_SECONDS: Final = 2.0


class Link:
    """
    Args:
        connection: open.
        wire: what it runs over.
        heartbeat_seconds: nothing heard for twice as long means that nobody is there.
    """

    def __init__(self, connection: Connection, wire: Wire, heartbeat_seconds: int) -> None:
        self.wire = wire
        self.version = str(connection.server_properties.get("version", "0"))
        self.frame_max = connection.connection_tune.frame_max or 131072
        self._connection = connection
        self._period = heartbeat_seconds / 2
        # aiormq numbers its channels upwards from 1, of which it needs none.
        self._last_number = self._most = max(connection.connection_tune.channel_max or 2047, _LEAST_CHANNELS)
        self._silent = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._period, self._look)

    @property
    def open(self) -> bool:
        return not self.wire.lost

    async def lane(self, make: Callable[[Wire, int], AnyLane]) -> AnyLane:
        """A new channel.

        Raises:
            LaneLost: the connection is gone, or has no channel left.
        """
        if self.wire.lost:
            raise LaneLost(self.wire.lost)
        lane = make(self.wire, self._number())
        await lane.open()
        return lane

    async def close(self) -> None:
        self._timer.cancel()
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                self.wire.flush()
                await self._connection.close(None)
        except TimeoutError:
            pass
        finally:
            self.wire.abort("the adapter was closed")

    def _number(self) -> int:
        for _ in range(self._most):
            number, self._last_number = self._last_number, self._last_number - 1 or self._most
            if number not in self.wire.lanes:
                return number
        raise LaneLost(f"all {self._most} channels of the connection are in use")

    def _look(self) -> None:
        """Four times nothing in half a heartbeat's time: the other side is gone, whatever the socket says."""
        if self.wire.lost:
            return
        self._silent = 0 if self.wire.heard else self._silent + 1
        self.wire.heard = False
        if self._silent >= 4:
            self.wire.abort("the connection is dead: nothing was heard, not even a heartbeat")
            return
        self.wire.keep_alive()
        self._timer = self._loop.call_later(self._period, self._look)


async def connect(address: Address, node: Node, context: ssl.SSLContext | None, heartbeat_seconds: int) -> Link:
    """
    Raises:
        OSError, ssl.SSLError, aiormq.exceptions.AMQPError: no connection.
        NotWelcome: the broker does not want it.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    transport, wire = await loop.create_connection(
        lambda: Wire(reader, loop), node.host, node.port, ssl=context, server_hostname=node.host if context else None
    )
    writer = asyncio.StreamWriter(transport, wire, reader, loop)
    url = f"{address.url(node)}?heartbeat={heartbeat_seconds}&name=leveler"
    connection = Connection(url, transport_factory=_Ready(reader, writer))
    try:
        await connection.connect()
    except BaseException as error:
        transport.abort()
        if wire.closed is not None:  # aiormq does not always look at what came instead of an answer
            raise NotWelcome(*wire.closed) from error
        raise
    wire.opened()
    return Link(connection, wire, heartbeat_seconds)


class _Ready(TransportFactory):
    """Hands over what is connected already: aiormq would log a failure as an error of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pair = reader, writer

    async def create(self, url: Any, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return self._pair
