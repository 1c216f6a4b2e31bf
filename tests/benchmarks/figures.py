"""Figures: what the rounds say. The ratio is the median of the ratios of the pairs, never the ratio of medians."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

import msgspec

from tests.benchmarks.measures import Reading
from tests.benchmarks.rounds import Taken
from tests.benchmarks.suites import Suite

_CPU_UNIT: Final = "CPU s/10,000 messages"


class Key(NamedTuple):
    """What is compared with the reference."""

    suite: str
    row: str
    metric: str
    unit: str


class Pair(NamedTuple):
    """A row's value and its reference's, of one round."""

    value: float
    reference: float

    @property
    def ratio(self) -> float:
        return self.value / self.reference


class Figure(msgspec.Struct):
    """One line of the results."""

    suite: str
    row: str
    metric: str
    value: float
    unit: str
    #: The raw limit's value.
    reference: float
    ratio: float
    #: The lowest and the highest of the rounds.
    ratios: tuple[float, float]
    rounds: int


def figures(taken: Iterable[Taken], suites: Mapping[str, Suite]) -> list[Figure]:
    """All rows but the references, in the order of measuring."""
    rounds: dict[tuple[str, int], dict[str, dict[str, Reading]]] = {}
    for suite, row, number, readings in taken:
        of_round = rounds.setdefault((suite, number), {})
        of_round.setdefault(row, {}).update({reading.metric: reading for reading in readings})
    pairs: dict[Key, list[Pair]] = {}
    for (suite, _), rows in rounds.items():
        reference = suites[suite].reference
        for row, mine in rows.items():
            if row != reference:
                for key, pair in _compared(suite, row, mine, rows.get(reference, {})):
                    pairs.setdefault(key, []).append(pair)
    return [_figure(key, values) for key, values in pairs.items()]


def _compared(
    suite: str, row: str, mine: Mapping[str, Reading], theirs: Mapping[str, Reading]
) -> Iterable[tuple[Key, Pair]]:
    for metric, reading in mine.items():
        other = theirs.get(metric)
        reference = other.value if reading.reference is None and other is not None else reading.reference
        if reference is not None:
            yield Key(suite, row, metric, reading.unit), Pair(reading.value, reference)
        if reading.cpu is not None and other is not None and other.cpu is not None:
            yield Key(suite, row, f"{metric}_cpu", _CPU_UNIT), Pair(reading.cpu, other.cpu)
    if {"publish_concurrent", "publish_one"} <= mine.keys() & theirs.keys():
        yield Key(suite, row, "publish_concurrent_gain", "x publish_one"), Pair(_gain(mine), _gain(theirs))


def _gain(readings: Mapping[str, Reading]) -> float:
    return readings["publish_concurrent"].value / readings["publish_one"].value


def _figure(key: Key, pairs: Sequence[Pair]) -> Figure:
    ratios = [pair.ratio for pair in pairs]
    return Figure(
        suite=key.suite,
        row=key.row,
        metric=key.metric,
        value=median(pair.value for pair in pairs),
        unit=key.unit,
        reference=median(pair.reference for pair in pairs),
        ratio=median(ratios),
        ratios=(min(ratios), max(ratios)),
        rounds=len(pairs),
    )


def table(lines: Sequence[Figure]) -> str:
    """Markdown; the CPU time stands beside what it was spent on."""
    spent = {(one.suite, one.row, one.metric): one for one in lines if one.unit == _CPU_UNIT}
    rows = [
        "| suite | row | metric | unit | value | limit | ratio [lowest-highest] | CPU s/10k | limit | ratio |",
        "|---|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in lines:
        if one.unit != _CPU_UNIT:
            cpu = spent.get((one.suite, one.row, f"{one.metric}_cpu"))
            ratio = f"**{one.ratio:.2f}** [{one.ratios[0]:.2f}-{one.ratios[1]:.2f}]"
            cells = [one.suite, one.row, one.metric, one.unit, _short(one.value), _short(one.reference), ratio]
            cells += ["", "", ""] if cpu is None else [f"{cpu.value:.3f}", f"{cpu.reference:.3f}", f"{cpu.ratio:.2f}"]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
