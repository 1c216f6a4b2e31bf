"""Fleets: scenarios of several workers that have one rate together, and of what goes wrong with its store."""

from __future__ import annotations

import random
from typing import Final, get_args

from leveler_memory.personality import PersonalityName

from tests.simulation.load import KINDS
from tests.simulation.scenario import QUEUES, Plan, Scenario
from tests.simulation.weather import NETWORK, PROCESS, STORE, Strike

#: What happens to the way of one worker to the store; the other networks' faults hit its way to the broker.
_OF_THE_WAY: Final = ("refused", "answer lost", "slow", "late", "bug")
#: Longer than that an answer comes too late for its starts to be used in time, as the README says: they pass.
PROMPT_SECONDS: Final = 0.02


def draw(seed: int, messages: int | None = None) -> Scenario:
    """The scenario of a seed.

    Args:
        messages: so many; by default that is left to chance, too.
    """
    chance = random.Random(f"fleet {seed}")
    rate = chance.choice([2.0, 10.0, 40.0])
    workers = chance.randrange(1, 6)
    count = messages or round(min(120.0, max(12.0, rate * chance.uniform(2.0, 8.0))))
    plans = _plans(chance, count, chance.choice([0.0, 1.0, 10.0]))
    until = max(plan.at for plan in plans) + count / rate
    return Scenario(
        seed=seed,
        personality=chance.choice(get_args(PersonalityName)),
        workers=workers,
        concurrency=chance.choice([1, 4, 16]),
        shared_concurrency=chance.choice([None, None, 2]),
        fleet_rate_per_second=rate,
        # Where all are good nobody shall run alone for crashes, which count; what hangs shall not hang for ever.
        max_attempts=30 if all(plan.kind == "good" for plan in plans) else 4,
        latency_seconds=chance.choice([0.001, PROMPT_SECONDS, 0.1]),
        plans=plans,
        strikes=_strikes(chance, workers, until) if chance.random() < 0.85 else (),
    )


def _plans(chance: random.Random, count: int, spread: float) -> tuple[Plan, ...]:
    odd = chance.choice([0.0, 0.0, 0.3])
    kinds = [kind for kind in KINDS if kind not in ("slow", "killer")]
    plans = []
    for number in range(count):
        kind = chance.choice(kinds) if chance.random() < odd else "good"
        at, seconds = round(chance.uniform(0.0, spread), 3), chance.choice([0.0, 0.0, 0.01, 0.3, 2.0])
        expires_in = 4.0 if kind == "stale" else None
        name = f"m{number}-{kind.replace(' ', '-')}"
        plans.append(Plan(at, QUEUES[0], name, kind, f"k{number}", seconds, expires_in=expires_in))
    return tuple(plans)


def _strikes(chance: random.Random, workers: int, until: float) -> tuple[Strike, ...]:
    """Mostly of the store and of the processes; each seed has its own climate."""
    climate = chance.sample((*STORE, *STORE, *_OF_THE_WAY, *PROCESS), chance.randrange(1, 6))
    climate += chance.sample(NETWORK, chance.choice([0, 0, 1]))
    return tuple(
        Strike(
            at=round(chance.uniform(0.0, until), 3),
            kind=(kind := chance.choice(climate)),
            worker=chance.randrange(workers),
            verb="reserve" if kind in _OF_THE_WAY else "receive",
            times=chance.randrange(1, 4),
            seconds=round(chance.uniform(0.1, 4.5), 3),
            steps=chance.randrange(60),
        )
        for _ in range(chance.choice([1, 3, 8, 20]))
    )
