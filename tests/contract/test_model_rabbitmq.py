"""The RabbitMQ adapter does what the reference model does. Time is real, so there are few runs, and short ones."""

from __future__ import annotations

from typing import ClassVar

import pytest

from leveler.adapter import Adapter
from leveler.clock import Clock
from leveler.testing.contract import Target, UrlTarget
from leveler.testing.model import model_test
from tests.containers.keeper import Kept


class RabbitMQ(Target):
    """The server of this test run, known when it starts."""

    name = "rabbitmq"
    lease_seconds = 1.5
    url: ClassVar[str]

    def adapter(self, clock: Clock) -> Adapter:
        return UrlTarget(self.url).adapter(clock)


class TestModel(model_test(RabbitMQ(), examples=4, steps=12, shrink=False)):  # type: ignore[misc]  # made when it is imported
    @pytest.fixture(autouse=True)
    def _server(self, rabbitmq: Kept) -> None:
        RabbitMQ.url = rabbitmq.url
