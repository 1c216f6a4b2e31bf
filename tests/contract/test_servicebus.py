"""The Service Bus adapter keeps the contract, on leveler's emulator or on a real namespace."""

from __future__ import annotations

from typing import Any

import pytest

from leveler.testing.contract import UrlTarget
from tests.containers.keeper import Kept
from tests.contract.side_by_side import SideBySide


class ServiceBus(UrlTarget):
    """Queues of its own in a namespace that others use, too. Real locks last for five seconds at least."""

    def __init__(self, server: Kept, **spec: Any) -> None:
        super().__init__(server.url, lease_seconds=5.0 if server.kind == "given" else 3.0, grace_seconds=2.0)
        self.name = " ".join([server.label, *spec])
        self.spec = spec


class TestPlain(SideBySide):
    jobs = 16

    @pytest.fixture(autouse=True)
    def _server(self, servicebus: Kept) -> None:
        type(self).target = ServiceBus(servicebus)


class TestDuplicateDetection(SideBySide):
    """What sends copies, or sends again."""

    jobs = 16
    topics = ("send", "attempts", "delay", "deadletter", "copies")

    @pytest.fixture(autouse=True)
    def _server(self, servicebus: Kept) -> None:
        type(self).target = ServiceBus(servicebus, dedup_seconds=300.0)


class TestSessions(SideBySide):
    """Order per key. Each message without one is a session of its own, which costs half a second the first time."""

    jobs = 8

    @pytest.fixture(autouse=True)
    def _server(self, servicebus: Kept) -> None:
        type(self).target = ServiceBus(servicebus, ordered=True)
