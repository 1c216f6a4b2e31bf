"""Settlements: what becomes of leased entries, as the scripts want to be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler_redis.command import Argument
from leveler_redis.entry import fields_of
from leveler_redis.holdings import Place
from leveler_redis.keys import Keys

What = Literal["complete", "count", "keep", "bury"]

#: After the queue itself, in the keys of `complete` and `extend`.
_FIRST: Final = 2


class Batch:
    """Entries by lane, each lane's in order, for `complete` and `extend`.

    Args:
        keys: of the queue.
        me: who holds them.
        deliveries: some of them.
        places: of those that it is about, the oldest entries first.
    """

    def __init__(self, keys: Keys, me: str, deliveries: Sequence[Delivery], places: Sequence[int]) -> None:
        lanes: dict[int, list[bytes]] = {}
        places_of: dict[int, list[int]] = {}
        for place in places:
            lane, entry = deliveries[place].receipt.place
            if lane not in lanes:
                lanes[lane], places_of[lane] = [], []
            lanes[lane].append(entry)
            places_of[lane].append(place)
        self.keys = (keys.queue, *(keys.lane(lane) for lane in lanes))
        self.arguments: list[Argument] = [me]
        for number, entries in enumerate(lanes.values()):
            self.arguments += (_FIRST + number, len(entries), *entries)
        #: In the order of the arguments.
        self.places = [place for these in places_of.values() for place in these]


def item(
    place: Place, line: bytes, what: What, *, delay_seconds: float = 0.0, fields: Sequence[Argument] = ()
) -> list[Argument]:
    """One message, for `settle`."""
    return [what, *place, line, math.ceil(delay_seconds * 1000), len(fields), *fields]


def completion(delivery: Delivery) -> list[Argument]:
    return item(delivery.receipt.place, delivery.receipt.line, "complete")


def give_back(abandon: Abandon) -> list[Argument]:
    receipt = abandon.delivery.receipt
    what: What = "count" if abandon.counted else "keep"
    return item(receipt.place, receipt.line, what, delay_seconds=abandon.delay_seconds)


def burial(letter: DeadLetter) -> list[Argument]:
    receipt, dead = letter.delivery.receipt, letter.delivery.message.dead(letter.death)
    return item(receipt.place, receipt.line, "bury", fields=fields_of(dead))
