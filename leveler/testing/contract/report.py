"""What a run found: one result for each case, and the table of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from leveler.testing.contract.case import Case

Verdict = Literal["passed", "gated", "failed"]


@dataclass(frozen=True)
class Result:
    """How one case ended."""

    case: Case
    verdict: Verdict
    #: The capability that is not claimed, or what was wrong; empty when it passed.
    why: str = ""
    seconds: float = 0.0
    #: What a failed case raised, with its traceback.
    error: BaseException | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Report:
    """How an adapter did."""

    target: str
    results: Sequence[Result]

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and something passed."""
        return not self.failed and any(result.verdict == "passed" for result in self.results)

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if result.verdict == "failed"]

    def as_data(self) -> dict[str, Any]:
        """The same for programs: plain lists, dicts, text and numbers."""
        return {
            "target": self.target,
            "ok": self.ok,
            "counts": dict(Counter(result.verdict for result in self.results)),
            "gated": dict(gates(self.results)),
            "results": [
                {"case": one.case.id, "verdict": one.verdict, "why": one.why, "seconds": round(one.seconds, 3)}
                for one in self.results
            ],
        }

    def as_text(self) -> str:
        """A table by topic, then what failed and why."""
        topics = list(dict.fromkeys(result.case.topic for result in self.results))
        rows = [_row(topic, [one for one in self.results if one.case.topic == topic]) for topic in topics]
        table = [_HEAD, *rows, _row("all", self.results)]
        return "\n".join([f"contract of {self.target}", "", *table, *map(_failure, self.failed)])


def gates(results: Iterable[Result]) -> Counter[str]:
    """How many cases each missing capability kept from running."""
    return Counter(result.why for result in results if result.verdict == "gated")


_HEAD = f"{'topic':<14}{'passed':>8}{'gated':>8}{'failed':>8}   gated by"


def _row(name: str, results: Sequence[Result]) -> str:
    count = Counter(result.verdict for result in results)
    why = ", ".join(f"{gate} {times}" for gate, times in gates(results).most_common())
    return f"{name:<14}{count['passed']:>8}{count['gated']:>8}{count['failed']:>8}   {why}".rstrip()


def _failure(result: Result) -> str:
    promise = result.case.promise.replace("\n", "\n    ")
    return f"\nFAILED {result.case.id}\n    {promise}\n    {result.why}"
