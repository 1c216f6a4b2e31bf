"""Delays: how long a message waits, and in which queue.

A delayed message waits in a quorum queue whose messages all expire after the same time, so that nobody queues behind
anybody, and are dead-lettered into the right queue "at least once": the broker keeps each until its target has
confirmed it. Such a queue can be had for a handful of lengths only, so a wait is made of several: the longest length
that is not too long comes first, and whoever receives the message then sends it on for the rest. A wait is longer
than asked for by up to `LATE_SECONDS`, and never shorter.

The queues stay until the queue that they belong to is dropped. One that expired by itself while its target could take
nothing would take its messages along.

Another queue of that kind is for messages that are about to be started alone, see `RabbitMQReceiver.mark_solo`: the
marked copy lies there until it is fetched, a moment later, by whoever has put it there. Nothing is delivered out of it
that nobody asks for, and whatever is given back to it, as by the end of a process, goes on to where it came from.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

#: How much later than asked a delay may end by our own choice of lengths.
LATE_SECONDS: Final = 1.0

_SHORT_MS: Final = (100, 200, 500, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6000, 7000, 8000, 9000)
_STEPS: Final = (10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82)
#: RabbitMQ takes a TTL of up to 2**32 - 1 ms.
_LONGEST_MS: Final = 2**32 - 1

#: Every length there is, in milliseconds: 81 of them, up to 45 days; the usual retries need some thirty.
LENGTHS_MS: Final = tuple(
    [*_SHORT_MS] + [step * 10**power for power in range(3, 9) for step in _STEPS if step * 10**power <= _LONGEST_MS]
)


#: How long a marked message waits to be fetched.
_SOLO_MS: Final = 2000


class Room(NamedTuple):
    """A queue where messages wait, all equally long."""

    name: str
    #: Where they go from there.
    queue: str
    length_ms: int
    #: Of those for marked messages, which; 0: it is none of them.
    solo: int = 0

    def following(self) -> Iterator[Room]:
        """Those that may be used instead, the best first: a wait may be longer, but never shorter."""
        if self.solo:
            return iter(solo_rooms(self.queue)[self.solo :])
        longer = LENGTHS_MS[bisect_right(LENGTHS_MS, self.length_ms) :]
        return (delay_room(self.queue, length) for length in longer)

    def arguments(self) -> dict[str, Any]:
        """Of its declaration: what expires goes on, and stays until it has arrived."""
        return {
            "x-queue-type": "quorum",
            "x-message-ttl": self.length_ms,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.queue,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }


class Wait(NamedTuple):
    """One stay in a delay queue."""

    length_ms: int
    #: Whether there is more to wait when it is over.
    waits_on: bool


def wait_of(seconds: float) -> Wait:
    """The first stay of a delay that is longer than 0."""
    wanted_ms = seconds * 1000
    place = bisect_left(LENGTHS_MS, wanted_ms)
    if place < len(LENGTHS_MS) and (place == 0 or LENGTHS_MS[place] - wanted_ms <= LATE_SECONDS * 1000):
        return Wait(LENGTHS_MS[place], waits_on=False)
    return Wait(LENGTHS_MS[place - 1], waits_on=True)


def delay_room(queue: str, length_ms: int) -> Room:
    """Its name is one that no queue of leveler's can have: capitals are not allowed in those."""
    return Room(f"{queue}-DELAY-{length_ms}", queue, length_ms)


def solo_rooms(queue: str) -> list[Room]:
    """For marked messages: the first one, and others in case that it does not answer."""
    names = ("SOLO", "SOLO-2", "SOLO-3")
    return [Room(f"{queue}-{name}", queue, _SOLO_MS, number) for number, name in enumerate(names, 1)]


def rooms_of(queue: str) -> list[Room]:
    """All that there may be."""
    return [*solo_rooms(queue), *(delay_room(queue, length) for length in LENGTHS_MS)]
