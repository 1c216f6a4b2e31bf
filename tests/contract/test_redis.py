"""The Redis adapter keeps the contract, on real servers: the newest that can be had and the oldest."""

from __future__ import annotations

from typing import Any

import pytest

from leveler.testing.contract import UrlTarget
from tests.containers.keeper import Kept
from tests.contract.side_by_side import SideBySide


class Redis(UrlTarget):
    """Queues of its own on a server that others use, too."""

    def __init__(self, server: Kept, **spec: Any) -> None:
        super().__init__(server.url)
        self.name = " ".join([server.label, *spec])
        self.spec = spec


class TestPlain(SideBySide):
    @pytest.fixture(autouse=True)
    def _server(self, each_redis: Kept) -> None:
        type(self).target = Redis(each_redis)


class TestOrdered(SideBySide):
    @pytest.fixture(autouse=True)
    def _server(self, each_redis: Kept) -> None:
        type(self).target = Redis(each_redis, ordered=True)
