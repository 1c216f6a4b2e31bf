"""The Cloud Tasks adapter keeps the contract: on the emulator, or on a service of the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version

import pytest
from leveler_cloudtasks import CloudTasksAdapter

from leveler.adapter import Adapter, Capabilities, QueueSpec
from leveler.clock import Clock
from leveler.discovery import find
from leveler.testing.contract import UrlTarget
from tests.containers.port import free_ports
from tests.contract.cloudtasks_process import emulated
from tests.contract.side_by_side import SideBySide

#: A server that was given: an endpoint that it can reach is in the URL.
GIVEN = os.environ.get("LEVELER_TEST_CLOUDTASKS_URL", "")


class Strict(CloudTasksAdapter):
    """Says that it counts exactly, so that the suite holds it to that: here every try reaches the endpoint."""

    async def declare(self, queue: QueueSpec) -> Capabilities:
        return replace(await super().declare(queue), attempts="exact")


class CloudTasks(UrlTarget):
    def __init__(self, url: str) -> None:
        # A refused task is offered again within a second, each delivery is a request, and other tests run beside.
        super().__init__(url, lease_seconds=15.0 if GIVEN else 3.0, grace_seconds=2.0)
        self.name = "cloudtasks/given" if GIVEN else f"cloudtasks/process {version('google-cloud-tasks')}"

    def adapter(self, clock: Clock) -> Adapter:
        found = find(self.url, clock=clock, deadline_seconds=self.deadline_seconds)
        return Strict(found.url, found.settings, clock=clock, deadline_seconds=self.deadline_seconds)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of an emulator with an endpoint of this process's own."""
    if GIVEN:
        yield GIVEN
        return
    with emulated("--shortest-deadline", "2", "--no-quotas") as running:
        yield f"{running.url}&endpoint=http://127.0.0.1:{free_ports()}&listen_first=true"


class TestCloudTasks(SideBySide):
    jobs = 12

    @pytest.fixture(autouse=True)
    def _target(self, url: str) -> None:
        type(self).target = CloudTasks(url)
