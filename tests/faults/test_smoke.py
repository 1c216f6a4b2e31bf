"""A short run of the fault harness on every broker that `make test` reaches, and the proof that it can see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pytest

from tests.faults.__main__ import report, run
from tests.faults.harness import Outcome, Plan
from tests.faults.load import kind_of
from tests.faults.subjects import ORDERED, SUBJECTS

#: One of each that a run of less than a minute has room for; none = all there are.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "sqlite": (),
    "rabbitmq": (
        "SIGKILL",
        "SIGTERM",
        "broker SIGKILLed",
        "broker out of memory",
        "half-open connections",
        "cut during a publish",
        "cut before a confirm",
        "cut during a delivery",
        "cut before an ack",
    ),
    "redis": (
        "SIGKILL",
        "SIGTERM",
        "broker SIGKILLed",
        "broker out of memory",
        "all connections reset",
        "cut during a send",
        "cut before the reply to a send",
        "cut during a delivery",
        "cut before the reply to a completion",
    ),
    "cloudtasks": (
        "SIGKILL",
        "SIGTERM",
        "emulator restarted from its file",
        "duplicate dispatch",
        "cut after a delivery",
        "cut before an answer",
        "silent from an answer",
    ),
    "servicebus": (
        "SIGKILL",
        "broker SIGKILLed",
        "links detached by force",
        "cut during a send",
        "cut before the reply to a send",
        "cut before the reply to a settlement",
        "cut during a delivery",
    ),
    "storagequeue": (
        "SIGKILL",
        "SIGTERM",
        "broker SIGTERMed",
        "all connections reset",
        "cut during a send",
        "cut before the reply to a send",
        "cut before the reply to a completion",
        "cut before the reply to a renewal or give-back",
    ),
    "sqs": (
        "SIGKILL",
        "SIGTERM",
        "endpoint down",
        "throttled",
        "half of each batch refused",
        "leases that end early",
        "all connections reset",
        "cut before the answer to a send",
        "cut before the answer to a completion",
    ),
}
#: One HTTP request for each delivery takes its time, and so do emulators.
MESSAGES: Final[Mapping[str, int]] = {"cloudtasks": 1000, "servicebus": 1500, "sqs": 1000, "storagequeue": 800}
#: What the proof needs: a bug, the faults that bring it out on a broker, and what it is seen as.
PLANTED: Final = [
    ("sqlite", "acknowledge_first", (), "lost"),
    ("sqlite", "lose_failures", (), "lost"),
    ("sqlite", "swallow_completions", (), "duplicated without a cause"),
    ("sqlite", "no_quarantine", (), "innocent dead"),
    ("redis", "forget_unknown_sends", ("cut before a send",), "lost"),
    ("redis", "call_unknown_sends_refused", ("cut before the reply to a send",), "duplicated without a cause"),
    ("redis", "believe_in_completions", ("cut before a completion",), "duplicated without a cause"),
    ("servicebus", "believe_in_completions", ("cut before a settlement",), "duplicated without a cause"),
    ("rabbitmq", "forget_unknown_sends", ("cut before a publish",), "lost"),
    ("rabbitmq", "call_unknown_sends_refused", ("cut before a confirm",), "duplicated without a cause"),
    ("rabbitmq", "believe_in_completions", ("cut before an ack",), "duplicated without a cause"),
    ("cloudtasks", "acknowledge_first", ("SIGKILL",), "lost"),
    ("rabbitmq", "never_come_back", ("all connections reset",), "stuck"),
    ("sqs", "believe_in_parts", ("half of each batch refused",), "lost"),
    ("sqs", "call_unknown_sends_refused", ("cut before the answer to a send",), "duplicated without a cause"),
    ("sqs", "believe_in_completions", ("cut before a completion",), "duplicated without a cause"),
]


def judged(subject: str, plan: Plan) -> Outcome:
    title, outcome = run(subject, plan)
    print(report(title, plan, outcome))
    return outcome


@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_is_lost_when_workers_and_the_broker_fail(subject: str) -> None:
    kinds = KINDS[subject]
    messages = MESSAGES.get(subject, 3000)
    plan = Plan(
        messages=messages,
        faults=len(kinds) or 10,
        killers=2,
        seed=7,
        poison_share=0.02,
        kinds=kinds,
    )
    verdict = judged(subject, plan).verdict
    assert not verdict.violations()
    assert verdict.flight.hits + verdict.flight.at_risk > 0
    assert verdict.sent == verdict.accepted == plan.messages


@pytest.mark.parametrize("subject", sorted(ORDERED))
def test_the_order_per_key_is_kept_when_workers_and_the_broker_fail(subject: str) -> None:
    takes_long = subject == "servicebus"  # a key is a session, with a link of its own; the whole run: --ordered
    plan = Plan(
        messages=300 if takes_long else MESSAGES.get(subject, 3000),
        faults=4 if takes_long else 6,
        killers=0 if takes_long else 1,
        seed=7,
        poison_share=0.0,
        ordered=True,
        kinds=KINDS[subject],
    )
    verdict = judged(subject, plan).verdict
    assert not verdict.violations()
    assert verdict.flight.hits + verdict.flight.at_risk > 0
    assert verdict.sent == verdict.accepted == plan.messages


@pytest.mark.parametrize(("subject", "plant", "kinds", "seen_as"), PLANTED)
def test_the_checker_sees_a_planted_bug(subject: str, plant: str, kinds: tuple[str, ...], seen_as: str) -> None:
    if kinds:
        plan = Plan(messages=600, faults=3, killers=0, seed=3, poison_share=0.0, kinds=kinds, patience_seconds=8)
    else:
        plan = Plan(messages=1000, faults=4, killers=2, seed=3, poison_share=0.05, patience_seconds=30)
    assert judged(subject, replace(plan, plant=plant)).verdict.violations().get(seen_as)


@pytest.mark.parametrize(("subject", "workers"), [("sqlite", 1), ("sqlite", 2), ("rabbitmq", 2), ("redis", 2)])
def test_a_killer_among_63_neighbours_is_the_only_dead_letter(subject: str, workers: int) -> None:
    verdict = judged(subject, Plan(messages=64, faults=0, killers=1, poison_share=0.0, seed=1, workers=workers)).verdict
    assert not verdict.violations()
    assert verdict.completed == 63
    assert verdict.dead_by_reason == {"crash-loop": 1}


def test_a_handler_longer_than_a_lease_that_nobody_renews_is_tried_a_bounded_number_of_times() -> None:
    """With renewal the same handlers complete at the first try: they are among the messages of every run above."""
    plan = Plan(messages=200, faults=0, killers=0, seed=5, poison_share=0.1, plant="renew_nothing")
    verdict = judged("sqlite", plan).verdict
    assert set(verdict.violations()) == {"innocent dead"}
    long = {id for id in (*verdict.innocent_dead, *verdict.unlucky) if kind_of(id) == "long"}
    assert long
    assert long == {*verdict.innocent_dead, *verdict.unlucky}
    assert verdict.completed + verdict.dead == plan.messages
