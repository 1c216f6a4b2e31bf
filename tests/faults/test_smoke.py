"""A short run of the fault harness on every broker that `make test` reaches, and the proof that it can see."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import report, run
from tests.faults.harness import Plan
from tests.faults.subject import SUBJECTS


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("ordered", [False, True], ids=["any order", "ordered"])
def test_nothing_is_lost_when_workers_and_the_broker_fail(subject: str, ordered: bool) -> None:
    plan = Plan(messages=3000, faults=10, killers=2, seed=7, poison_share=0.0 if ordered else 0.02, ordered=ordered)
    outcome = run(subject, plan)
    print(report(subject, plan, outcome))
    assert not outcome.verdict.violations()
    assert outcome.verdict.faults_in_flight > 0
    assert outcome.verdict.sent == outcome.verdict.accepted == plan.messages


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
    outcome = run("sqlite", plan)
    assert outcome.verdict.violations().get(seen_as), report("sqlite", plan, outcome)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killer_among_63_neighbours_is_the_only_dead_letter(subject: str, workers: int) -> None:
    outcome = run(subject, Plan(messages=64, faults=0, killers=1, poison_share=0.0, seed=1, workers=workers))
    print(outcome.verdict)
    assert not outcome.verdict.violations()
    assert outcome.verdict.completed == 63
    assert outcome.verdict.dead_by_reason == {"crash-loop": 1}
