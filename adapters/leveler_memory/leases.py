"""Leases: who holds what, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from leveler.adapter import INFINITE, Delivery
from leveler.errors import LeaseLost, LevelerError
from leveler_memory.entry import Entry


class Owner:
    """Whoever holds deliveries."""

    def __init__(self) -> None:
        #: How many, neither settled nor run out.
        self.held = 0


class Lease(NamedTuple):
    """One, or those of several entries that were taken together."""

    owner: Owner
    #: When it began, and when it ends.
    since: float
    until: float


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
        self._leases: dict[Entry, Lease] = {}

    def begin(self, entries: Sequence[Entry], owner: Owner, now: float) -> list[Delivery]:
        until = self.next_end(now)
        if not self._leases:
            self.first_end = until
        self._leases.update(dict.fromkeys(entries, Lease(owner, now, until)))
        owner.held += len(entries)
        return [Delivery(entry.message, entry.attempt, until, entry) for entry in entries]

    def next_end(self, now: float) -> float:
        """When a lease ends that begins now: not before those that began when leases were longer."""
        self._last_end = max(self._last_end, now + self.length_seconds)
        return self._last_end

    def of(self, entry: Entry, owner: Owner) -> Lease | None:
        """The lease that `owner` has of it."""
        lease = self._leases.get(entry)
        return None if lease is None or lease.owner is not owner else lease

    def owned(self, owner: Owner) -> list[Entry]:
        return [entry for entry, lease in self._leases.items() if lease.owner is owner]

    def extend(self, entry: Entry, until: float) -> None:
        """`until` comes from `next_end`."""
        self._leases[entry] = self._leases.pop(entry)._replace(until=until)

    def end(self, entry: Entry) -> None:
        self._leases.pop(entry).owner.held -= 1

    def end_held(self, deliveries: Sequence[Delivery], owner: Owner) -> dict[int, LevelerError]:
        """End what `owner` holds of these; the index of each that it does not."""
        failed: dict[int, LevelerError] = {}
        leases = self._leases
        for index, delivery in enumerate(deliveries):
            lease = leases.get(delivery.receipt)
            if lease is not None and lease.owner is owner:
                del leases[delivery.receipt]
            else:
                failed[index] = lease_lost(delivery)
        owner.held -= len(deliveries) - len(failed)
        return failed

    def end_overdue(self, now: float) -> list[tuple[Entry, Lease]]:
        """End those that have run out, and tell which they were."""
        overdue = list(takewhile(lambda leased: leased[1].until <= now, self._leases.items()))
        for entry, _ in overdue:
            self.end(entry)
        self.first_end = next((lease.until for lease in self._leases.values()), INFINITE)
        return overdue

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._leases)

    def items(self) -> list[tuple[Entry, Lease]]:
        return list(self._leases.items())


def lease_lost(delivery: Delivery) -> LeaseLost:
    return LeaseLost(
        f"message {delivery.message.id}: the lease of attempt {delivery.attempt} is over, so somebody else may have "
        "it now; extend the lease in time, or make it longer"
    )
