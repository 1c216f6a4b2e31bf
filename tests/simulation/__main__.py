"""Many seeds, or one in detail: see the package."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from tests.simulation.checker import check
from tests.simulation.plants import PLANTS
from tests.simulation.scenario import draw
from tests.simulation.shrink import shrink
from tests.simulation.world import World

_CHUNK = 25


class Result(NamedTuple):
    """What one seed came to."""

    seed: int
    wrong: list[str]
    messages: int
    deliveries: int
    touched: int
    steps: int
    faults: Counter[str]


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    words.add_argument("--seeds", type=int, default=500, help="how many")
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--messages", type=int, help="of each seed; by default that is left to chance")
    words.add_argument("--jobs", type=int, default=1)
    words.add_argument("--seed", type=int, help="only this one, with every line of its trace")
    words.add_argument("--shrink", action="store_true", help="of --seed: the smallest scenario that fails so")
    words.add_argument("--plant", choices=PLANTS, help="of --seed: plant this bug")
    given = words.parse_args()
    if given.seed is not None:
        return one(given.seed, given.messages, given.plant, smallest=given.shrink)
    return many(range(given.first, given.first + given.seeds), given.messages, given.jobs)


def one(seed: int, messages: int | None, plant: str | None, *, smallest: bool) -> int:
    scenario = draw(seed, messages)
    with PLANTS[plant].planted() if plant else nullcontext():
        outcome = World(scenario).run()
        wrong = check(outcome)
        if wrong and smallest:
            scenario = shrink(scenario, wrong[0].partition(":")[0])
            outcome = World(scenario).run()
            wrong = check(outcome)
    print(*outcome.ledger.trace, sep="\n")
    print(replace(scenario, plans=(), strikes=()), *scenario.plans, *scenario.strikes, *wrong, sep="\n")
    return 1 if wrong else 0
