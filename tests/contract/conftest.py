"""At the end of a run: how many cases of the contract each adapter passed, and what gated the others."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    verdicts, gates = _counted(terminalreporter)
    if not verdicts:
        return
    terminalreporter.section("contract")
    terminalreporter.line(f"{'adapter':<24}{'passed':>8}{'gated':>8}{'failed':>8}   gated by")
    for target, count in sorted(verdicts.items()):
        why = ", ".join(f"{gate} {times}" for gate, times in gates[target].most_common())
        numbers = f"{count['passed']:>8}{count['gated']:>8}{count['failed']:>8}"
        terminalreporter.line(f"{target:<24}{numbers}   {why}".rstrip())


def _counted(reporter: pytest.TerminalReporter) -> tuple[dict[str, Counter[str]], dict[str, Counter[str]]]:
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    gates: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "skipped", "failed"):
        for report in reporter.stats.get(outcome, []):
            if report.when != "call":
                continue
            for name, value in report.user_properties:
                if name == "contract":
                    target, verdict, why = value.split("|", 2)
                    verdicts[target][verdict] += 1
                    gates[target].update([why] if verdict == "gated" else [])
    return verdicts, gates
