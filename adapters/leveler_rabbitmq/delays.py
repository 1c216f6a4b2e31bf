"""Delays: how long a message waits, and in which queue.

A delayed message waits in a quorum queue whose messages all expire after the same time, so that nobody queues behind
anybody, and are dead-lettered into the right queue "at least once": the broker keeps each until its target has
confirmed it. Such a queue can be had for a handful of lengths only, so a wait is made of several: the longest length
that is not too long comes first, and whoever receives the message then sends it on for the rest. A wait is longer
than asked for by up to `LATE_SECONDS`, and never shorter.

The queues stay until the queue that they belong to is dropped. One that expired by itself while its target could take
nothing would take its messages along.
"""

from __future__ import annotations

from bisect import bisect_left
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


def delay_queue(queue: str, length_ms: int) -> str:
    """A name that no queue of leveler's can have: capitals are not allowed in those."""
    return f"{queue}-DELAY-{length_ms}"


def arguments(queue: str, length_ms: int) -> dict[str, Any]:
    """Of the delay queue: what expires goes into `queue`, and stays until it has arrived there."""
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": length_ms,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
