"""Plots: what one row did on one trace, beside what was possible, as SVG and PNG."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot

from tests.benchmarks.leveling.rows import ROWS
from tests.benchmarks.leveling.run import Record, run
from tests.benchmarks.leveling.traces import Trace, trace

# The SVG is the same whenever it is drawn.
mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "leveler"

#: Base latencies that a point of a rate stands for.
_SMOOTH: Final = 4
_INK: Final = {
    "arriving": "#bf8700",
    "possible": "#8c959f",
    "served": "#1a7f37",
    "limit": "#0969da",
    "inside": "#24292f",
}
_REFUSED: Final = "#cf222e"


def draw(name: str, seed: int, rows: Collection[str], folder: Path) -> list[Path]:
    """One picture for each row, in both formats."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for row in rows:
        record = run(trace(name, seed), ROWS[row], seed)
        for kind in ("svg", "png"):
            drawn.append(folder / f"{name}-{row}.{kind}")
            _picture(record, f"{row} on {name}, seed {seed}").savefig(
                drawn[-1], dpi=110, metadata={"Date": None} if kind == "svg" else None
            )
        pyplot.close("all")
    return drawn


def _picture(record: Record, title: str) -> Any:
    shape = record.trace.shape
    figure, (rates, calls) = pyplot.subplots(2, 1, figsize=(8.6, 5.2), sharex=True, layout="constrained")
    figure.suptitle(
        f"{title}\n{shape.kind}: knee {shape.knee}, {1000 * shape.latency_seconds:g} ms, cv {shape.cv:g}", fontsize=11
    )
    at = [sample[0] for sample in record.samples]
    _rates(rates, record, at)
    calls.plot(at, [sample[1] for sample in record.samples], color=_INK["limit"], label="limit", linewidth=1)
    calls.plot(at, [sample[2] for sample in record.samples], color=_INK["inside"], label="calls inside", linewidth=0.8)
    calls.step(*_knees(record.trace), where="post", color=_INK["possible"], label="knee", linestyle="--", linewidth=1)
    calls.set_ylim(0, max(3.0 * shape.knee, 5.0))
    calls.set_ylabel("at once")
    calls.set_xlabel("seconds")
    for axes in (rates, calls):
        axes.legend(loc="upper right", fontsize=8, frameon=False, ncols=4)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _rates(axes: Any, record: Record, at: Sequence[float]) -> None:
    trace, latency = record.trace, record.trace.shape.latency_seconds
    span = _SMOOTH * latency
    edges, knees = _knees(trace)
    axes.step(
        edges,
        [knee / latency for knee in knees],
        where="post",
        color=_INK["possible"],
        label="possible",
        linestyle="--",
    )
    if trace.arrivals[-1] > 0:
        axes.plot(
            at[::_SMOOTH], _per_second(trace.arrivals, at[::_SMOOTH], span), color=_INK["arriving"], label="arriving"
        )
    served = [sample[4] for sample in record.samples[::_SMOOTH]]
    refused = [sample[3] for sample in record.samples[::_SMOOTH]]
    axes.plot(at[::_SMOOTH][1:], _grown(served, span), color=_INK["served"], label="served")
    axes.plot(at[::_SMOOTH][1:], _grown(refused, span), color=_REFUSED, label="refused", linewidth=1)
    axes.set_ylim(0, 2.2 * trace.shape.per_second)
    axes.set_ylabel("messages/s")


def _knees(trace: Trace) -> tuple[list[float], list[float]]:
    spans = trace.capacity.spans(trace.seconds)
    return [span[0] for span in spans] + [trace.seconds], [span[2] for span in spans] + [spans[-1][2]]


def _grown(counts: Sequence[int], seconds: float) -> list[float]:
    return [(after - before) / seconds for before, after in itertools.pairwise(counts)]


def _per_second(times: Sequence[float], at: Sequence[float], seconds: float) -> list[float]:
    counts = [0] * (len(at) + 1)
    for time in times:
        counts[min(int(time / seconds), len(at))] += 1
    return [count / seconds for count in counts[: len(at)]]
