"""Entry: one message on its way through a queue, from waiting to the end of one lease."""

from __future__ import annotations

import msgspec

from leveler.message import Message


class Entry(msgspec.Struct, eq=False, gc=False):  # nothing in it refers back to it
    """A message that waits, then is leased, then is done with.

    It is the receipt of its one delivery. What comes back gets an entry of its own, so that an old receipt can
    never settle a new lease.
    """

    message: Message
    #: The number of its delivery.
    attempt: int
    #: Its place among all messages of the queue, in the order in which they were sent.
    position: int
    #: When it was, or will be, ready; in the future, it is delayed.
    since: float
    #: It was to be started alone: unless we settle it, that has ended our process.
    solo: bool = False

    def __lt__(self, other: Entry) -> bool:
        """The order of delivery where nothing else decides: by readiness, then as they were sent."""
        return (self.since, self.position) < (other.since, other.position)

    def again(self, message: Message, attempt: int, since: float) -> Entry:
        """What stands in its place when it comes back."""
        return Entry(message, attempt, self.position, since)
