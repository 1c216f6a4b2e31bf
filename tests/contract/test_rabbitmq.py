"""The RabbitMQ adapter keeps the contract: on RabbitMQ 4 in a container, and on whatever is installed as a process."""

from __future__ import annotations

import pytest

from leveler.testing.contract import UrlTarget
from tests.containers.keeper import Kept
from tests.contract.side_by_side import SideBySide


class RabbitMQ(UrlTarget):
    """With a size limit that the suite can reach."""

    def __init__(self, server: Kept) -> None:
        super().__init__(f"{server.url}?max_message_bytes={1024 * 1024}")
        self.name = server.label


class TestRabbitMQ(SideBySide):
    jobs = 16

    @pytest.fixture(autouse=True)
    def _server(self, each_rabbitmq: Kept) -> None:
        type(self).target = RabbitMQ(each_rabbitmq)
