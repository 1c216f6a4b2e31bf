"""Fixtures: a server for each broker, shared by all processes of one test run.

`rabbitmq` and `redis` are the first server that can be had, `servicebus`, `sqs` and `storagequeue` are processes;
`each_rabbitmq` and `each_redis` run a test on both, the newest in a container and the oldest as a process. What cannot
be had skips the test on a laptop and fails it in CI.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import pytest

from tests.containers.brokers import BROKERS
from tests.containers.find import Wish
from tests.containers.keeper import Kept, ask

ROOT: Final = Path(__file__).parents[2]

Servers = Callable[[str, Wish], Kept]


class Owner:
    """The part of the plugin that runs once for each test run: it starts the keeper, and ends it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="leveler-servers-")
        self.socket = Path(self._folder.name) / "keeper"
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.containers.keeper", str(self.socket)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt is for the tests; the keeper ends when they have
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        """Of pytest-xdist: where the keeper is, for each worker."""
        node.workerinput["keeper"] = str(self.socket)  # type: ignore[attr-defined]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.socket.exists() and (kept := ask(self.socket, "")):
            terminalreporter.section("servers")
            for line in sorted({one.label for one in kept}):
                terminalreporter.line(line)

    def pytest_unconfigure(self) -> None:
        self._keeper.communicate()
        self._folder.cleanup()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Owner(), "servers")


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """Any server by the name of its broker and how it shall run, for tests that choose themselves."""
    owner = cast("Owner | None", request.config.pluginmanager.get_plugin("servers"))
    socket = owner.socket if owner else Path(request.config.workerinput["keeper"])  # type: ignore[attr-defined]
    give_up_at = time.monotonic() + 30
    while not socket.exists() and time.monotonic() < give_up_at:
        time.sleep(0.02)

    def get(name: str, wish: Wish) -> Kept:
        [kept] = ask(socket, f"{name} {wish}")
        if kept.missing and os.environ.get("CI"):
            pytest.fail(kept.missing)
        if kept.missing:
            pytest.skip(kept.missing)
        return kept

    return get


@pytest.fixture(scope="session")
def rabbitmq(servers: Servers) -> Kept:
    """A RabbitMQ server."""
    return servers("rabbitmq", "any")


@pytest.fixture(scope="session")
def redis(servers: Servers) -> Kept:
    """A Redis server."""
    return servers("redis", "any")


@pytest.fixture(scope="session")
def servicebus(servers: Servers) -> Kept:
    """An Azure Service Bus namespace."""
    return servers("servicebus", "process")


@pytest.fixture(scope="session")
def storagequeue(servers: Servers) -> Kept:
    """An Azure Storage Queue account."""
    return servers("storagequeue", "process")


@pytest.fixture(scope="session")
def sqs(servers: Servers) -> Kept:
    """An SQS: real if it is given, else an emulator, with the credentials that it wants."""
    kept = servers("sqs", "process")
    if kept.kind != "given":
        os.environ.update(BROKERS["sqs"].credentials)
    return kept


@pytest.fixture(scope="session", params=["container", "process"])
def each_rabbitmq(request: pytest.FixtureRequest, servers: Servers) -> Kept:
    """RabbitMQ in a container, and as a process; or the user's own."""
    return _each(servers, "rabbitmq", request.param)


@pytest.fixture(scope="session", params=["container", "process"])
def each_redis(request: pytest.FixtureRequest, servers: Servers) -> Kept:
    """Redis in a container, and as a process; or the user's own."""
    return _each(servers, "redis", request.param)


def _each(servers: Servers, name: str, wish: Wish) -> Kept:
    kept = servers(name, wish)
    if kept.kind == "given" and wish == "process":
        pytest.skip("the server that was given is tested once")
    return kept
