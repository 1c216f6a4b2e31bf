"""What the simulation has found in leveler, as small as it gets."""

from __future__ import annotations

from tests.simulation.checker import check
from tests.simulation.scenario import Plan, Scenario
from tests.simulation.weather import Strike
from tests.simulation.world import World


def test_suspects_of_one_key_that_come_together_keep_their_order_though_the_first_one_snoozes() -> None:
    """Seed 1398. A killer ahead of them has spent their attempts; the broker cannot take them back uncounted."""
    scenario = Scenario(
        personality="fifo",
        ordered=True,
        workers=2,
        concurrency=8,
        lease_seconds=30.0,
        timeout_seconds=57.0,
        max_attempts=1,
        latency_seconds=0.001,
        plans=tuple(
            Plan(0.0, "orders", id, kind, "k0", seconds)
            for id, kind, seconds in (
                ("m0-throttled", "throttled", 0.3),
                ("m1-unknown", "unknown", 0.3),
                ("m2-killer", "killer", 0.0),
                ("m12-snoozing", "snoozing", 0.0),
                ("m13-good", "good", 0.3),
            )
        ),
        strikes=(Strike(1.039, "crash"),),
        seed=1398,
    )
    assert check(World(scenario).run()) == []
