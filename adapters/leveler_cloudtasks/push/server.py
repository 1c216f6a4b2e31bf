"""Server: uvicorn around an endpoint, for `leveler run`. It closes on callers who dawdle."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from leveler.errors import ConfigError
from leveler_cloudtasks.push.endpoint import Endpoint

#: From the first byte of a request, or the opening of the connection, to the end of its headers.
HEADER_SECONDS: Final = 5.0
#: So much may come before the end of the headers; a little more, as it is read in pieces. Real ones are a few KiB, and
#: the service takes tasks with 80: what is cut off it would send for ever.
HEADER_BYTES: Final = 128 * 1024
_KEEP_ALIVE_SECONDS: Final = 30
_STOP_SECONDS: Final = 2
_MOST_CONNECTIONS: Final = 10_000


class _Protocol(HttpToolsProtocol):
    """uvicorn's, with an end to headers: it would wait for them, and keep them, for ever."""

    _late: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            self._expect()
        if self._header_bytes > HEADER_BYTES:
            self.transport.close()
            return
        super().data_received(data)
        if self._late is not None:
            self._header_bytes += len(data)

    def on_headers_complete(self) -> None:
        self._forget()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._late = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        self._header_bytes = 0


class _Uvicorn(uvicorn.Server):
    """One that leaves the process's signals to leveler."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """One endpoint on one address, for several users in this process: it ends with the last of them."""

    def __init__(self, host: str, port: int, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.users = 0
        self._host = host
        self._port = port
        self._uvicorn: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """
        Raises:
            ConfigError: the address cannot be listened on.
        """
        if self._serving is not None:
            return
        listening = _listening(self._host, self._port)
        config = uvicorn.Config(
            self.endpoint,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        self._uvicorn = _Uvicorn(config)
        self._serving = asyncio.ensure_future(self._uvicorn.serve(sockets=[listening]))

    async def stop(self) -> None:
        if self._serving is not None and self._uvicorn is not None:
            self._uvicorn.should_exit = True
            serving, self._serving = self._serving, None
            await asyncio.wait([serving])


class Servers:
    """The servers of this process, by address: an address is the process's, whoever of it wants to listen there.

    Processes of one machine may share an address: the system spreads the connections among them.
    """

    def __init__(self) -> None:
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], tuple[Hashable, Server]]] = (
            WeakKeyDictionary()
        )

    def join(self, host: str, port: int, kind: Hashable, make: Callable[[], Endpoint]) -> Server:
        """The server there, with one user more.

        Args:
            host: its address.
            port: its port.
            kind: what the endpoint is made of; who wants another kind at the same address cannot have it.
            make: makes the endpoint, if it is the first user.

        Raises:
            ConfigError: the address is in use for something else.
        """
        servers = self._of_loop.setdefault(asyncio.get_running_loop(), {})
        known, server = servers.get((host, port)) or (kind, Server(host, port, make()))
        if known != kind:
            raise ConfigError(
                f"{host}:{port} is listened on with other settings in this process: give each broker a port of its own"
            )
        servers[host, port] = known, server
        server.users += 1
        return server

    async def leave(self, server: Server) -> None:
        server.users -= 1
        if server.users == 0:
            servers = self._of_loop[asyncio.get_running_loop()]
            for address in [address for address, (_, one) in servers.items() if one is server]:
                del servers[address]
            await server.stop()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, port))
        listening.listen(2048)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigError(f"{host}:{port} cannot be listened on ({error.strerror}): set listen to another") from error
    return listening
