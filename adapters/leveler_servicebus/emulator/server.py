"""Server: one emulator that listens, for AMQP and for its admin API, and what it can be told."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from leveler_servicebus.emulator.admin.controls import Controls
from leveler_servicebus.emulator.admin.http import AdminServer
from leveler_servicebus.emulator.admin.resources import Resources
from leveler_servicebus.emulator.connection import Connection
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.refusal import DETACH_FORCED, NOT_FOUND, SESSION_LOCK_LOST, Refused
from leveler_servicebus.emulator.links import Link
from leveler_servicebus.emulator.namespace import Namespace
from leveler_servicebus.emulator.outgoing import Outgoing
from leveler_servicebus.emulator.service import Service

#: The service detaches a link on which nothing has happened for so long.
IDLE_DETACH_SECONDS: Final = 600.0

#: How often links are looked at, at most.
_SWEEP_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a server listens."""

    host: str = "127.0.0.1"
    #: For AMQP, and for the admin API; 0: any port that is free; None: no admin API.
    port: int = 0
    admin_port: int | None = None
    #: For AMQP over TLS alone, and for HTTPS beside HTTP.
    tls: ssl.SSLContext | None = None


class Server:
    """Serves for as long as it is entered.

    Args:
        namespace: its queues.
        listening: where.
        idle_detach_seconds: links on which nothing happens for so long are detached.
    """

    def __init__(
        self,
        namespace: Namespace,
        listening: Listening | None = None,
        *,
        idle_detach_seconds: float = IDLE_DETACH_SECONDS,
    ) -> None:
        self.namespace = namespace
        #: Where AMQP and the admin API are to be had, once it is entered.
        self.port = 0
        self.admin_port = 0
        self._listening = listening or Listening()
        self._idle_detach_ms = idle_detach_seconds * 1000
        self._service = Service(namespace)
        self._connections: set[Connection] = set()
        self._amqp: asyncio.Server | None = None
        self._admin: AdminServer | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Server:
        where, loop = self._listening, asyncio.get_running_loop()
        self._amqp = await loop.create_server(self._connect, where.host, where.port, ssl=where.tls)
        self.port = self._amqp.sockets[0].getsockname()[1]
        if where.admin_port is not None:
            try:
                resources = Resources(self.namespace, Controls(self))
                self._admin = AdminServer(resources, where.host, where.admin_port, where.tls)
            except OSError:
                self._amqp.close()
                raise
            self.admin_port = self._admin.port
        self._service.tick()
        self._sweeper = loop.create_task(self._sweep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._admin is not None:
            await self._admin.close()
        if self._amqp is not None:
            self._amqp.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.cut()
        await asyncio.sleep(0)  # the connections learn that they are gone
        self._service.close()

    # ---- what it can be told

    def move_clock(self, seconds: float) -> None:
        """Go forward, or back, at once."""
        self.namespace.clock.move(seconds)
        self._service.tick()

    def be_busy(self, seconds: float) -> None:
        """Refuse to send for so long."""
        self.namespace.be_busy(seconds * 1000)

    def detach(self, entity: str | None = None) -> int:
        """Detach the links to an entity, or to all, as the service does when it moves one; how many."""
        links = [link for link in self._links() if entity is None or link.entity == entity.lower()]
        for link in links:
            link.detach(DETACH_FORCED, "The link is force detached by the broker. Details: asked by an operator.")
        return len(links)

    def cut(self) -> int:
        """Drop all connections without a word; how many."""
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        return len(connections)

    def gone(self, queue: Queue) -> None:
        """It has been deleted: nobody can be attached to it, or wait for it."""
        path = queue.name.lower()
        refused = Refused(NOT_FOUND, f"The messaging entity '{queue.name}' has been deleted.")
        for link in self._links():
            if link.entity == path or link.entity.startswith(f"{path}/$"):
                link.detach(refused.condition, refused.description)
        self._service.forget(queue, refused)

    # ---- inside

    def _connect(self) -> Connection:
        connection = Connection(self._service, self._connections.discard)
        self._connections.add(connection)
        return connection

    def _links(self) -> list[Link]:
        """Those to entities."""
        return [link for connection in self._connections for link in connection.links() if link.entity]

    async def _sweep(self) -> None:
        interval_seconds = min(_SWEEP_SECONDS, self.namespace.clock.real_seconds(self._idle_detach_ms) / 4)
        while True:
            await asyncio.sleep(interval_seconds)
            idle_since_ms = self.namespace.clock.now_ms() - self._idle_detach_ms
            for link in self._links():
                if isinstance(link, Outgoing) and link.session_lost():
                    link.detach(SESSION_LOCK_LOST, "The session lock has expired on the session receiver.")
                elif link.active_ms <= idle_since_ms:
                    link.detach(DETACH_FORCED, "The link is force detached by the broker. Details: idle for too long.")
