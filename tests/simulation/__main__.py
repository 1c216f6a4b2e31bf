"""Many seeds, or one in detail: see the package."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

from tests.simulation import fleets
from tests.simulation.checker import check
from tests.simulation.plants import FLEET_PLANTS, PLANTS
from tests.simulation.scenario import Scenario, draw
from tests.simulation.shrink import shrink
from tests.simulation.world import World

_CHUNK = 25

#: The scenario of a seed, with so many messages.
Draw = Callable[[int, int | None], Scenario]


class Result(NamedTuple):
    """What one seed came to."""

    seed: int
    wrong: list[str]
    counts: dict[str, int]
    faults: Counter[str]


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    words.add_argument("--seeds", type=int, default=500, help="how many")
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--messages", type=int, help="of each seed; by default that is left to chance")
    words.add_argument("--jobs", type=int, default=1)
    words.add_argument("--seed", type=int, help="only this one, with every line of its trace")
    words.add_argument("--fleets", action="store_true", help="scenarios of workers that have one rate together")
    words.add_argument("--shrink", action="store_true", help="of --seed: the smallest scenario that fails so")
    words.add_argument("--plant", choices=[*PLANTS, *FLEET_PLANTS], help="of --seed: plant this bug")
    given = words.parse_args()
    drawn = fleets.draw if given.fleets else draw
    if given.seed is not None:
        return one(drawn(given.seed, given.messages), given.plant, smallest=given.shrink)
    return many(drawn, range(given.first, given.first + given.seeds), given.messages, given.jobs)


def one(scenario: Scenario, plant: str | None, *, smallest: bool) -> int:
    """Run one and print all of it."""
    bug = {**PLANTS, **FLEET_PLANTS}[plant] if plant else None
    adapter = bug.adapter if bug else None
    with bug.planted() if bug else nullcontext():
        outcome = World(scenario, adapter).run()
        wrong = check(outcome)
        if wrong and smallest:
            scenario = shrink(scenario, wrong[0].partition(":")[0], adapter)
            outcome = World(scenario, adapter).run()
            wrong = check(outcome)
    print(*outcome.ledger.trace, sep="\n")
    print(replace(scenario, plans=(), strikes=()), *scenario.plans, *scenario.strikes, *wrong, sep="\n")
    return 1 if wrong else 0


def many(drawn: Draw, seeds: range, messages: int | None, jobs: int) -> int:
    """Run all of `seeds`, and print what is wrong and what it all came to."""
    began = time.monotonic()
    failed, faults, totals = 0, Counter[str](), Counter[str]()
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(run, [drawn] * len(seeds), seeds, [messages] * len(seeds), chunksize=_CHUNK):
            failed += bool(result.wrong)
            faults += result.faults
            totals += Counter(result.counts)
            for wrong in result.wrong:
                print(f"seed {result.seed}: {wrong}", flush=True)
    print(f"seeds {seeds.start} to {seeds.stop - 1}: {failed} failed, {time.monotonic() - began:.0f} s")
    print(*(f"  {name:<20} {count}" for name, count in totals.items()), sep="\n")
    print(f"  faults               {faults.total()}", *(f"{name} {count}" for name, count in sorted(faults.items())))
    return 1 if failed else 0


def run(drawn: Draw, seed: int, messages: int | None) -> Result:
    """One seed, for its figures."""
    outcome = World(drawn(seed, messages)).run()
    handouts = outcome.ledger.handouts
    counts = {
        "messages": len(outcome.ledger.orders),
        "deliveries": len(handouts),
        "hit by a fault": sum(bool(one.touched) for one in handouts),
        "lives of workers": len(outcome.workers),
        "suspension points": outcome.steps,
    }
    return Result(seed, check(outcome), counts, outcome.faults)


if __name__ == "__main__":
    sys.exit(main())
