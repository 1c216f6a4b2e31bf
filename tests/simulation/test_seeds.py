"""Nothing that goes wrong breaks a promise: many seeds, each one life of a whole app among faults."""

from __future__ import annotations

from typing import Final

import pytest

from tests.simulation import fleets
from tests.simulation.checker import check
from tests.simulation.scenario import draw
from tests.simulation.world import World

SEEDS: Final = range(500)
FLEET_SEEDS: Final = range(200)
_CHUNK: Final = 25


@pytest.mark.parametrize("first", SEEDS[::_CHUNK])
def test_whatever_goes_wrong_the_promises_hold(first: int) -> None:
    wrong = {seed: found for seed in range(first, first + _CHUNK) if (found := check(World(draw(seed)).run()))}
    assert wrong == {}, f"see it happen: python -m tests.simulation --seed {next(iter(wrong))}"


@pytest.mark.parametrize("first", FLEET_SEEDS[::_CHUNK])
def test_whatever_goes_wrong_workers_who_share_a_rate_keep_to_it_and_go_on(first: int) -> None:
    wrong = {seed: found for seed in range(first, first + _CHUNK) if (found := check(World(fleets.draw(seed)).run()))}
    assert wrong == {}, f"see it happen: python -m tests.simulation --fleets --seed {next(iter(wrong))}"
