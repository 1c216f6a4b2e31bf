"""``leveler emulate cloudtasks``: the parts put together, and served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import grpc
from aiohttp import web

from leveler.clock import Clock, SystemClock
from leveler.errors import ConfigError
from leveler_cloudtasks.emulator.broker import Broker
from leveler_cloudtasks.emulator.caller import Caller
from leveler_cloudtasks.emulator.clock import ScaledClock
from leveler_cloudtasks.emulator.dispatcher import Dispatcher
from leveler_cloudtasks.emulator.identity import ISSUER, Identity
from leveler_cloudtasks.emulator.rules import TaskRules
from leveler_cloudtasks.emulator.service import Service
from leveler_cloudtasks.emulator.store import Store

_STOP_SECONDS: Final = 1.0
_MAX_RPC_BYTES: Final = 100 * 1024 * 1024 + 4096


@dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """What ``leveler emulate cloudtasks`` takes."""

    port: int = field(default=8123, metadata={"help": "Where the gRPC service listens; 0 = any that is free."})
    keys_port: int = field(
        default=8124, metadata={"help": "Where the public keys of its OIDC tokens are served over HTTP; 0 = any."}
    )
    host: str = field(
        default="127.0.0.1",
        metadata={"help": "The address to listen on. Whoever reaches it can make this machine call any URL."},
    )
    file: str = field(default=":memory:", metadata={"help": "Keep the state in this file, over restarts."})
    speed: float = field(default=1.0, metadata={"help": "So many seconds pass there in one second here."})
    shortest_deadline: float = field(
        default=15.0, metadata={"help": "Take dispatch deadlines from so many seconds on; the real service: 15."}
    )
    quotas: bool = field(
        default=True, metadata={"help": "Refuse more than 600 ListTasks and 60 RunTask a minute, as the service does."}
    )


class Served(NamedTuple):
    """Where a running emulator is."""

    #: host:port of the gRPC service, without TLS.
    address: str
    #: URL of the keys, a JWKS document.
    keys: str
    identity: Identity


class CloudTasksEmulator:
    """Google Cloud Tasks on this machine: the gRPC service and its dispatcher, for tests and for development."""

    options = EmulatorOptions

    def __init__(self, options: EmulatorOptions, *, clock: Clock | None = None) -> None:
        if options.speed <= 0 or options.shortest_deadline <= 0:
            raise ConfigError("--speed and --shortest-deadline must be above 0")
        self.at = options
        self._clock = clock or SystemClock()

    async def serve(self, ready: Callable[..., object]) -> None:
        """Until cancelled."""
        async with self.running() as served:
            url = f"cloudtasks://local/here?emulator={served.address}&longest_backoff=1"
            if self.at.shortest_deadline != EmulatorOptions.shortest_deadline:
                url += f"&shortest_lease={self.at.shortest_deadline:g}"
            ready(url, address=served.address, keys=served.keys, issuer=ISSUER)
            await asyncio.Event().wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Served]:
        """Everything listens inside.

        Raises:
            ConfigError: a port or the file is somebody else's.
        """
        async with AsyncExitStack() as stack:
            store = Store(self.at.file)
            stack.callback(store.close)
            clock = ScaledClock(self._clock, self.at.speed, store.anchor(self._clock.now()))
            identity = Identity(self._clock)
            caller = Caller(identity, clock)
            stack.push_async_callback(caller.close)
            dispatcher = Dispatcher(caller, store, clock)
            stack.push_async_callback(dispatcher.close)
            broker = Broker(store, dispatcher, clock, TaskRules(self.at.shortest_deadline))
            keys = await self._serve_keys(stack, identity)
            address = await self._serve_rpcs(stack, Service(broker, clock, quotas=self.at.quotas))
            broker.recall()
            yield Served(address, keys, identity)

    async def _serve_rpcs(self, stack: AsyncExitStack, service: Service) -> str:
        server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _MAX_RPC_BYTES)]
        )
        server.add_generic_rpc_handlers(tuple(service.handlers()))
        try:
            port = server.add_insecure_port(f"{self.at.host}:{self.at.port}")
        except RuntimeError as error:
            raise _taken("--port", self.at.host, self.at.port) from error
        await server.start()
        stack.push_async_callback(server.stop, _STOP_SECONDS)
        return f"{self.at.host}:{port}"

    async def _serve_keys(self, stack: AsyncExitStack, identity: Identity) -> str:
        """The two documents by which Google's tokens are checked."""
        app = web.Application()
        runner = web.AppRunner(app, access_log=None)
        documents: dict[str, Any] = {}

        async def document(request: web.Request) -> web.Response:
            return web.json_response(documents[request.path], headers={"Cache-Control": "public, max-age=300"})

        for path in ("/.well-known/openid-configuration", "/oauth2/v3/certs"):
            app.router.add_get(path, document)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self.at.host, self.at.keys_port)
        try:
            await site.start()
        except OSError as error:
            raise _taken("--keys-port", self.at.host, self.at.keys_port) from error
        keys = f"http://{self.at.host}:{runner.addresses[0][1]}/oauth2/v3/certs"
        documents["/oauth2/v3/certs"] = identity.keys()
        documents["/.well-known/openid-configuration"] = {
            "issuer": ISSUER,
            "jwks_uri": keys,
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return keys


def _taken(option: str, host: str, port: int) -> ConfigError:
    return ConfigError(f"{host}:{port} cannot be listened on, perhaps somebody else does: choose another {option}")
