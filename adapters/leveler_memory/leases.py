"""Leases: who holds what, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from leveler.adapter import INFINITE, Delivery
from leveler.errors import LeaseLost, LevelerError
from leveler_memory.entry import Entry, Owner


class Leases:
    """The leased entries of one queue, in the order in which their leases end.

    All leases are equally long and an extended one moves to the back, so no sorting is needed and what has run
    out stands at the front.
    """

    def __init__(self) -> None:
        #: How long one lasts, in seconds. A new length holds for those that begin or are extended from now on.
        self.length_seconds = INFINITE
        #: None ends earlier. Not exact: what is settled or extended does not move it.
        self.first_end = INFINITE
        self._last_end = 0.0
        self._entries: dict[Entry, None] = {}

    def begin(self, entries: Sequence[Entry], owner: Owner, now: float) -> list[Delivery]:
        until = self.next_end(now)
        if not self._entries:
            self.first_end = until
        self._entries.update(dict.fromkeys(entries))
        owner.held += len(entries)
        deliveries: list[Delivery] = []
        for entry in entries:
            entry.owner = owner
            entry.taken_at = now
            entry.until = until
            deliveries.append(Delivery(entry.message, entry.attempt, until, entry))
        return deliveries

    def next_end(self, now: float) -> float:
        """When a lease ends that begins now: not before those that began when leases were longer."""
        self._last_end = max(self._last_end, now + self.length_seconds)
        return self._last_end

    def extend(self, entry: Entry, until: float) -> None:
        """`until` comes from `next_end`."""
        del self._entries[entry]
        self._entries[entry] = None
        entry.until = until

    def end(self, entry: Entry) -> None:
        del self._entries[entry]
        if entry.owner is not None:
            entry.owner.held -= 1
            entry.owner = None

    def end_held(self, deliveries: Sequence[Delivery], owner: Owner) -> dict[int, LevelerError]:
        """End what `owner` holds of these; the index of each that it does not."""
        failed: dict[int, LevelerError] = {}
        entries = self._entries
        for index, delivery in enumerate(deliveries):
            entry: Entry = delivery.receipt
            if entry.owner is owner:
                entry.owner = None
                del entries[entry]
            else:
                failed[index] = lease_lost(delivery)
        owner.held -= len(deliveries) - len(failed)
        return failed

    def end_overdue(self, now: float) -> list[Entry]:
        """End those that have run out, and tell which they were."""
        overdue = list(takewhile(lambda entry: entry.until <= now, self._entries))
        for entry in overdue:
            self.end(entry)
        self.first_end = next((entry.until for entry in self._entries), INFINITE)
        return overdue

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)


def lease_lost(delivery: Delivery) -> LeaseLost:
    return LeaseLost(
        f"message {delivery.message.id}: the lease of attempt {delivery.attempt} is over, so somebody else may have "
        "it now; extend the lease in time, or make it longer"
    )
