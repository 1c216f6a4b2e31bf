"""The sweep: the way from receipt to settlement, spoiled at each of its suspension points in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from leveler_memory.personality import PERSONALITIES, PersonalityName

from leveler import BrokerUnavailable, ReceiverLost
from tests.simulation.checker import check
from tests.simulation.outcome import Outcome
from tests.simulation.scenario import Plan, Scenario
from tests.simulation.weather import VERBS
from tests.simulation.worker import Worker
from tests.simulation.world import Aim, World

#: What is done to a worker, by name.
Spoil = Callable[[Worker], object]


@dataclass(frozen=True)
class Act:
    """One way to a settlement."""

    plans: tuple[Plan, ...]
    #: Which life of the worker goes it.
    life: int = 1
    max_attempts: int = 3
    #: When that life is told to stop, and how long it may go on.
    stop_at: float | None = None
    drain_seconds: float = 30.0
    #: Only where leases can be extended.
    extends: bool = False


def _plans(*kinds: tuple[str, float]) -> tuple[Plan, ...]:
    return tuple(Plan(0.0, "orders", f"m{n}-{kind[:6].strip()}", kind, f"k{n}", s) for n, (kind, s) in enumerate(kinds))


ACTS: Final = {
    "complete": Act(_plans(("good", 0.1), ("good", 0.0))),
    "abandon with delay": Act(_plans(("flaky", 0.1), ("snoozing", 0.0))),
    "dead-letter": Act(_plans(("rejected", 0.1), ("undecodable", 0.0))),
    "extend": Act(_plans(("slow", 20.0), ("good", 0.0)), extends=True),
    "drain": Act(_plans(("good", 2.0), ("good", 2.0), ("good", 2.0)), stop_at=0.5),
    "drain cut short": Act(_plans(("good", 2.0), ("stubborn", 2.0), ("good", 2.0)), stop_at=0.5, drain_seconds=0.3),
    "quarantine": Act(_plans(("deadly once", 0.1), ("good", 0.0)), life=2, max_attempts=1),
}


class Sweep:
    """One act on one personality.

    Args:
        act: the way.
        personality: of the broker.
        ordered: whether the queue keeps the order of keys.
    """

    def __init__(self, act: Act, personality: PersonalityName, *, ordered: bool = False) -> None:
        extend = PERSONALITIES[personality].capabilities.extend
        self._act = act
        self._scenario = Scenario(
            personality=personality,
            ordered=ordered,
            concurrency=2,
            max_attempts=act.max_attempts,
            lease_seconds=15.0,
            timeout_seconds=28.0 if extend else 4.5,
            plans=act.plans,
            aimed=True,
        )

    def wrong(self) -> dict[str, list[str]]:
        """What breaks a promise, by what was done where."""
        found = {name: check(self._run(spoil)) for name, spoil in self.spoils()}
        return {name: wrong for name, wrong in found.items() if wrong}

    def spoils(self) -> Iterator[tuple[str, Spoil]]:
        """A crash and a lost receiver at every suspension point, a lost request and a lost answer of every verb."""
        outcome = self._run(lambda worker: None)
        assert check(outcome) == []
        worker = outcome.workers[self._act.life - 1]
        first = min(one.step for one in outcome.ledger.handouts if one.process == worker.name)
        for step in range(first, worker.process.steps + 1):
            yield f"crash at {step}", lambda worker, step=step: worker.process.at_step(step, worker.process.die)  # type: ignore[misc]
            yield f"receiver lost at {step}", lambda worker, step=step: worker.process.at_step(step, worker.cut)  # type: ignore[misc]
        for verb, calls in Counter(call.verb for call in worker.faults.calls if call.verb in VERBS).items():
            for nth in range(1, calls + 1):
                for error in (BrokerUnavailable("gone"), ReceiverLost("reset")):
                    for after in (False, True):
                        yield (
                            f"{type(error).__name__} {'after' if after else 'before'} {verb} {nth}",
                            lambda worker, v=verb, e=error, n=nth, a=after: worker.faults.fail(v, e, nth=n, after=a),  # type: ignore[misc]
                        )

    def _run(self, spoil: Spoil) -> Outcome:
        return World(replace(self._scenario), aim=self._aim(spoil)).run()

    def _aim(self, spoil: Spoil) -> Aim:
        def aim(worker: Worker, life: int) -> None:
            if life == self._act.life:
                if self._act.stop_at is not None:
                    worker.stop_in(self._act.stop_at, self._act.drain_seconds)
                spoil(worker)

        return aim
