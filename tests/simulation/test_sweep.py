"""Crash at every await of the settlement path, exhaustively; and lose every answer and every receiver on it."""

from __future__ import annotations

import pytest
from leveler_memory.personality import PERSONALITIES, PersonalityName

from tests.simulation.sweep import ACTS, Sweep


@pytest.mark.parametrize("personality", PERSONALITIES)
@pytest.mark.parametrize("act", ACTS)
def test_wherever_it_is_interrupted_the_promises_hold(act: str, personality: PersonalityName) -> None:
    can = PERSONALITIES[personality].capabilities
    if ACTS[act].extends and not can.extend:
        pytest.skip(f"{personality} cannot extend a lease")
    sweep = Sweep(ACTS[act], personality, ordered=can.ordering and act != "quarantine")
    assert len(list(sweep.spoils())) > 50
    assert sweep.wrong() == {}
