"""Shrink: the smallest scenario that still breaks the same promise, by leaving out messages and strikes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from tests.simulation.checker import check
from tests.simulation.scenario import Plan, Scenario
from tests.simulation.weather import Strike
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

    smaller = scenario
    while True:
        before = smaller
        smaller = replace(smaller, strikes=_fewer(smaller.strikes, partial(_with_strikes, breaks, smaller)))
        smaller = replace(smaller, plans=_fewer(smaller.plans, partial(_with_plans, breaks, smaller)))
        if smaller == before:
            return smaller


def _with_strikes(breaks: Callable[[Scenario], bool], scenario: Scenario, strikes: tuple[Strike, ...]) -> bool:
    return breaks(replace(scenario, strikes=strikes))


def _with_plans(breaks: Callable[[Scenario], bool], scenario: Scenario, plans: tuple[Plan, ...]) -> bool:
    return bool(plans) and breaks(replace(scenario, plans=plans))


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
