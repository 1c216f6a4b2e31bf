"""Excess: how far some starts were above a rate."""

from __future__ import annotations

from collections.abc import Sequence


def most_above(starts: Sequence[float], per_second: float) -> float:
    """How many starts more than `per_second` gives there were in the worst span, however short or long."""
    worst, least = 0.0, float("inf")
    for index, start in enumerate(sorted(starts)):
        least = min(least, index - start * per_second)
        worst = max(worst, index + 1 - start * per_second - least)
    return worst
