"""Weather: what happens to the conversations now. Decided here, done by the proxy."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

from tests.faults.wire.unit import Unit

#: Where a connection ends: before an operation, in the middle of it, after it; or, "mute", it stays open and says
#: nothing any more from that operation on, as when only the answer is lost.
Place = Literal["before", "during", "after", "mute"]


@dataclass(frozen=True)
class Cut:
    """The next connection on which an operation of that name comes by ends there."""

    name: str
    place: Place
    #: RST instead of FIN.
    reset: bool = False
    #: Set when it has happened.
    done: threading.Event = field(default_factory=threading.Event, compare=False)

    def meets(self, unit: Unit) -> bool:
        """Whether this is the place."""
        return unit.name == self.name and (unit.last if self.place == "after" else unit.first)

    def passes(self, unit: Unit) -> bytes:
        """What of the unit still gets through."""
        return {"before": b"", "mute": b"", "during": unit.data[: len(unit.data) // 2], "after": unit.data}[self.place]


@dataclass(frozen=True)
class Slow:
    """A bad line.

    Args:
        latency_seconds: each chunk comes so much later, in each direction.
        bytes_per_second: of each connection, in each direction; 0 = as fast as it goes.
        piece_bytes: written at once; 0 = all that is there.
    """

    latency_seconds: float = 0.0
    bytes_per_second: float = 0.0
    piece_bytes: int = 0


CLEAR = Slow()
