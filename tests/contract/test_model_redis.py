"""The Redis adapter does what the reference model does, through two connections, on a server whose time is real."""

from __future__ import annotations

import unittest
from typing import Any

import pytest

from leveler.testing.contract import UrlTarget
from leveler.testing.model import model_test
from tests.containers.keeper import Kept


@pytest.mark.parametrize("spec", [{}, {"ordered": True}, {"dedup_seconds": 5.0}], ids=" ".join)
def test_model(redis: Kept, spec: dict[str, Any]) -> None:
    """Each step takes its time here: few runs, which differ from one time to the next."""
    target = UrlTarget(redis.url, lease_seconds=2.0, grace_seconds=1.0)
    target.spec = spec
    result = unittest.TextTestRunner().run(
        unittest.defaultTestLoader.loadTestsFromTestCase(model_test(target, examples=2, steps=20))
    )
    assert result.wasSuccessful(), [text for _, text in (*result.failures, *result.errors)]
