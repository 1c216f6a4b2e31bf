"""A scenario: all that one seed decides beforehand, as data."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, get_args

from leveler_memory.personality import PERSONALITIES, PersonalityName

from leveler import ConsumerSettings, LimitSettings, QueueSettings, RetryPolicy
from tests.simulation.load import KINDS
from tests.simulation.weather import Strike, strikes

QUEUES: Final = ("orders", "mails")
DOWNSTREAM: Final = "billing"
#: Every verb of the simulated adapters answers within it.
DEADLINE_SECONDS: Final = 5.0
FLOOR_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Plan:
    """One message to be sent."""

    at: float
    queue: str
    id: str
    kind: str
    key: str | None = None
    seconds: float = 0.0
    delay_seconds: float | None = None
    expires_in: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Who there is, what they do, and what goes wrong when."""

    personality: PersonalityName = "plain"
    ordered: bool = False
    queues: tuple[str, ...] = ("orders",)
    workers: int = 1
    concurrency: int = 2
    #: Of both queues together.
    shared_concurrency: int | None = None
    rate_per_second: float | None = None
    #: Of all workers together.
    fleet_rate_per_second: float | None = None
    lease_seconds: float = 15.0
    timeout_seconds: float = 10.0
    max_attempts: int = 3
    latency_seconds: float = 0.01
    plans: tuple[Plan, ...] = ()
    strikes: tuple[Strike, ...] = ()
    #: What is left to chance while it happens.
    seed: int = 0
    #: Something goes wrong that is not among the strikes.
    aimed: bool = False

    @property
    def calm(self) -> bool:
        """Nothing goes wrong and nobody is stopped: everything must be exact."""
        deadly = any(plan.kind in ("killer", "deadly once") for plan in self.plans)
        return not (self.strikes or self.aimed or deadly)

    @property
    def shares(self) -> bool:
        """Whether there is a downstream that queues or workers share."""
        return self.shared_concurrency is not None or self.fleet_rate_per_second is not None

    @property
    def max_deliveries(self) -> int:
        return self.queue_settings().most_deliveries

    def queue_settings(self) -> QueueSettings:
        return QueueSettings(
            lease_seconds=self.lease_seconds,
            timeout_seconds=self.timeout_seconds,
            retry=RetryPolicy(
                max_attempts=self.max_attempts, initial_seconds=0.5, cap_seconds=4.0, floor_seconds=FLOOR_SECONDS
            ),
            ordered=self.ordered,
        )

    def consumer_settings(self) -> ConsumerSettings:
        limits = LimitSettings(concurrency=self.concurrency, rate_per_second=self.rate_per_second)
        return ConsumerSettings(downstream=DOWNSTREAM if self.shares else None, limits=limits)


def draw(seed: int, messages: int | None = None) -> Scenario:
    """The scenario of a seed.

    Args:
        messages: so many; by default that is left to chance, too.
    """
    chance = random.Random(seed)
    personality: PersonalityName = chance.choice(get_args(PersonalityName))
    can = PERSONALITIES[personality].capabilities
    lease = chance.choice([15.0, 30.0])
    timeout = chance.choice([lease * 0.6, lease * 1.9]) if can.extend else lease * 0.6
    queues = QUEUES[: chance.choice([1, 1, 2])]
    workers = chance.choice([1, 1, 2, 3])
    kinds = [*KINDS] if chance.random() < 0.5 else [kind for kind in KINDS if kind not in ("killer", "deadly once")]
    plans = _plans(chance, messages or chance.randrange(8, 40), queues, kinds, slow=min(timeout * 0.8, lease * 1.5))
    ends_at = max(plan.at for plan in plans) + 10.0
    shared = chance.choice([1, 3]) if len(queues) > 1 and chance.random() < 0.5 else None
    rated = chance.random() < 0.3
    return Scenario(
        seed=seed,
        personality=personality,
        ordered=can.ordering and chance.random() < 0.5,
        queues=queues,
        workers=workers,
        concurrency=chance.choice([1, 2, 4, 8]),
        shared_concurrency=shared,
        rate_per_second=chance.choice([2.0, 10.0]) if rated else None,
        lease_seconds=lease,
        timeout_seconds=timeout,
        max_attempts=chance.choice([1, 3, 3, 4]),
        latency_seconds=chance.choice([0.001, 0.02, 0.1]),
        plans=plans,
        strikes=strikes(chance, workers, ends_at) if chance.random() < 0.85 else (),
    )


def _plans(
    chance: random.Random, count: int, queues: tuple[str, ...], kinds: list[str], slow: float
) -> tuple[Plan, ...]:
    spread = chance.choice([0.0, 1.0, 20.0])
    keys = chance.choice([1, 4, 1000])
    odd = chance.choice([0.0, 0.2, 0.6])
    plans = []
    for number in range(count):
        kind = chance.choice(kinds) if chance.random() < odd else "good"
        plans.append(
            Plan(
                at=round(chance.uniform(0.0, spread), 3),
                queue=chance.choice(queues),
                id=f"m{number}-{kind.replace(' ', '-')}",
                kind=kind,
                key=f"k{number % keys}" if chance.random() < 0.9 else None,
                seconds=slow if kind == "slow" else round(chance.choice([0.0, 0.0, 0.01, 0.3, 2.0]), 3),
                delay_seconds=round(chance.uniform(0.0, 8.0), 3) if chance.random() < 0.15 else None,
                expires_in=chance.choice([0.5, 4.0]) if kind == "stale" else None,
            )
        )
    return tuple(plans)
