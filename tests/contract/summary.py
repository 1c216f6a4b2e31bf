"""What the contract said, adapter by adapter, at the end of a test run: a pytest plugin.

`--every-adapter` fails the run unless each adapter that we ship passed some of it, and each broker that is a server of
its own did so in each way in which it runs: in a container and as a process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from importlib.metadata import entry_points

import pytest

from tests.containers.brokers import BROKERS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-adapter", action="store_true", help="fail unless every adapter ran the contract")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the workers' reports all come to the one who prints
        config.pluginmanager.register(Summary(strict=config.getoption("--every-adapter")), "contract summary")


@dataclass
class Row:
    """One adapter's results."""

    verdicts: Counter[str] = field(default_factory=Counter[str])
    gates: Counter[str] = field(default_factory=Counter[str])


class Summary:
    """Counts what the suites have written into their reports.

    Args:
        strict: whether an adapter that did not run fails the test run.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._rows: defaultdict[str, Row] = defaultdict(Row)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, value in report.user_properties:
                if name == "contract":
                    self._count(*str(value).split("|", 2))

    def _count(self, target: str, verdict: str, why: str) -> None:
        row = self._rows[target]
        row.verdicts[verdict] += 1
        row.gates.update([why] if verdict == "gated" else [])

    def _missing(self) -> list[str]:
        ran = [target for target, row in self._rows.items() if row.verdicts["passed"]]
        return [name for name in wanted() if not any(target.startswith(name) for target in ran)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        fine = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if fine and self._strict and self._missing():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How many cases each adapter passed, and what gated the others."""
        if not self._rows and not self._strict:
            return
        terminalreporter.section("contract")
        width = max(map(len, [*self._rows, "adapter"])) + 2
        terminalreporter.line(f"{'adapter':<{width}}{'passed':>8}{'gated':>8}{'failed':>8}   gated by")
        for target, row in sorted(self._rows.items()):
            why = ", ".join(f"{gate} {times}" for gate, times in row.gates.most_common())
            numbers = "".join(f"{row.verdicts[verdict]:>8}" for verdict in ("passed", "gated", "failed"))
            terminalreporter.line(f"{target:<{width}}{numbers}   {why}".rstrip())
        for name in self._missing() if self._strict else ():
            terminalreporter.line(f"FAILED: nothing called {name}... ran the contract", red=True)


def wanted() -> list[str]:
    """How the names of targets must begin, so that every adapter is among them."""
    out = []
    for adapter in sorted({point.name for point in entry_points(group="leveler.adapters")}):
        broker = BROKERS.get(adapter)
        if broker is None:
            out.append(f"{adapter}/")
        elif broker.given:
            out.append(f"{adapter}/given")
        else:
            out += [f"{adapter}/{kind}" for kind in broker.kinds]
    return out
