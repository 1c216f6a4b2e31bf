"""The brokers, as data: how each is started, in a container and as a process, and how it shows that it is ready."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import urlopen

import pamqp.commands
import pamqp.frame
import pamqp.header
import redis

#: Options of a server, in the broker's own words: lines of rabbitmq.conf, directives of redis.conf.
Options = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and with which environment."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    #: What must run beside it, for as long as it does.
    beside: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, kw_only=True)
class Broker:
    """One kind of server."""

    #: As the adapter is called.
    name: str
    #: Where it listens in a container.
    port: int = 0
    #: The official image; empty if it runs as a process only.
    official: str = ""
    #: The program without which there is no local process.
    program: Callable[[], str | None]
    #: The URL for tests of the server that listens on a port of this machine.
    url: Callable[[int], str]
    #: Options, the folder for its files, its port.
    as_process: Callable[[Options, Path, int], Command]
    #: Its version, if it answers; raises anything if it does not.
    version: Callable[[str], str]
    in_container: Callable[[Options], Command] | None = None
    #: The command of its own tool, in the environment of the server, if it has one; the port is 0 in a container.
    admin: Callable[[int], Sequence[str]] = lambda port: ()

    @property
    def kinds(self) -> Sequence[str]:
        """How it can run here."""
        return ("container", "process") if self.in_container else ("process",)

    @property
    def given(self) -> str:
        """The URL of a server of the user's own, or an empty text."""
        return os.environ.get(f"LEVELER_TEST_{self.name.upper()}_URL", "")


# RabbitMQ

#: Debian's wrapper changes the user and drops the environment; this is the script behind it.
_RABBITMQ_SCRIPTS: Final = Path("/usr/lib/rabbitmq/bin")


def _rabbitmq_script(name: str) -> str | None:
    script = _RABBITMQ_SCRIPTS / name
    return str(script) if script.exists() else shutil.which(name)


def _rabbitmq_conf(options: Options) -> str:
    return "".join(f"{key} = {value}\n" for key, value in options.items())


def _rabbitmq_in_container(options: Options) -> Command:
    conf = _rabbitmq_conf({"loopback_users": "none", "log.console": "true", **options})
    script = 'printf %s "$LEVELER_CONF" > /etc/rabbitmq/rabbitmq.conf && exec rabbitmq-server'
    return Command(words=["sh", "-c", script], environment={"LEVELER_CONF": conf})


def _rabbitmq_as_process(options: Options, folder: Path, port: int) -> Command:
    """A node of its own: files, name, cookie and port mapper, all on the loopback address."""
    conf = folder / "rabbitmq.conf"
    conf.write_text(_rabbitmq_conf({f"listeners.tcp.{port}": f"127.0.0.1:{port}", **options}))
    (folder / "enabled_plugins").write_text("[].\n")
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"leveler-{port}@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(conf.with_suffix("")),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(port + 1),
        "RABBITMQ_CTL_DIST_PORT_MIN": str(port + 2),
        "RABBITMQ_CTL_DIST_PORT_MAX": str(port + 8),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(port + 9),
        # The script becomes the server, so that a signal meets the server.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    # Else the node starts one that outlives it.
    mapper = ["epmd", "-address", "127.0.0.1", "-port", environment["ERL_EPMD_PORT"]]
    return Command(words=[str(_rabbitmq_script("rabbitmq-server"))], environment=environment, beside=[mapper])


def _rabbitmq_version(url: str) -> str:
    """As the server greets: it does so only when it is ready for clients."""

    async def ask() -> str:
        at = urlsplit(url)
        tls = at.scheme == "amqps"
        reader, writer = await asyncio.open_connection(at.hostname, at.port or (5671 if tls else 5672), ssl=tls or None)
        try:
            writer.write(pamqp.header.ProtocolHeader().marshal())
            head = await reader.readexactly(7)
            rest = await reader.readexactly(int.from_bytes(head[3:7], "big") + 1)
            greeting = pamqp.frame.unmarshal(head + rest)[2]
            assert isinstance(greeting, pamqp.commands.Connection.Start)
            return str(greeting.server_properties["version"])
        finally:
            writer.close()

    return asyncio.run(asyncio.wait_for(ask(), 5.0))


