"""Keys: where a queue lives on the server, and where a rate.

The braces make all of a queue, its dead letters included, stay together in a cluster. Entries that anybody adds to the
stream of the name alone, such as ``leveler:{orders}``, are messages of the queue.
"""

from __future__ import annotations

from typing import Final

from leveler.adapter import QueueSpec
from leveler.message import DEFAULT_PRIORITY, MAX_PRIORITY

#: A queue has two lanes for each priority: one for what is new, and before it one for what has come back.
LANES: Final = 2 * (MAX_PRIORITY + 1)


def lane_of(priority: int) -> int:
    """The lane of new messages of a priority: 2 for the highest, 20 for the lowest. In front of each is an odd one."""
    return 2 * (MAX_PRIORITY - min(max(priority, 0), MAX_PRIORITY) + 1)


#: The one that is always there.
BASE: Final = lane_of(DEFAULT_PRIORITY)

#: How many keys stand before those of the lanes in `Keys.all`.
BEFORE_LANES: Final = 5


class Keys:
    """The keys of one queue, in the order in which the scripts expect them.

    Args:
        prefix: before all of them.
        spec: the queue.
        dead: those of its dead letters instead.
    """

    def __init__(self, prefix: str, spec: QueueSpec, *, dead: bool = False) -> None:
        base = f"{prefix}{{{spec.name}}}" + ("-dead" if dead else "")
        #: What the queue is: a hash.
        self.queue = f"{base}:queue".encode()
        #: The stream of each lane; the first one's number is 1.
        self.lanes = tuple(_lane_key(base, lane) for lane in range(1, LANES + 1))
        beside = (f"{base}:{name}".encode() for name in ("later", "due", "line", "seen"))
        self.all = (self.queue, *beside, *self.lanes)

    def lane(self, number: int) -> bytes:
        return self.lanes[number - 1]

    @property
    def base(self) -> bytes:
        return self.lane(BASE)


def rate_keys(prefix: str, rate: str) -> tuple[bytes, bytes]:
    """The mark of a rate, and who asked for it. No queue has a colon in its name."""
    base = f"{prefix}{{rate:{rate}}}"
    return base.encode(), f"{base}:askers".encode()


def _lane_key(base: str, lane: int) -> bytes:
    priority = MAX_PRIORITY - (lane - 1) // 2
    level = base if priority == DEFAULT_PRIORITY else f"{base}:{priority}"
    return (level if lane % 2 == 0 else f"{level}:again").encode()
