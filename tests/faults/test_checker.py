"""The checker on ledgers that are written by hand: what it must see, and what is no violation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.doubt import Doubt
from tests.faults.fleet import excesses
from tests.faults.histories import history
from tests.faults.ledger import Entry

SENT = (Entry(0.0, "intent", "m1_plain", "", "sender"), Entry(0.1, "acked", "m1_plain", "", "sender"))
#: An ordinary run of the only message.
RUN = ("start 1", "effect", "completed")


def told(at: float, *lines: str, process: str = "worker-1", id: str = "m1_plain") -> list[Entry]:
    """Lines of one process, a tenth of a second apart: kind and detail."""
    parts = [line.partition(" ") for line in lines]
    return [Entry(at + 0.1 * number, kind, id, rest, process) for number, (kind, _, rest) in enumerate(parts)]


def violations(
    *entries: Sequence[Entry], dead: Mapping[str, Sequence[str]] | None = None, remaining: int = 0, **more: Any
) -> dict[str, int]:
    ledger = sorted([*SENT, *(entry for some in entries for entry in some)], key=lambda entry: entry.at)
    wanted: dict[str, Any] = {"max_attempts": 3, "max_deliveries": 6, "ordered": False, **more}
    return check(ledger, dead or {}, remaining, **wanted).violations()


def test_one_run_of_each_message_is_all_that_is_wanted() -> None:
    assert violations(told(1, *RUN)) == {}


def test_what_was_accepted_and_not_seen_again_is_lost() -> None:
    assert violations() == {"lost": 1}


def test_what_nobody_sent_is_a_phantom() -> None:
    assert violations(told(1, *RUN), told(2, *RUN, id="m2_plain")) == {"phantom": 1}


def test_what_remains_is_stuck() -> None:
    assert violations(told(1, *RUN), remaining=1) == {"stuck": 1}


TWICE = [*told(1, *RUN), *told(3, *RUN)]
KILLED = [
    *told(1, "start 1", "effect"),
    *told(1.5, "fault SIGKILL", process="harness", id="1"),
    *told(3, *RUN, process="worker-2"),
]


def test_two_effects_without_a_fault_are_one_too_many() -> None:
    assert "duplicated without a cause" in violations(TWICE)


def test_two_effects_are_explained_by_a_death_in_between() -> None:
    assert violations(KILLED) == {}


def test_a_death_of_somebody_else_explains_nothing() -> None:
    other = told(1.5, "fault SIGKILL", process="harness", id="7")
    assert "duplicated without a cause" in violations(TWICE, other)


def test_what_is_given_back_after_its_lease_was_lost_settles_no_run_before() -> None:
    detached = told(1.15, "fault links detached by force", "back", "over", process="harness", id="broker")
    ledger = [*told(1, "start 1", "effect", "gone"), *told(5, "settled MessageReturned"), *told(6, *RUN)]
    assert violations(ledger, detached, doubt=Doubt(copies=True)) == {}


BROKER = told(1.5, "fault broker SIGKILLed", "back", "over", process="harness", id="broker")
LATER = told(2.5, "fault broker SIGKILLed", "back", "over", process="harness", id="broker")


@pytest.mark.parametrize(("fault", "is_doubtful"), [(BROKER, True), (LATER, False)], ids=["at once", "later"])
def test_a_completion_that_was_only_told_is_in_doubt_for_a_moment(fault: list[Entry], is_doubtful: bool) -> None:
    seen = violations(TWICE, fault, doubt=Doubt(copies=True, completions=True))
    assert ("duplicated without a cause" not in seen) == is_doubtful


def test_a_completion_that_was_confirmed_is_in_no_doubt() -> None:
    assert "duplicated without a cause" in violations(TWICE, BROKER, doubt=Doubt(copies=True))


@pytest.mark.parametrize("lived_seconds", [0.0, 2.0])
def test_a_completion_that_was_only_told_is_in_doubt_if_its_process_died_a_moment_later(lived_seconds: float) -> None:
    last = told(1.2 + lived_seconds, "log", process="worker-1", id="-")
    ledger = [*told(1, *RUN), *last, *told(5, *RUN, process="worker-2")]
    died_at_once = lived_seconds == 0.0
    told_only = Doubt(copies=True, completions=True)
    assert ("duplicated without a cause" not in violations(ledger, doubt=told_only)) == died_at_once
    assert "duplicated without a cause" in violations(ledger, doubt=Doubt(copies=True))


def test_an_answer_that_nobody_confirms_is_in_doubt_for_longer() -> None:
    before = told(0.8, "fault cut", "back", "over", process="harness", id="wire")
    assert violations(TWICE, before, doubt=Doubt(copies=True, answers_seconds=3.0)) == {}
    assert "duplicated without a cause" in violations(TWICE, before, doubt=Doubt(copies=True))


@pytest.mark.parametrize(
    ("first", "second", "is_explained"),
    [(2, 1, True), (2, 3, True), (1, 2, False), (1, 1, False)],
    ids=["overtaken", "one that nobody saw", "none", "none, and again"],
)
def test_a_try_that_was_given_up_on_its_way_may_arrive_all_the_same(
    first: int, second: int, is_explained: bool
) -> None:
    twice = [*told(1, f"start {first}", *RUN[1:]), *told(3, f"start {second}", *RUN[1:]), *told(5, "log", id="-")]
    push, pull = Doubt(copies=True, answers_seconds=0.01), Doubt(copies=True)
    assert ("duplicated without a cause" not in violations(twice, doubt=push)) == is_explained
    assert "duplicated without a cause" in violations(twice, doubt=pull)


def test_leases_that_end_early_put_what_is_completed_meanwhile_in_doubt() -> None:
    early = told(0.5, "fault leases that end early", process="harness", id="broker")
    over = told(2.0, "back", "over", process="harness", id="broker")
    assert violations(TWICE, early, over, doubt=Doubt(copies=True)) == {}


def test_more_starts_than_deliveries_are_over_delivered() -> None:
    starts = [f"start {attempt}" for attempt in range(1, 8)]
    assert violations(told(1, *starts, "effect", "completed")) == {"over-delivered": 1}


def test_a_good_message_must_not_die() -> None:
    dead = {"m1_plain": ["crash-loop"]}
    alone = told(2, "start 4", "start 5")
    assert violations(alone, dead=dead) == {"innocent dead": 1}


def test_a_good_message_may_die_when_a_fault_hit_each_run_that_it_had_alone() -> None:
    dead = {"m1_plain": ["crash-loop"]}
    hits = [
        *told(2, "start 4"),
        *told(2.5, "fault SIGKILL", process="harness", id="1"),
        *told(4, "start 5", process="worker-2"),
        *told(4.5, "fault SIGKILL", process="harness", id="2"),
    ]
    assert violations(hits, dead=dead) == {}


def test_a_run_that_begins_under_a_fault_is_hit_by_it() -> None:
    dead = {"m1_plain": ["crash-loop"]}
    before = told(1.9, "fault broker SIGKILLed", process="harness", id="broker")
    after = told(5.0, "back", "over", process="harness", id="broker")
    alone = told(2, "start 4", "gone")
    assert violations(alone, before, after, dead=dead) == {}
    assert violations(alone, told(1.0, "fault broker", "back", "over", process="harness", id="broker"), dead=dead) == {
        "innocent dead": 1
    }


def test_what_was_on_its_way_back_when_its_lease_was_lost_may_be_there_twice() -> None:
    lost = told(0.5, "settling", "gone", process="worker-2")
    assert "duplicated without a cause" not in violations(TWICE, lost, doubt=Doubt(copies=True))
    assert "duplicated without a cause" in violations(TWICE, lost)


@pytest.mark.parametrize(("end", "is_cut_short"), [((), True), (("settled MessageReturned",), False)])
def test_what_was_on_its_way_back_when_its_process_died_may_be_there_twice(
    end: tuple[str, ...], is_cut_short: bool
) -> None:
    """A copy is sent before its source is settled; a killer tells nobody how far that had come."""
    returned = [*told(0.2, "settling", *end, process="worker-2"), *told(2.0, "log", process="worker-2", id="-")]
    copies = Doubt(copies=True)
    assert ("duplicated without a cause" not in violations(TWICE, returned, doubt=copies)) == is_cut_short
    assert "duplicated without a cause" in violations(TWICE, doubt=copies)


def test_poison_ends_with_its_own_reason() -> None:
    poison = [entry._replace(id="m1_raise") for entry in SENT]
    assert violations(told(1, *RUN), poison, dead={"m1_raise": ["rejected"]}) == {"wrong end": 1}
    assert violations(told(1, *RUN), poison, dead={"m1_raise": ["exhausted"]}) == {}


def test_effects_of_one_key_are_in_the_order_of_sending() -> None:
    second = [entry._replace(id="m2_plain") for entry in SENT]
    mixed = [*told(1, "start 1", "effect k", "completed", id="m2_plain"), *told(2, "start 1", "effect k", "completed")]
    assert violations(second, mixed, ordered=True) == {"out of order": 1}


def test_work_that_is_slow_to_go_on_is_seen() -> None:
    fault = told(0.2, "fault broker SIGKILLed", "back", "over", process="harness", id="broker")
    assert violations(fault, told(9.0, *RUN)) == {}
    assert violations(fault, told(11.0, *RUN)) == {"slow to recover": 1}


def test_nothing_is_started_after_the_signal() -> None:
    signal = told(0.5, "signal", process="worker-1", id="-")
    assert violations(told(2.0, *RUN), signal) == {"started after the signal": 1}


@pytest.mark.parametrize(("at", "is_late"), [(1.25, False), (1.55, True)])
def test_a_signal_does_not_get_through_to_a_loop_that_is_blocked(at: float, is_late: bool) -> None:
    rude, told_it = "m2_block-loop", told(0.5, "signal", process="worker-1", id="-")
    accepted = [entry._replace(id=rude) for entry in SENT]
    blocking = [*told(0.25, *RUN, id=rude)[:1], *told(0.55, *RUN, id=rude)[1:]]
    seen = violations(accepted, blocking, told(at, *RUN), told_it)
    assert seen == ({"started after the signal": 1} if is_late else {})


def test_a_history_tells_the_way_of_a_message_and_the_faults_around_it() -> None:
    far = told(90.0, "fault SIGKILL", process="harness", id="9")
    lines = history(sorted([*SENT, *KILLED, *told(1.2, *RUN, id="m2_plain"), *far], key=lambda one: one.at), "m1_plain")
    assert [line.split()[2:] for line in lines] == [
        ["sender", "intent"],
        ["sender", "acked"],
        ["worker-1", "start", "1"],
        ["worker-1", "effect"],
        ["harness", "fault", "1", "SIGKILL"],
        ["worker-2", "start", "1"],
        ["worker-2", "effect"],
        ["worker-2", "completed"],
    ]
    assert history(KILLED, "m9_plain") == []


# A rate of all workers together


def paced(at: float, count: int, per_second: float, process: str) -> list[Entry]:
    """Starts in even steps."""
    return [Entry(at + n / per_second, "start", f"{process}-{n}_good", "1", process) for n in range(count)]


def answered(at: float, process: str) -> Entry:
    return Entry(at, "answer", "store", "0.002", process)


def away(since: float, until: float) -> list[Entry]:
    """The store, which is the broker."""
    name = "broker SIGKILLed"
    return [
        Entry(since, "fault", "broker", name, "harness"),
        Entry(until, "back", "broker", name, "harness"),
        Entry(until, "over", "broker", name, "harness"),
    ]


def above(*entries: Entry | Sequence[Entry]) -> list[str]:
    ledger = [one for some in entries for one in ([some] if isinstance(some, Entry) else some)]
    return excesses(sorted(ledger, key=lambda entry: entry.at), 40.0)


BOTH = (answered(1.0, "worker-1"), answered(1.01, "worker-2"), answered(1.1, "worker-1"))
ALONE = (Entry(3.0, "alone", "rate", "", "worker-1"), Entry(3.0, "alone", "rate", "", "worker-2"))


def test_two_workers_at_half_the_rate_each_keep_to_it() -> None:
    assert above(BOTH, paced(1.2, 200, 20.0, "worker-1"), paced(1.2, 200, 20.0, "worker-2")) == []


def test_two_workers_at_the_whole_rate_each_are_above_it() -> None:
    [wrong, _] = above(BOTH, paced(1.2, 200, 40.0, "worker-1"), paced(1.2, 200, 40.0, "worker-2"))
    assert "starts above 40/s" in wrong


def test_without_the_store_a_worker_may_have_its_half_and_not_the_whole() -> None:
    assert above(BOTH, away(2.0, 9.0), ALONE, paced(3.1, 80, 20.0, "worker-1")) == []
    [wrong] = above(BOTH, away(2.0, 9.0), ALONE, paced(3.1, 80, 40.0, "worker-1"))
    assert "above its share of 20/s" in wrong


def test_who_was_never_answered_may_start_nothing() -> None:
    [wrong] = above(BOTH, away(2.0, 9.0), ALONE, paced(3.1, 1, 1.0, "worker-3"))
    assert "had never answered" in wrong


def test_a_worker_that_keeps_to_its_share_long_after_the_store_is_back_is_found() -> None:
    assert above(BOTH, away(2.0, 4.0), ALONE, paced(13.9, 1, 1.0, "worker-1")) == []
    [wrong] = above(BOTH, away(2.0, 4.0), ALONE, paced(14.1, 1, 1.0, "worker-1"))
    assert "though the store is back" in wrong
