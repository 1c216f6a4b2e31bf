"""Settlements: what becomes of leased entries, as the scripts want to be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler_redis.command import Argument
from leveler_redis.entry import fields_of
from leveler_redis.holdings import Receipt
from leveler_redis.keys import Keys

What = Literal["complete", "count", "keep", "bury"]

#: After the queue itself, in the keys of `complete` and `extend`.
_FIRST: Final = 2


class Batch:
    """Entries by lane, each lane's in order, for `complete` and `extend`.

    Args:
        keys: of the queue.
        me: who holds them.
        receipts: of the entries.
        places: theirs in the caller's batch.
    """

    def __init__(self, keys: Keys, me: str, receipts: Sequence[Receipt], places: Sequence[int]) -> None:
        lanes: dict[int, list[tuple[tuple[int, ...], bytes, int]]] = {}
        for receipt, place in zip(receipts, places, strict=True):
            lanes.setdefault(receipt.lane, []).append((_moment(receipt.entry), receipt.entry, place))
        self.keys = (keys.queue, *(keys.lane(lane) for lane in lanes))
        self.arguments: list[Argument] = [me]
        #: The caller's places, in the order of the arguments.
        self.places: list[int] = []
        for number, lane in enumerate(lanes.values()):
            lane.sort()
            self.arguments += (_FIRST + number, len(lane), *(entry for _, entry, _ in lane))
            self.places += (place for _, _, place in lane)


def in_order(deliveries: Sequence[Delivery], places: Sequence[int]) -> list[int]:
    """The places, oldest entry first, as the scripts expect them."""
    return sorted(places, key=lambda place: _moment(deliveries[place].receipt.entry))


def item(
    receipt: Receipt, what: What, *, delay_seconds: float = 0.0, fields: Sequence[Argument] = ()
) -> list[Argument]:
    """One message, for `settle`."""
    delay_ms = math.ceil(delay_seconds * 1000)
    return [what, receipt.lane, receipt.entry, receipt.line, delay_ms, len(fields), *fields]


def completion(delivery: Delivery) -> list[Argument]:
    return item(delivery.receipt, "complete")


def give_back(abandon: Abandon) -> list[Argument]:
    what: What = "count" if abandon.counted else "keep"
    return item(abandon.delivery.receipt, what, delay_seconds=abandon.delay_seconds)


def burial(letter: DeadLetter) -> list[Argument]:
    return item(letter.delivery.receipt, "bury", fields=fields_of(letter.delivery.message.dead(letter.death)))


def _moment(entry: bytes) -> tuple[int, ...]:
    """An entry's id as a number, so that 9 comes before 10."""
    return tuple(map(int, entry.split(b"-")))
