"""The suite for pytest: one test for each case.

    class TestMine(ContractSuite):
        target = MyTarget()

A target that is known only when the tests run (a container's port) is set by an autouse fixture of the subclass.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from leveler.testing.contract.case import Case
from leveler.testing.contract.cases import cases
from leveler.testing.contract.runner import run_case
from leveler.testing.contract.target import Target


class ContractSuite:
    """Subclass it with a `target`. A case that needs what the adapter does not claim is skipped, and says so."""

    target: ClassVar[Target]

    @pytest.mark.parametrize("case", cases(), ids=str)
    def test_contract(self, case: Case, request: pytest.FixtureRequest) -> None:
        result = asyncio.run(run_case(case, self.target))
        # For summaries: plain text, so that it travels from one pytest process to another.
        request.node.user_properties.append(("contract", f"{self.target.name}|{result.verdict}|{result.why}"))
        if result.verdict == "gated":
            pytest.skip(f"gated: {result.why}")
        if result.error is not None:
            raise result.error
