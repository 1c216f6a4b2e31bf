"""A failing seed replays: the same seed is the same run, line by line, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.simulation.scenario import draw
from tests.simulation.world import World

_ROOT: Final = Path(__file__).parents[2]
_SEEDS: Final = (0, 3, 7, 13, 19, 42)
_DIGESTS: Final = """
from tests.simulation.scenario import draw
from tests.simulation.world import World
for seed in {seeds}:
    outcome = World(draw(seed)).run()
    print(outcome.ledger.digest(), outcome.steps)
"""


def _digest(seed: int) -> str:
    outcome = World(draw(seed)).run()
    return f"{outcome.ledger.digest()} {outcome.steps}"


def _elsewhere(hash_seed: str) -> list[str]:
    program = _DIGESTS.format(seeds=_SEEDS)
    words = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, env=words, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_seed_runs_the_same_way_twice() -> None:
    for seed in _SEEDS:
        first, second = World(draw(seed)).run(), World(draw(seed)).run()
        assert first.ledger.trace == second.ledger.trace
        assert first.steps == second.steps


def test_another_seed_runs_another_way() -> None:
    assert len({_digest(seed) for seed in _SEEDS}) == len(_SEEDS)


def test_a_seed_runs_the_same_way_in_another_process_whatever_its_hash_seed() -> None:
    here = [_digest(seed) for seed in _SEEDS]
    assert _elsewhere("1") == here
    assert _elsewhere("4711") == here
