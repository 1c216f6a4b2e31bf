"""The Storage Queue adapter keeps the contract, on the vendor's emulator or on a real account."""

from __future__ import annotations

import pytest

from leveler.testing.contract import UrlTarget
from tests.containers.keeper import Kept
from tests.contract.side_by_side import SideBySide


class TestPlain(SideBySide):
    @pytest.fixture(autouse=True)
    def _server(self, storagequeue: Kept) -> None:
        target = UrlTarget(storagequeue.url)
        target.name = storagequeue.label
        type(self).target = target
