"""Rounds: every row in turn, again and again, each time in a fresh process."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.benchmarks import child
from tests.benchmarks.measures import Reading
from tests.benchmarks.suites import SUITES, Suite, Turn


@dataclass(frozen=True)
class Plan:
    """How it is run."""

    rounds: int
    #: Instead of each turn's own number; None = those.
    messages: int | None
    uvloop: bool
    #: Where brokers that are files put them: a disk, or nothing is said about commits.
    folder: Path


class Taken(NamedTuple):
    """The readings of one row in one round."""

    suite: str
    row: str
    round: int
    readings: list[Reading]


def take(suites: Mapping[str, Suite], plan: Plan, progress: Callable[[str], None]) -> Iterator[Taken]:
    """Measure everything.

    Raises:
        subprocess.CalledProcessError: a measurement failed; it has said why on stderr.
    """
    for number in range(plan.rounds):
        for name, suite in suites.items():
            for turn, row in _due(suite, number):
                progress(f"round {number + 1} of {plan.rounds}: {name} {turn.measure} {row}")
                yield Taken(name, row, number, _measured(name, row, turn, plan))


def _due(suite: Suite, number: int) -> Iterator[tuple[Turn, str]]:
    for turn in suite.turns:
        if number < turn.rounds:
            for row in suite.rows:
                if not (turn.by_itself and row == suite.reference):
                    yield turn, row


def _measured(suite: str, row: str, turn: Turn, plan: Plan) -> list[Reading]:
    messages = plan.messages or turn.messages
    plan.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=plan.folder) as name:
        words = child.command(suite, row, turn.measure, messages, Path(name), uvloop=plan.uvloop)
        try:
            out = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
        finally:
            SUITES[suite].clear(Path(name))
    return msgspec.json.decode(out, type=list[Reading])
