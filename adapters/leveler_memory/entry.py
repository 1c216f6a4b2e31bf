"""Entry: one message on its way through a queue, from waiting to the end of one lease."""

from __future__ import annotations

from typing import Protocol

from leveler.message import Message


class Owner(Protocol):
    """Whoever holds deliveries."""

    #: How many, neither settled nor run out.
    held: int


class Entry:
    """A message that waits, then is leased, then is done with.

    It is the receipt of its one delivery. What comes back gets an entry of its own, so that an old receipt can
    never settle a new lease.
    """

    __slots__ = ("attempt", "message", "owner", "position", "since", "taken_at", "until")

    def __init__(self, message: Message, attempt: int, position: int, since: float) -> None:
        self.message = message
        #: The number of its delivery.
        self.attempt = attempt
        #: Its place among all messages of the queue, in the order in which they were sent.
        self.position = position
        #: When it was, or will be, ready; in the future, it is delayed.
        self.since = since
        #: Who holds it; None while it waits and when its lease was settled or ran out.
        self.owner: Owner | None = None
        # Set when it is leased: `taken_at` and `until`, when its lease began and ends.
        self.taken_at: float
        self.until: float

    def __lt__(self, other: Entry) -> bool:
        """The order of delivery where nothing else decides: by readiness, then as they were sent."""
        return (self.since, self.position) < (other.since, other.position)

    def again(self, message: Message, attempt: int, since: float) -> Entry:
        """What stands in its place when it comes back."""
        return Entry(message, attempt, self.position, since)
