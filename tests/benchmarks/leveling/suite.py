"""Suite: all rows on all traces and seeds, in virtual time, as figures and as tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from statistics import median
from typing import Final

from tests.benchmarks.figures import Figure
from tests.benchmarks.leveling.bars import BARS, Bar, bar_of
from tests.benchmarks.leveling.measures import measures
from tests.benchmarks.leveling.rows import ROWS
from tests.benchmarks.leveling.run import run
from tests.benchmarks.leveling.traces import TRACES, trace

#: Nothing was ever tuned on these.
UNSEEN: Final = range(100, 110)

_UNITS: Final = {
    "goodput": "of the optimum",
    "overload_share": "of all calls",
    "inside_mean": "of the knee",
    "limit_cv": "of its mean",
    "adapt_down": "base latencies",
    "adapt_up": "base latencies",
    "probes_per_s": "calls/s",
}
_OWN: Final = "adaptive"


def take(
    seeds: Sequence[int], rows: Collection[str], traces: Collection[str], progress: Callable[[str], None]
) -> list[Figure]:
    """Measure these rows on these traces."""
    lines: list[Figure] = []
    for name in (name for name in TRACES if name in traces):
        for row in (row for row in ROWS if row in rows):
            progress(f"leveling: {row} on {name}, {len(seeds)} seeds")
            found = [measures(run(trace(name, seed), ROWS[row], seed)) for seed in seeds]
            lines += _figures(f"{row}/{name}", name, found)
    return lines


def _figures(row: str, name: str, found: Sequence[dict[str, float]]) -> Iterator[Figure]:
    """Median and extremes of the seeds; beside them the optimum's value or, where it has none, the bar."""
    for metric in found[0]:
        if metric.endswith("_optimum_s"):
            continue
        values = [one[metric] for one in found if metric in one]
        ideal = [one.get(f"{metric.removesuffix('_s')}_optimum_s") for one in found if metric in one]
        bar = bar_of(metric, name)
        standard = 1.0 if metric == "goodput" or bar is None else bar.median
        references = [standard if one is None else one for one in ideal]
        ratios = [value / reference for value, reference in zip(values, references, strict=True)]
        yield Figure(
            suite="leveling",
            row=row,
            metric=metric,
            value=median(values),
            unit=_UNITS.get(metric, "s"),
            reference=median(references),
            ratio=median(ratios),
            ratios=(min(ratios), max(ratios)),
            rounds=len(values),
        )


def table(lines: Sequence[Figure]) -> str:
    """Markdown: a row for each way to limit, trace by trace; medians, and the worst seed."""
    found = {(*one.row.split("/"), one.metric): one for one in lines}
    rows = list(dict.fromkeys(one.row.split("/")[0] for one in lines))
    traces = list(dict.fromkeys(one.row.split("/")[1] for one in lines))
    text: list[str] = []
    for metric, least in (("goodput", True), ("overload_share", False), ("inside_mean", False)):
        text += [f"{metric}: median of {lines[0].rounds} seeds [worst]", "", f"| | {' | '.join(traces)} |"]
        text.append(f"|---|{'--:|' * len(traces)}")
        for row in rows:
            cells = [_cell(found.get((row, name, metric)), least) for name in traces]
            text.append(f"| {row} | {' | '.join(cells)} |")
        text.append("")
    return "\n".join(text)


def _cell(one: Figure | None, least: bool) -> str:
    if one is None:
        return ""
    worst = one.ratios[0 if least else 1] * one.reference
    if one.metric == "overload_share":
        return f"{100 * one.value:.2g} % [{100 * worst:.2g}]"
    return f"{one.value:.3f} [{worst:.3f}]"


def against_bars(lines: Sequence[Figure]) -> str:
    """Markdown: leveler against what it has to reach."""
    found = {(*one.row.split("/"), one.metric): one for one in lines}
    text = ["| figure | trace | bar [worst] | median [worst] | met |", "|---|---|--:|--:|---|"]
    for bar in BARS:
        for name in bar.traces:
            if (one := found.get((_OWN, name, bar.metric))) is not None:
                text.append(_judged(bar, name, one))
    return "\n".join(text)


def _judged(bar: Bar, name: str, one: Figure) -> str:
    worst = one.ratios[0 if bar.least else 1] * one.reference
    sign = 1 if bar.least else -1
    met = sign * one.value >= sign * bar.median
    worst_met = bar.worst is None or sign * worst >= sign * bar.worst
    asked = f"{bar.median:g}" + ("" if bar.worst is None else f" [{bar.worst:g}]")
    verdict = "yes" if met and worst_met else "median only" if met else "**no**"
    return f"| {bar.metric} | {name} | {asked} | {one.value:.3f} [{worst:.3f}] | {verdict} |"
