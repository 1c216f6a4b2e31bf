"""The benchmarks measure what they say: every message is handled once, and the figures are the medians of pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from tests.benchmarks.bare_memory import BareMemory
from tests.benchmarks.figures import figures, table
from tests.benchmarks.measures import Counter, Reading
from tests.benchmarks.orders import Order, orders
from tests.benchmarks.rounds import Taken
from tests.benchmarks.suites import SUITES, Suite

ROWS = [(suite, row) for suite, all_of in SUITES.items() for row in all_of.rows]
RACE: Mapping[str, Suite] = {"race": Suite(rows=dict.fromkeys(["limit", "ours"], BareMemory), turns=[])}


@pytest.fixture
def measured(suite: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A suite whose broker is there."""
    if suite not in ("memory", "limits", "sqlite"):
        monkeypatch.setenv(f"LEVELER_TEST_{suite.upper()}_URL", request.getfixturevalue(suite).url)
    return suite


@pytest.mark.parametrize(("suite", "row"), ROWS)
def test_every_row_hands_over_each_order_once(measured: str, row: str, tmp_path: Path) -> None:
    seen: list[Order] = []
    counter = Counter()

    async def handle(order: Order) -> None:
        seen.append(order)
        await counter.handle(order)

    async def send_then_consume() -> None:
        made = SUITES[measured].rows[row](tmp_path)
        first, *rest = orders(301)
        async with made.open() as sending:
            await sending.send(first)
            await sending.send_many(rest[:200])
        async with made.open(handle) as sending:
            await sending.send_many(rest[200:])
            await counter.reach(301)
        async with made.open(handle):  # nothing may have been left
            await asyncio.sleep(0.05)

    asyncio.run(send_then_consume())
    assert sorted(order.id for order in seen) == sorted(order.id for order in orders(301))


def test_an_order_is_about_a_kilobyte() -> None:
    sizes = [len(msgspec.json.encode(order)) for order in orders(500)]
    assert 900 < sum(sizes) / len(sizes) < 1100


def test_the_ratio_is_the_median_of_the_pairs_and_not_of_all_values() -> None:
    # A machine that gets ten times slower from round to round: ours is half as fast as the limit in most of them.
    limit, ours = [1000.0, 100.0, 10.0], [500.0, 50.0, 9.0]
    [figure] = figures(_rounds(limit, ours), RACE)
    assert (figure.ratio, figure.ratios, figure.rounds) == (0.5, (0.5, 0.9), 3)
    assert (figure.value, figure.reference) == (50.0, 100.0)


def test_a_measure_that_brings_its_own_reference_is_compared_with_that() -> None:
    [figure] = figures([Taken("race", "ours", 0, [Reading("rss_backlog_mib", 42.0, "MiB", reference=40.0)])], RACE)
    assert (figure.reference, figure.ratio) == (40.0, 1.05)


def test_cpu_time_is_a_figure_of_its_own_and_stands_beside_its_rate_in_the_table() -> None:
    taken = [
        Taken("race", "limit", 0, [Reading("consume", 1000.0, "msg/s", cpu=0.1)]),
        Taken("race", "ours", 0, [Reading("consume", 600.0, "msg/s", cpu=0.25)]),
    ]
    rate, cpu = figures(taken, RACE)
    assert (rate.metric, rate.ratio, cpu.metric, cpu.ratio) == ("consume", 0.6, "consume_cpu", 2.5)
    [line] = [line for line in table([rate, cpu]).splitlines() if "consume" in line]
    assert "0.60" in line
    assert "2.50" in line


def test_concurrent_sends_are_also_compared_with_single_ones() -> None:
    taken = [
        Taken("race", row, 0, [Reading("publish_one", one, "msg/s"), Reading("publish_concurrent", many, "msg/s")])
        for row, one, many in [("limit", 100.0, 2000.0), ("ours", 50.0, 500.0)]
    ]
    gain = figures(taken, RACE)[-1]
    assert (gain.metric, gain.value, gain.reference) == ("publish_concurrent_gain", 10.0, 20.0)


def _rounds(limit: list[float], ours: list[float]) -> list[Taken]:
    return [
        Taken("race", row, number, [Reading("consume", value, "msg/s")])
        for number, values in enumerate(zip(limit, ours, strict=True))
        for row, value in zip(("limit", "ours"), values, strict=True)
    ]
