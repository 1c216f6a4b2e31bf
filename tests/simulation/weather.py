"""The weather: what goes wrong, as events with a time and a place."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from leveler import BrokerUnavailable, LeaseLost, ReceiverLost
from leveler.testing import FaultPlan
from leveler.testing.faults import Verb

SETTLING: Final[tuple[Verb, ...]] = ("complete", "abandon", "dead_letter", "extend", "mark_solo")
VERBS: Final[tuple[Verb, ...]] = ("receive", "hold", *SETTLING)
#: What happens to the network of one worker.
NETWORK: Final = ("refused", "answer lost", "items refused", "slow", "late", "bug", "receiver lost", "silent")
#: What happens to its process, or to its machine.
PROCESS: Final = ("crash", "crash soon", "cut", "frozen", "stop", "stop at once", "clock")
#: What happens to the store of a fleet's rate, and so to all; and to the way of one worker to it.
STORE: Final = ("store away", "store slow", "store late", "store answers twice", "store cut off")
KINDS: Final = (*NETWORK, *PROCESS, "sender crash", "send unknown", "send refused", "send slow")


@dataclass(frozen=True)
class Strike:
    """One event."""

    at: float
    kind: str
    #: Which worker it hits.
    worker: int = 0
    verb: Verb = "receive"
    times: int = 1
    seconds: float = 0.0
    #: How many suspension points later.
    steps: int = 0


def strikes(chance: random.Random, workers: int, until: float) -> tuple[Strike, ...]:
    """Up to 20 of them, some kinds more often than others; each seed has its own climate."""
    until = chance.choice([0.3, 3.0, until])
    climate = chance.sample(KINDS, chance.randrange(1, 8))
    count = chance.choice([1, 3, 8, 20])
    return tuple(
        Strike(
            at=round(chance.uniform(0.0, until), 3),
            kind=chance.choice(climate),
            worker=chance.randrange(workers),
            verb=chance.choice(VERBS),
            times=chance.randrange(1, 4),
            seconds=round(chance.uniform(0.1, 4.5), 3),
            steps=chance.randrange(60),
        )
        for _ in range(count)
    )


def blow(strike: Strike, faults: FaultPlan) -> bool:
    """Spoil the network of a worker. False if the strike is none of the network's."""
    verb, times = strike.verb, strike.times
    match strike.kind:
        case "refused":
            faults.fail(verb, BrokerUnavailable("gone"), times=times)
        case "answer lost":
            faults.fail(verb, BrokerUnavailable("no answer"), times=times, after=True)
        case "items refused" if verb in SETTLING:
            faults.fail_items(verb, {0: BrokerUnavailable("gone"), 2: LeaseLost("taken")}, times=times)
        case "slow":
            faults.delay(verb, strike.seconds, times=times)
        case "late":
            faults.delay(verb, strike.seconds, times=times, after=True)
        case "bug":
            faults.fail(verb, RuntimeError("a bug in the adapter"), times=times)
        case "receiver lost":
            faults.fail(verb, ReceiverLost("reset"), after=strike.steps % 2 == 0)
        case "silent":  # longer than anybody waits for it
            faults.delay("receive" if strike.steps % 2 else "hold", 20.0, after=True)
        case _:
            return False
    return True
