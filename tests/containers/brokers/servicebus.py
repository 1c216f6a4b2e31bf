"""Azure Service Bus: leveler's own emulator."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.containers.broker import Broker, Command, Options


def _servicebus_as_process(options: Options, folder: Path, port: int) -> Command:
    """Its admin API listens beside it. Without the option `file` it keeps everything in memory."""
    given = [word for key, value in options.items() for word in (f"--{key}", value.format(folder=folder))]
    ports = ["--port", str(port), "--admin-port", str(port + 1)]
    return Command(words=[sys.executable, "-m", "leveler", "emulate", "servicebus", *ports, *given])


def _servicebus_version(url: str) -> str:
    """Whether both doors are open; it has no version of its own."""
    at = urlsplit(url)
    for port in (at.port, parse_qs(at.query).get("admin_port", [at.port or 5671])[0]):
        socket.create_connection((at.hostname or "", int(port or 5671)), timeout=5.0).close()
    return "emulated" if "insecure=true" in at.query else "real"


SERVICEBUS: Final = Broker(
    name="servicebus",
    program=lambda: sys.executable,
    url=lambda port: (
        f"servicebus://RootManageSharedAccessKey:SAS_KEY_VALUE@127.0.0.1:{port}?insecure=true&admin_port={port + 1}"
    ),
    as_process=_servicebus_as_process,
    version=_servicebus_version,
    install="install leveler-mq[servicebus]",
)
