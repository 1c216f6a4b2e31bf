"""The simulation can see: each bug that is planted is found by a seed of the suite."""

from __future__ import annotations

import pytest

from tests.simulation import fleets
from tests.simulation.checker import check
from tests.simulation.plants import FLEET_PLANTS, PLANTS
from tests.simulation.scenario import draw
from tests.simulation.test_seeds import FLEET_SEEDS, SEEDS
from tests.simulation.world import World


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found_by_a_seed_of_the_suite(name: str) -> None:
    plant = PLANTS[name]
    with plant.planted():
        found = next((seed for seed in SEEDS if check(World(draw(seed), plant.adapter).run())), None)
    assert found is not None, f"no seed of {len(SEEDS)} has found it"
    assert check(World(draw(found)).run()) == [], "the seed fails for another reason"


@pytest.mark.parametrize("name", FLEET_PLANTS)
def test_a_bug_in_a_fleet_is_found_by_a_seed_of_the_suite(name: str) -> None:
    with FLEET_PLANTS[name].planted():
        found = next((seed for seed in FLEET_SEEDS if check(World(fleets.draw(seed)).run())), None)
    assert found is not None, f"no seed of {len(FLEET_SEEDS)} has found it"
    assert check(World(fleets.draw(found)).run()) == [], "the seed fails for another reason"
