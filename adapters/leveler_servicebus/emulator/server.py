"""Emulator: listens, and says where."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType

from leveler_servicebus.emulator.connection import Connection
from leveler_servicebus.emulator.entity.refusal import DETACH_FORCED, SESSION_LOCK_LOST
from leveler_servicebus.emulator.namespace import Namespace
from leveler_servicebus.emulator.outgoing import Outgoing
from leveler_servicebus.emulator.service import Service


class Emulator:
    """An emulator that listens on the loopback address, for as long as it is entered.

    Args:
        namespace: its queues.
        port: for AMQP; 0: any that is free.
        tls: for clients that speak TLS; without it, plain.
        idle_detach_seconds: links on which nothing happens for so long are detached.
    """

    def __init__(
        self,
        namespace: Namespace,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        idle_detach_seconds: float = 600.0,
        host: str = "127.0.0.1",
    ) -> None:
        self.namespace = namespace
        self.service = Service(namespace, idle_detach_seconds=idle_detach_seconds)
        self.port = port
        self.host = host
        self._tls = tls
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Emulator:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.service.tick()
        self._sweeper = loop.create_task(self._sweep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            connection.abort()
        self.service.close()
        await asyncio.sleep(0)

    def detach(self, entity: str | None = None) -> int:
        """Detach the links to an entity, or to all, as the service does when it moves them; how many."""
        path = None if entity is None else entity.lower()
        links = [link for link in self._links() if link.may_idle_out and path in (None, link.entity)]
        for link in links:
            link.detach(DETACH_FORCED, "The link is force detached by the broker. Details: asked by an operator.")
        return len(links)

    def _connect(self) -> Connection:
        connection = Connection(self.service, self._connections.discard)
        self._connections.add(connection)
        return connection

    def _links(self) -> list[Outgoing]:
        return [link for connection in self._connections for link in connection.links()]

    async def _sweep(self) -> None:
        """Detach links that are idle, and those whose session has been lost."""
        while True:
            await asyncio.sleep(min(1.0, self.service.clock.real_seconds(self.service.idle_detach_ms) / 4))
            idle_since_ms = self.service.clock.now_ms() - self.service.idle_detach_ms
            for link in self._links():
                if isinstance(link, Outgoing) and link.session_lost():
                    link.detach(SESSION_LOCK_LOST, "The session lock has expired on the session receiver.")
                elif link.may_idle_out and link.active_ms <= idle_since_ms:
                    link.detach(DETACH_FORCED, "The link is force detached by the broker. Details: idle for too long.")
