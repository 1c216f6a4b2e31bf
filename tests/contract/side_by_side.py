"""The contract on a broker whose time is real: most of a case is waiting, so the cases of a topic run side by side."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from leveler.testing.contract import Target, cases, run


class SideBySide:
    """`ContractSuite`, with one test for each topic. Subclass it with a `target`."""

    target: ClassVar[Target]
    #: Cases side by side.
    jobs: ClassVar[int] = 8
    #: Only these; none = all.
    topics: ClassVar[tuple[str, ...]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "topic" in metafunc.fixturenames:
            metafunc.parametrize("topic", self.topics or list(dict.fromkeys(case.topic for case in cases())))

    def test_contract(self, topic: str, request: pytest.FixtureRequest) -> None:
        report = asyncio.run(run(self.target, only=f"{topic}-", jobs=self.jobs))
        results = [result for result in report.results if result.case.topic == topic]
        for result in results:
            request.node.user_properties.append(("contract", f"{self.target.name}|{result.verdict}|{result.why}"))
        failed = [result for result in results if result.verdict == "failed"]
        if failed:
            names = "\n".join(f"{result.case}: {result.why}" for result in failed)
            errors = [result.error for result in failed if isinstance(result.error, Exception)]
            raise ExceptionGroup(names, errors) if errors else AssertionError(names)
        assert results
