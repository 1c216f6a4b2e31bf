"""The SQS adapter keeps the contract, on standard queues and on FIFO queues."""

from __future__ import annotations

from typing import Any

import pytest

from leveler.testing.contract import UrlTarget
from tests.containers.keeper import Kept
from tests.contract.side_by_side import SideBySide


class SQS(UrlTarget):
    """Queues of its own on a server that others use, too."""

    def __init__(self, server: Kept, **spec: Any) -> None:
        # To connect costs a tenth of a second of CPU, and the cases that run side by side wait for it.
        super().__init__(server.url, lease_seconds=3.0, grace_seconds=1.5)
        self.name = " ".join([server.label, *spec])
        self.spec = spec


class TestStandard(SideBySide):
    jobs = 12

    @pytest.fixture(autouse=True)
    def _server(self, sqs: Kept) -> None:
        type(self).target = SQS(sqs)


class TestFifo(SideBySide):
    jobs = 12

    @pytest.fixture(autouse=True)
    def _server(self, sqs: Kept) -> None:
        type(self).target = SQS(sqs, ordered=True)
