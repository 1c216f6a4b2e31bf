"""The simulation can see: each bug that is planted is found by a seed of the suite."""

from __future__ import annotations

import pytest

from tests.simulation.checker import check
from tests.simulation.plants import PLANTS
from tests.simulation.scenario import draw
from tests.simulation.test_seeds import SEEDS
from tests.simulation.world import World


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found_by_a_seed_of_the_suite(name: str) -> None:
    plant = PLANTS[name]
    with plant.planted():
        found = next((seed for seed in SEEDS if check(World(draw(seed), plant.adapter).run())), None)
    assert found is not None, f"no seed of {len(SEEDS)} has found it"
    assert check(World(draw(found)).run()) == [], "the seed fails for another reason"