RABBITMQ: Final = Broker(
    name="rabbitmq",
    port=5672,
    official="rabbitmq:4",
    program=lambda: _rabbitmq_script("rabbitmq-server"),
    url=lambda port: f"amqp://guest:guest@127.0.0.1:{port}/",
    in_container=_rabbitmq_in_container,
    as_process=_rabbitmq_as_process,
    admin=lambda port: [str(_rabbitmq_script("rabbitmqctl")) if port else "rabbitmqctl", "--quiet"],
    version=_rabbitmq_version,
)

# Redis

#: What an accepted message needs to survive a crash of the server; never evicted, and no snapshots on the side.
_REDIS_OPTIONS: Final = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
}


def _redis_words(options: Options) -> list[str]:
    return ["redis-server", *(word for key, value in options.items() for word in (f"--{key}", value))]


def _redis_in_container(options: Options) -> Command:
    return Command(words=_redis_words({"bind": "0.0.0.0", "protected-mode": "no", **_REDIS_OPTIONS, **options}))


def _redis_as_process(options: Options, folder: Path, port: int) -> Command:
    place = {"bind": "127.0.0.1", "port": str(port), "dir": str(folder)}
    return Command(words=_redis_words({**place, **_REDIS_OPTIONS, **options}))


def _redis_version(url: str) -> str:
    with redis.Redis.from_url(url, socket_timeout=5.0) as client:
        return str(client.info("server")["redis_version"])


REDIS: Final = Broker(
    name="redis",
    port=6379,
    official="redis:8",
    program=lambda: shutil.which("redis-server"),
    url=lambda port: f"redis://127.0.0.1:{port}/0",
    in_container=_redis_in_container,
    as_process=_redis_as_process,
    admin=lambda port: ["redis-cli", "-p", str(port or 6379)],
    version=_redis_version,
)

# Azure Storage Queue: Azurite, the vendor's own emulator, which `prepare` installs outside of the project

AZURITE_VERSION: Final = "3.37.0"
#: Everybody's: https://learn.microsoft.com/azure/storage/common/storage-use-emulator
_AZURITE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_AZURITE_FLAGS: Final = ("--skipApiVersionCheck", "--disableTelemetry", "--silent")


def _azurite() -> str | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    prepared = cache / f"leveler-tests/azurite-{AZURITE_VERSION}/node_modules/.bin/azurite-queue"
    return str(prepared) if prepared.exists() else shutil.which("azurite-queue")


def _azurite_as_process(options: Options, folder: Path, port: int) -> Command:
    """Without the option `location` it keeps everything in memory."""
    place = [word for key, value in options.items() for word in (f"--{key}", value)] or ["--inMemoryPersistence"]
    return Command(
        words=[str(_azurite()), "--queueHost", "127.0.0.1", "--queuePort", str(port), *_AZURITE_FLAGS, *place]
    )


def _azure_version(url: str) -> str:
    """As the server calls itself when it refuses to talk to somebody without a name."""
    at = urlsplit(url)
    scheme = "http" if "insecure=true" in at.query else "https"
    where = at.netloc.rpartition("@")[2]
    try:
        urlopen(f"{scheme}://{where}{at.path or '/'}?comp=list", timeout=5.0).close()
    except HTTPError as answer:
        with answer:
            return str(answer.headers["Server"])
    raise RuntimeError(f"{where} lets anybody in")


STORAGEQUEUE: Final = Broker(
    name="storagequeue",
    program=_azurite,
    url=lambda port: (
        f"azurequeue://devstoreaccount1:{quote(_AZURITE_KEY, safe='')}@127.0.0.1:{port}/devstoreaccount1?insecure=true"
    ),
    as_process=_azurite_as_process,
    version=_azure_version,
)

# Azure Service Bus: leveler's own emulator


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
)

BROKERS: Final[Mapping[str, Broker]] = {broker.name: broker for broker in (RABBITMQ, REDIS, SERVICEBUS, STORAGEQUEUE)}
