"""Receipt: what Redis has to be told to settle a delivery."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leveler.adapter import Delivery


class Receipt(msgspec.Struct, eq=False, gc=False):  # nothing in it refers back
    """One delivery of one entry."""

    lane: int
    #: Its id in the stream of that lane.
    entry: bytes
    #: Its place in the line of its key, as the scripts know it; empty where there is none.
    line: bytes
    #: When its lease ends, on the monotonic clock. The server knows better.
    leased_until: float
    #: Changes with every reconnection.
    epoch: int


def receipts_of(deliveries: Sequence[Delivery]) -> list[Receipt]:
    return [delivery.receipt for delivery in deliveries]
