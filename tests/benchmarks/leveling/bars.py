"""Bars: what leveler has to reach, trace by trace, on seeds that nothing was tuned on. Medians, and worst seeds."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.benchmarks.leveling.traces import ARRIVING


class Bar(NamedTuple):
    """One figure of some traces."""

    metric: str
    traces: tuple[str, ...]
    median: float
    #: Of the worst seed; None = not asked for.
    worst: float | None = None
    #: Whether more is better.
    least: bool = False


_QUIET: Final = (*ARRIVING, "half", "collapse", "dead", "heavy")

BARS: Final = (
    Bar("goodput", ARRIVING, 0.95, 0.92, least=True),
    Bar("goodput", ("half", "collapse"), 0.95, 0.90, least=True),
    Bar("goodput", ("dead", "heavy"), 0.90, least=True),
    Bar("goodput", ("flapping", "quota"), 0.88, least=True),
    Bar("goodput", ("fleet",), 0.95, least=True),
    Bar("overload_share", _QUIET, 0.01),
    Bar("overload_share", ("flapping", "quota"), 0.025),
    Bar("overload_share", ("small",), 0.08),
    Bar("overload_share", ("fleet",), 0.02),
    Bar("inside_mean", ("backlog",), 1.5),
    Bar("inside_mean", ("fleet",), 1.6),
    Bar("adapt_down", ("half",), 20.0),
    Bar("adapt_up", ("half",), 20.0),
    Bar("adapt_up_s", ("dead",), 3.0),
    Bar("limit_cv", ("backlog",), 0.12),
    Bar("probes_per_s", ("dead",), 1.0),
)


def bar_of(metric: str, trace: str) -> Bar | None:
    return next((bar for bar in BARS if bar.metric == metric and trace in bar.traces), None)
