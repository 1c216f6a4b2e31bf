"""The messages: mostly good ones, and some of every kind of poison."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

import msgspec

QUEUE: Final = "orders"


class Work(msgspec.Struct):
    """What the handler is to do."""

    id: str
    kind: str
    #: How long a good one works, in milliseconds.
    work_ms: float = 0.0


#: Poison that ends as a dead letter while its process lives on, by the reason that it must have.
GENTLE: Final[Mapping[str, str]] = {
    "raise": "exhausted",
    "memory-error": "exhausted",
    "recursion": "exhausted",
    "system-exit": "exhausted",
    "reject": "rejected",
    "undecodable": "undecodable",
    "unknown-type": "unknown-type",
}
#: Poison that ends its process.
KILLERS: Final[Mapping[str, str]] = {"os-exit": "crash-loop", "kill-self": "crash-loop"}
#: Slow or rude, but good: they must complete.
ODD: Final = ("block-loop", "long", "flaky", "thread")
#: So long a rude one blocks the loop.
BLOCK_SECONDS: Final = 0.3
POISON: Final[Mapping[str, str]] = {**GENTLE, **KILLERS}


def kinds(messages: int, killers: int, poison_share: float, seed: int) -> list[str]:
    """The kind of each message, in the order of sending."""
    rng = random.Random(seed)
    out = ["good"] * messages
    places = iter(rng.sample(range(messages), min(messages, killers + int(messages * poison_share))))
    for number in range(killers):
        out[next(places)] = list(KILLERS)[number % len(KILLERS)]
    choice = [*GENTLE, *ODD]
    for number, place in enumerate(places):
        out[place] = choice[number % len(choice)]
    return out


def body(id: str, kind: str, rng: random.Random) -> bytes:
    if kind == "undecodable":
        return b"\xff\x00not json " + id.encode()
    return msgspec.json.encode(Work(id, kind, work_ms=rng.choice((0.0, 5.0, 10.0, 20.0, 40.0))))


def kind_of(id: str) -> str:
    """Ids tell their kind, so that the checker need not trust a body."""
    return id.partition("_")[2]
