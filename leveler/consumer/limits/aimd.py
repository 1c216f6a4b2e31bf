"""AIMD: one more each round trip, three tenths less where the downstream refuses, once in a round trip.

It learns from refusals alone: simple, deaf to latency, and it lives where the downstream begins to refuse.
"""

from __future__ import annotations

from typing import Final

from leveler.consumer.limits.round import Plan, Round

_LESS: Final = 0.7


class Aimd:
    """Additive increase, multiplicative decrease (Chiu and Jain, 1989), per round trip."""

    def __init__(self) -> None:
        self.growth = 1.0  # doubles each round trip until the first refusal
        self.plan = Plan()
        self.base_seconds: float | None = None

    def decide(self, now: float, limit: float, round: Round) -> float:
        self.plan = Plan(runs=limit)
        if self.growth < 1:
            self.growth = 1 / limit
        return limit

    def refused(self, now: float, limit: float, inside: int, round: Round, first: bool) -> float:
        if first:
            limit *= _LESS
            self.growth = 1 / max(limit, 1.0)
        return limit

    def resumed(self, limit: float, goal: float) -> None:
        """Nothing that it knew has changed."""
