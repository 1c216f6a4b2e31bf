"""RabbitMQ: in a container, or as it is installed."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pamqp.commands
import pamqp.frame
import pamqp.header

from tests.containers.broker import Broker, Command, Options

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
    install="install rabbitmq-server",
)
