"""The Service Bus adapter keeps the contract, on leveler's emulator or on a real namespace."""

from __future__ import annotations

from typing import Any

import pytest

from leveler.testing.contract import UrlTarget, cases
from tests.containers.keeper import Kept
from tests.contract.side_by_side import SideBySide


class ServiceBus(UrlTarget):
    """Queues of its own in a namespace that others use, too. Real locks last for five seconds at least."""

    def __init__(self, server: Kept, *, lease_seconds: float = 3.0, **spec: Any) -> None:
        lease_seconds = 5.0 if server.kind == "given" else lease_seconds
        super().__init__(server.url, lease_seconds=lease_seconds, grace_seconds=2.0)
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


class Sessions(SideBySide):
    """Order per key. Most cases have messages without one: each is a session, with a link, which takes its time."""

    lease_seconds = 4.0

    @pytest.fixture(autouse=True)
    def _server(self, servicebus: Kept) -> None:
        type(self).target = ServiceBus(servicebus, lease_seconds=self.lease_seconds, ordered=True)


#: Those with a hundred links at a time.
MANY = ("batch", "concurrency")


class TestSessions(Sessions):
    jobs = 12
    topics = tuple(dict.fromkeys(case.topic for case in cases() if case.topic not in MANY))


class TestManySessions(Sessions):
    lease_seconds = 8.0  # the first of a hundred is to be ours until the last has its link
    jobs = 3
    topics = MANY
