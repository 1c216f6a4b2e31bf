"""Settlements: what becomes of leased entries, as the scripts want to be told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from leveler.adapter import Abandon, DeadLetter
from leveler_redis.command import Argument
from leveler_redis.entry import fields_of
from leveler_redis.keys import Keys
from leveler_redis.receipt import Receipt

What = Literal["complete", "count", "keep", "bury"]

#: What one call takes, but for a single message that is larger.
_MOST_BYTES: Final = 4 * 1024 * 1024


class Batch:
    """Entries by lane, for `complete` and `extend`.

    Args:
        keys: of the queue.
        receipts: some of them.
        places: of those that it is about.
    """

    def __init__(self, keys: Keys, receipts: Sequence[Receipt], places: Sequence[int]) -> None:
        lanes = sorted({receipts[place].lane for place in places})
        self.keys = [keys.lane(lane) for lane in lanes]
        self.arguments: list[Argument] = []
        #: In the order of the arguments.
        self.places: list[int] = []
        for lane in lanes:
            these = [place for place in places if receipts[place].lane == lane]
            self.arguments += (len(these), *[receipts[place].entry for place in these])
            self.places += these


def item(
    lane: int, entry: bytes, line: bytes, what: What, *, delay_seconds: float = 0.0, fields: Sequence[Argument] = ()
) -> list[Argument]:
    """One message, for `settle`."""
    return [what, lane, entry, line, math.ceil(delay_seconds * 1000), len(fields), *fields]


def portions(places: Sequence[int], items: Sequence[Sequence[Argument]]) -> Iterator[Sequence[int]]:
    """`places`, as many at a time as go into one call by the size of their items: dead letters bring their bodies."""
    portion: list[int] = []
    total = 0
    for place in places:
        last = items[place][-1]
        size = 0 if isinstance(last, int) else len(last)
        if portion and total + size > _MOST_BYTES:
            yield portion
            portion, total = [], 0
        portion.append(place)
        total += size
    if portion:
        yield portion


def completion(receipt: Receipt) -> list[Argument]:
    return item(receipt.lane, receipt.entry, receipt.line, "complete")


def give_back(abandon: Abandon) -> list[Argument]:
    one: Receipt = abandon.delivery.receipt
    what: What = "count" if abandon.counted else "keep"
    return item(one.lane, one.entry, one.line, what, delay_seconds=abandon.delay_seconds)


def burial(letter: DeadLetter) -> list[Argument]:
    one: Receipt = letter.delivery.receipt
    return item(one.lane, one.entry, one.line, "bury", fields=fields_of(letter.delivery.message.dead(letter.death)))
