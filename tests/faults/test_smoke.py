"""A short run of the fault harness on every broker that `make test` reaches, and the proof that it can see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from tests.faults.__main__ import report, run
from tests.faults.harness import Outcome, Plan
from tests.faults.subjects import ORDERED, SUBJECTS

WORKERS: Final = ("SIGKILL", "SIGSTOP beyond the lease", "SIGTERM")
SERVED: Final = (*WORKERS, "broker SIGKILLed", "broker out of memory", "half-open connections")
#: One of each that a run of a minute has room for; none = all there are.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "sqlite": (),
    "rabbitmq": (
        *SERVED,
        "cut during a publish",
        "cut before a confirm",
        "cut during a delivery",
        "cut before an ack",
        "cut after an ack",
        "silent from a confirm",
    ),
    "redis": (
        *SERVED,
        "cut during a send",
        "cut before the reply to a send",
        "cut during a delivery",
        "cut before a completion",
        "cut before the reply to a completion",
        "silent from the reply to a completion",
    ),
}


def judged(subject: str, plan: Plan) -> Outcome:
    title, outcome = run(subject, plan)
    print(report(title, plan, outcome))
    return outcome


@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_is_lost_when_workers_and_the_broker_fail(subject: str) -> None:
    kinds = KINDS[subject]
    plan = Plan(messages=3000, faults=max(10, len(kinds)), killers=2, seed=7, poison_share=0.02, kinds=kinds)
    verdict = judged(subject, plan).verdict
    assert not verdict.violations()
    assert verdict.flight.hits > 0
    assert verdict.sent == verdict.accepted == plan.messages


@pytest.mark.parametrize("subject", sorted(ORDERED))
def test_the_order_per_key_is_kept_when_workers_and_the_broker_fail(subject: str) -> None:
    plan = Plan(messages=3000, faults=10, killers=2, seed=7, poison_share=0.0, ordered=True, kinds=KINDS[subject][:10])
    verdict = judged(subject, plan).verdict
    assert not verdict.violations()
    assert verdict.flight.hits > 0
    assert verdict.sent == verdict.accepted == plan.messages


@pytest.mark.parametrize(
    ("plant", "seen_as"),
    [
        ("acknowledge_first", "lost"),
        ("lose_failures", "lost"),
        ("swallow_completions", "duplicated without a cause"),
        ("no_quarantine", "innocent dead"),
    ],
)
def test_the_checker_sees_a_planted_bug(plant: str, seen_as: str) -> None:
    plan = Plan(messages=1000, faults=4, killers=2, seed=3, poison_share=0.05, plant=plant, patience_seconds=30)
    assert judged("sqlite", plan).verdict.violations().get(seen_as)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killer_among_63_neighbours_is_the_only_dead_letter(subject: str, workers: int) -> None:
    verdict = judged(subject, Plan(messages=64, faults=0, killers=1, poison_share=0.0, seed=1, workers=workers)).verdict
    assert not verdict.violations()
    assert verdict.completed == 63
    assert verdict.dead_by_reason == {"crash-loop": 1}
