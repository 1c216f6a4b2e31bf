"""Plan: one demo in figures, and as the ``leveler.yaml`` that its worker reads."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from leveler.demo.week import Arrival, week

QUEUE: Final = "departures"

#: Fewer a second than arrive on average: the queue has to grow.
LEVEL: Final = 0.55
#: Nobody runs a downstream at its very limit.
HEADROOM: Final = 1.1
#: Slots for the rate, were every call to take so long: three times what one takes on average.
CALL_SECONDS: Final = 0.045


@dataclass(frozen=True)
class Plan:
    """
    Args:
        broker: where the queue is.
        seconds: how long the week takes to arrive.
        arrivals: the week.
    """

    broker: str
    seconds: float
    arrivals: Sequence[Arrival]

    @classmethod
    def of(cls, broker: str, seconds: float) -> Plan:
        return cls(broker, seconds, week(seconds))

    @property
    def per_second(self) -> int:
        """The rate that leveler keeps."""
        return max(1, round(LEVEL * len(self.arrivals) / self.seconds))

    @property
    def borne_per_second(self) -> int:
        """The rate that the board bears."""
        return math.ceil(self.per_second * HEADROOM)

    @property
    def expected_seconds(self) -> float:
        """About how long it takes until all is done: the failed calls come on top, and some waiting at the ends."""
        return 1.07 * len(self.arrivals) / self.per_second + 6.0

    def yaml(self) -> str:
        return f"""\
broker: {json.dumps(self.broker)}
downstreams:
  board: {{rate: {self.per_second}/s, concurrency: {math.ceil(self.per_second * CALL_SECONDS)}}}
queues:
  {QUEUE}:
    timeout: 20s  # shorter than the lease, so that brokers that cannot extend one will do, too
    retry: {{max_attempts: 3, initial: 500ms, cap: 2s}}
consumers:
  {QUEUE}: {{downstream: board}}
"""
