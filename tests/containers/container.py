"""A broker in a container, through testcontainers."""

from __future__ import annotations

import os
import subprocess

from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from tests.containers.broker import Broker, Options
from tests.containers.image import build, can_build, debian_image, is_built
from tests.containers.port import free_ports
from tests.containers.server import NoServer, Server


class ContainerServer(Server):
    """Published on the loopback address only.

    Args:
        broker: which.
        options: in the broker's own words.
    """

    kind = "container"

    def __init__(self, broker: Broker, options: Options) -> None:
        if broker.in_container is None:
            raise NoServer(f"{broker.name} runs in no container here")
        if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
            raise NoServer("start Docker, so that the brokers can run in containers")
        port = free_ports()
        super().__init__(broker, broker.url(port))
        command = broker.in_container(options)
        # The reaper's image is not to be had everywhere; who starts a container here removes it.
        testcontainers_config.ryuk_disabled = True
        container = DockerContainer(image_of(broker)).with_envs(**command.environment)
        self._container = container.with_command(list(command.words))
        self._exists = False
        # The library's own way to publish a port binds it on every address of the machine.
        self._container.ports[f"{broker.port}/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]

    @property
    def _id(self) -> str:
        return self._container.get_container_id()

    def launch(self) -> None:
        if self._exists:
            _docker("start", self._id)
            return
        try:
            self._container.start()
        except DockerException as error:
            raise NoServer(f"the container of {self.broker.name} does not start: {error}") from error
        self._exists = True

    def kill(self) -> None:
        _docker("kill", self._id)
        _docker("wait", self._id)

    def stop(self) -> None:
        _docker("stop", self._id)

    def freeze(self) -> None:
        _docker("pause", self._id)

    def thaw(self) -> None:
        _docker("unpause", self._id)

    def admin(self, *words: str) -> str:
        return _docker("exec", self._id, *self.broker.admin(0), *words)

    def log(self) -> str:
        return _docker("logs", "--tail", "50", self._id)

    def close(self) -> None:
        self._container.stop()


def image_of(broker: Broker) -> str:
    """What LEVELER_TEST_IMAGES asks for; else the Debian image where it is built, and the official one elsewhere."""
    match os.environ.get("LEVELER_TEST_IMAGES", ""):
        case "debian":
            if not can_build() and not is_built(debian_image()):
                raise NoServer(
                    "building the brokers' image takes root and debootstrap; or set LEVELER_TEST_IMAGES=official"
                )
            return build()
        case "official":
            return broker.official
        case "":
            return debian_image() if is_built(debian_image()) else broker.official
        case other:
            raise NoServer(f"LEVELER_TEST_IMAGES is {other!r}: it may be debian or official")


def _docker(*words: str) -> str:
    answer = subprocess.run(
        ["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if answer.returncode:
        raise RuntimeError(f"docker {' '.join(words)}: {answer.stdout}")
    return answer.stdout
