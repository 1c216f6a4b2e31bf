"""Outcome: what a run leaves behind for the checker."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from leveler.adapter import Capabilities
from tests.simulation.ledger import Ledger
from tests.simulation.scenario import Scenario
from tests.simulation.worker import Worker


@dataclass
class Outcome:
    """Everything that was seen."""

    scenario: Scenario
    can: Capabilities
    ledger: Ledger
    #: All lives of all workers.
    workers: list[Worker] = field(default_factory=list[Worker])
    #: Left in the queues when every lease had ended.
    stuck: int = 0
    #: Reasons of the dead letters, by id.
    dead: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    #: What failed with nobody looking.
    unheard: list[str] = field(default_factory=list[str])
    #: The strikes that found somebody to hit, by kind.
    faults: Counter[str] = field(default_factory=Counter[str])
    #: Suspension points passed, by everybody.
    steps: int = 0
