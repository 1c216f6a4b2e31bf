"""Shrink: the smallest scenario that still breaks the same promise, by leaving out messages and strikes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.simulation.checker import check
from tests.simulation.scenario import Scenario
from tests.simulation.worker import Plant
from tests.simulation.world import World

T = TypeVar("T")


def shrink(scenario: Scenario, promise: str, plant: Plant | None = None) -> Scenario:
    """
    Args:
        scenario: one that breaks `promise`.
        plant: the bug in it, if that was put there.
    """

    def breaks(smaller: Scenario) -> bool:
        return any(wrong.startswith(f"{promise}:") for wrong in check(World(smaller, plant).run()))

    while True:
        before = scenario
        scenario = replace(scenario, strikes=_fewer(scenario.strikes, lambda few: breaks(replace(before, strikes=few))))
        middle = scenario
        scenario = replace(scenario, plans=_fewer(scenario.plans, lambda few: breaks(replace(middle, plans=few))))
        if scenario == before:
            return scenario


def _fewer(items: Sequence[T], holds: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """As few of `items` as hold, first in large steps."""
    kept, size = tuple(items), max(1, len(items) // 2)
    while size:
        start = 0
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            if holds(fewer):
                kept = fewer
            else:
                start += size
        size //= 2
    return kept
