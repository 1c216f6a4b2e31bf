"""ServiceBusEmulator: `leveler emulate servicebus`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from leveler.errors import ConfigError
from leveler_servicebus.emulator.clock import EmulatorClock
from leveler_servicebus.emulator.namespace import Namespace
from leveler_servicebus.emulator.options import Configured, EmulatorOptions, read_config, read_queue
from leveler_servicebus.emulator.server import Listening, Server
from leveler_servicebus.emulator.signature import DEFAULT_KEY, DEFAULT_POLICY, Signatures
from leveler_servicebus.emulator.store import FileStore, NoStore


class ServiceBusEmulator:
    """Azure Service Bus queues on this machine, for the unmodified client.

    It listens on the loopback address. Clients connect with the connection string that it prints.
    """

    options: ClassVar[type[EmulatorOptions]] = EmulatorOptions

    def __init__(self, options: EmulatorOptions) -> None:
        self._options = options

    async def serve(self, ready: Callable[..., object]) -> None:
        """Serve until cancelled.

        Raises:
            ConfigError: it cannot start like this; says what to do.
        """
        said = self._options
        configured = read_config(Path(said.config)) if said.config else Configured()
        tls = self._tls()
        namespace = self._namespace(configured)
        listening = Listening(port=said.port, admin_port=said.admin_port, tls=tls)
        server = Server(namespace, listening, idle_detach_seconds=said.idle_detach_seconds)
        try:
            await server.__aenter__()
        except OSError as error:
            namespace.store.close()
            raise ConfigError(f"cannot listen: {error.strerror or error}; choose --port and --admin-port") from error
        try:
            url, details = _said(server, configured, tls=tls is not None)
            ready(url, **details)
            await asyncio.Event().wait()
        finally:
            await server.__aexit__(None, None, None)

    def _namespace(self, configured: Configured) -> Namespace:
        said = self._options
        signatures = Signatures(configured.policies, trust_bearers=said.trust_tokens)
        queues = {**configured.queues, **dict(read_queue(text) for text in said.queue or [])}
        try:
            clock = EmulatorClock(speed=said.clock_speed, ahead_seconds=said.clock_ahead_seconds)
            store = FileStore(Path(said.file)) if said.file else None
            namespace = Namespace(clock=clock, signatures=signatures, store=store)
            for name, settings in queues.items():
                namespace.ensure(name, settings)
        except (NoStore, ValueError) as error:
            raise ConfigError(str(error)) from error
        return namespace

    def _tls(self) -> ssl.SSLContext | None:
        said = self._options
        if not said.tls_cert_file:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(said.tls_cert_file, said.tls_key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"--tls-cert-file {said.tls_cert_file}: no certificate with its key: {error}") from error
        return context


def _said(server: Server, configured: Configured, *, tls: bool) -> tuple[str, dict[str, str]]:
    """What to connect with: leveler's URL, and what the vendor's clients take.

    Keys of the user's own are not shown: only the one that everybody knows.
    """
    [policy, *_] = configured.policies
    key = DEFAULT_KEY if (policy.name, policy.key) == (DEFAULT_POLICY, DEFAULT_KEY) else "..."
    where = f"127.0.0.1:{server.port}"
    plain_query, plain = ("", "") if tls else ("insecure=true&", "UseDevelopmentEmulator=true;")
    url = f"servicebus://{policy.name}:{key}@{where}?{plain_query}admin_port={server.admin_port}"
    return url, {
        "connection_string": f"Endpoint=sb://{where};SharedAccessKeyName={policy.name};SharedAccessKey={key};{plain}",
        "admin_url": f"http{'s' if tls else ''}://127.0.0.1:{server.admin_port}",
    }
