"""What becomes of a delivery: every row of the table, and what hostile outcomes make of it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leveler.adapter import Abandon, Capabilities, DeadLetter, Delivery
from leveler.consumer.decision import Decision, Park, Rules, decide, on_arrival, starts_alone
from leveler.errors import UnknownType
from leveler.message import MAX_DETAIL_BYTES, Death, Message
from leveler.outcome import Completed, Failed, Outcome, Reject, Retry, Snooze, Stopped, Throttled, Undecodable
from leveler.retry import DAY_SECONDS, RetryPolicy

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CAN = Capabilities(scope="process", durable=False, max_message_bytes=1 << 20, max_batch=10)
POLICY = RetryPolicy(max_attempts=3, initial_seconds=10, jitter="none", floor_seconds=0.5, max_age_seconds=1000)
TEN_YEARS = 10 * 365 * DAY_SECONDS


def can(**changes: Any) -> Capabilities:
    return Capabilities(scope="process", durable=False, max_message_bytes=1 << 20, max_batch=10, **changes)


def rules(able: Capabilities = CAN, retry: RetryPolicy = POLICY, max_deliveries: int = 6) -> Rules:
    return Rules(queue="orders", retry=retry, max_deliveries=max_deliveries, can=able)


def delivery(attempt: int = 1, age: float = 0.0, **attributes: Any) -> Delivery:
    message = Message(id="1", body=b"7", time=NOW - timedelta(seconds=age), **attributes)
    return Delivery(message, attempt, leased_until=30.0, receipt=None)


def decided(outcome: Outcome, one: Delivery, by: Rules | None = None) -> Decision:
    return decide(outcome, one, by or rules(), NOW, random.Random(1))


def death(decision: Decision | None) -> Death:
    assert isinstance(decision, DeadLetter)
    return decision.death


def shown(decision: Decision) -> str:
    """A decision in one line, so that a table can be read."""
    if isinstance(decision, DeadLetter):
        return decision.death.reason
    if isinstance(decision, Park):
        return f"park {decision.delay_seconds:g}"
    if isinstance(decision, Abandon):
        return f"{'back' if decision.counted else 'uncounted'} {decision.delay_seconds:g}"
    return "complete"


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Halfmade(Snooze):
    def __init__(self) -> None:
        """Forgets to call its parent."""


@pytest.mark.parametrize(
    ("outcome", "attempt", "age", "expected"),
    [
        (Completed(), 1, 0, "complete"),
        (Completed(), 9, 9999, "complete"),
        (Retry(), 1, 0, "back 10"),
        (Retry(), 2, 0, "back 20"),
        (Retry(), 3, 0, "exhausted"),
        (Retry(after=7), 2, 0, "back 7"),
        (Retry(after=0), 1, 0, "back 0.5"),
        (Retry(after=7), 3, 0, "exhausted"),
        (Retry(after=7), 1, 1000, "expired"),
        (Failed(ValueError()), 1, 999, "back 10"),
        (Failed(ValueError()), 2, 1000, "expired"),
        (Failed(ValueError()), 3, 0, "exhausted"),
        (Failed(UnknownType()), 2, 0, "back 20"),
        (Failed(UnknownType()), 3, 0, "unknown-type"),
        (Throttled(after=60), 1, 0, "uncounted 60"),
        (Throttled(after=60), 9, 940, "uncounted 60"),
        (Throttled(after=60), 1, 941, "expired"),
        (Throttled(), 2, 0, "uncounted 20"),
        (Throttled(after=0), 1, 0, "uncounted 0.5"),
        (Snooze(60), 9, 940, "uncounted 60"),
        (Snooze(60), 1, 941, "expired"),
        (Snooze(0), 1, 0, "uncounted 0.5"),
        (Reject("no such order"), 1, 0, "rejected"),
        (Undecodable(ValueError()), 1, 0, "undecodable"),
        (Stopped(), 3, 9999, "back 0"),
        (Outcome(), 1, 0, "rejected"),
    ],
)
def test_each_outcome_has_its_end(outcome: Outcome, attempt: int, age: float, expected: str) -> None:
    assert shown(decided(outcome, delivery(attempt, age))) == expected


def test_the_decision_is_about_the_very_delivery_that_it_was_asked_for() -> None:
    one = delivery()
    assert decided(Completed(), one) is one
    for outcome in (Retry(), Snooze(1), Reject("no")):
        decision = decided(outcome, one)
        assert isinstance(decision, Abandon | DeadLetter)
        assert decision.delivery is one


def test_an_error_that_never_heals_is_rejected_at_its_first_attempt() -> None:
    never = rules(retry=RetryPolicy(give_up_on=(LookupError,)))
    assert shown(decided(Failed(KeyError("id")), delivery(), never)) == "rejected"
    assert shown(decided(Failed(ValueError("id")), delivery(), never)).startswith("back")


def test_what_a_retry_was_raised_from_is_the_error_that_the_policy_judges() -> None:
    retry = Retry(after=5)
    retry.__cause__ = KeyError("id")
    dead = death(decided(retry, delivery(), rules(retry=RetryPolicy(give_up_on=(KeyError,)))))
    assert (dead.reason, dead.error_type, dead.detail) == ("rejected", "KeyError", "'id'")


def test_an_outcome_class_that_was_made_wrongly_is_a_failure_like_any_other() -> None:
    assert shown(decided(Halfmade(), delivery())) == "back 10"
    assert death(decided(Halfmade(), delivery(3))).error_type == "AttributeError"


def test_no_delay_is_longer_than_the_broker_takes() -> None:
    brief = rules(can(max_abandon_seconds=15.0))
    assert shown(decided(Retry(), delivery(2), brief)) == "back 15"
    assert shown(decided(Snooze(99), delivery(), brief)) == "uncounted 15"


def test_a_delay_without_end_becomes_one_that_a_calendar_has() -> None:
    endless = rules(retry=RetryPolicy(max_age_seconds=float("inf")))
    for outcome in (Retry(after=float("inf")), Snooze(float("inf"))):
        decision = decided(outcome, delivery(), endless)
        assert isinstance(decision, Abandon)
        assert decision.delay_seconds == TEN_YEARS


# Brokers that cannot give back without counting.


@pytest.mark.parametrize(
    ("able", "delay", "expected"),
    [
        (can(uncounted="native"), 60, "uncounted 60"),
        (can(uncounted="copy"), 60, "uncounted 60"),
        (can(uncounted="none"), 60, "park 60"),
        (can(uncounted="none", max_lease_seconds=120.0), 59, "park 59"),
        (can(uncounted="none", max_lease_seconds=120.0), 60, "back 60"),
        (can(uncounted="none", extend=False), 60, "back 60"),
        (can(uncounted="none", extend=False, max_abandon_seconds=30.0), 60, "back 30"),
    ],
)
def test_what_is_not_to_count_is_parked_where_it_would_and_counted_only_as_a_last_resort(
    able: Capabilities, delay: float, expected: str
) -> None:
    assert shown(decided(Snooze(delay), delivery(), rules(able))) == expected
    assert shown(decided(Throttled(delay), delivery(), rules(able))) == expected


def test_a_failure_is_never_parked() -> None:
    assert shown(decided(Retry(), delivery(), rules(can(uncounted="none")))) == "back 10"


@pytest.mark.parametrize(("uncounted", "counted"), [("native", False), ("copy", False), ("none", True)])
def test_what_was_never_started_goes_back_at_once(uncounted: str, counted: bool) -> None:
    one = delivery()
    assert rules(can(uncounted=uncounted)).give_back_unstarted(one) == Abandon(one, 0.0, counted)


# On arrival.


def test_a_delivery_may_start_when_nothing_speaks_against_it() -> None:
    assert on_arrival(delivery(), rules(), NOW) is None
    assert on_arrival(delivery(attempt=6), rules(), NOW) is None
    assert on_arrival(delivery(expires_at=NOW + timedelta(seconds=1)), rules(), NOW) is None


def test_a_delivery_that_came_too_often_is_a_crash_loop() -> None:
    dead = death(on_arrival(delivery(attempt=7), rules(), NOW))
    assert (dead.reason, dead.attempts, dead.detail) == (
        "crash-loop", 7, "delivered 7 times, of which at most 3 may have failed",
    )  # fmt: skip


def test_a_delivery_is_expired_from_the_moment_that_its_message_names() -> None:
    dead = death(on_arrival(delivery(expires_at=NOW), rules(), NOW))
    assert (dead.reason, dead.detail) == ("expired", "expires_at was 2030-01-01T00:00:00+00:00")


def test_a_delivery_that_came_early_waits_for_the_rest_of_its_delay_without_counting() -> None:
    early = delivery(not_before=NOW + timedelta(seconds=90))
    assert on_arrival(early, rules(), NOW) == Abandon(early, 90.0, counted=False)
    assert on_arrival(early, rules(can(uncounted="none")), NOW) == Park(early, 90.0)


def test_a_delivery_that_is_early_by_no_more_than_two_clocks_differ_may_start() -> None:
    assert on_arrival(delivery(not_before=NOW + timedelta(milliseconds=50)), rules(), NOW) is None
    assert on_arrival(delivery(not_before=NOW + timedelta(milliseconds=51)), rules(), NOW) is not None


def test_a_message_that_is_both_expired_and_early_is_dead() -> None:
    both = delivery(expires_at=NOW, not_before=NOW + timedelta(hours=1))
    assert death(on_arrival(both, rules(), NOW)).reason == "expired"


def test_where_starts_alone_are_marked_nothing_else_makes_a_crash_loop() -> None:
    """However often it was delivered. As many may end their process as there may be deliveries above max_attempts."""
    marked = rules(can(solos="marked"))
    assert on_arrival(delivery(attempt=100), marked, NOW) is None
    assert on_arrival(delivery(attempt=6, solos=2), marked, NOW) is None
    assert death(on_arrival(delivery(attempt=6, solos=3), marked, NOW)).reason == "crash-loop"
    none_alone = rules(can(solos="marked"), max_deliveries=3)
    assert on_arrival(delivery(attempt=3), none_alone, NOW) is None
    assert death(on_arrival(delivery(attempt=4), none_alone, NOW)).reason == "crash-loop"


def test_a_delivery_starts_alone_once_it_came_more_often_than_it_may_be_started() -> None:
    assert [starts_alone(delivery(attempt), rules()) for attempt in (1, 3, 4, 6)] == [False, False, True, True]


# What a dead letter says.


def test_a_death_says_what_failed_where_how_often_and_when() -> None:
    failed_at = NOW - timedelta(minutes=5)
    dead = death(decided(Failed(ValueError("no stock")), delivery(3, failed_at=failed_at)))
    assert dead == Death(
        reason="exhausted",
        error_type="ValueError",
        detail="no stock",
        attempts=3,
        queue="orders",
        first_failed_at=failed_at,
        last_failed_at=NOW,
    )


def test_the_first_failure_of_a_message_that_never_failed_before_is_now() -> None:
    assert death(decided(Reject("no"), delivery())).first_failed_at == NOW


def test_a_rejection_keeps_its_reason_and_the_name_of_what_caused_it() -> None:
    reject = Reject("no such order")
    reject.__cause__ = KeyError("42")
    dead = death(decided(reject, delivery()))
    assert (dead.detail, dead.error_type) == ("no such order", "KeyError")


def test_a_death_without_an_error_says_what_was_asked_for() -> None:
    dead = death(decided(Retry(after=7), delivery(3)))
    assert (dead.error_type, dead.detail) == ("", "retry after 7.0 s")


def test_a_death_by_age_says_how_old_it_was_and_how_old_it_might_be() -> None:
    dead = death(decided(Throttled(60, downstream="bank"), delivery(age=990)))
    assert dead.detail == "throttled by bank; 990 s old, max_age is 1000 s"


def test_the_age_counts_from_when_the_message_was_ready() -> None:
    old = delivery(age=5000, ready_at=NOW - timedelta(seconds=10))
    assert shown(decided(Retry(), old)) == "back 10"


@pytest.mark.parametrize("letter", ["x", "ü", "😀", "\ud800"])
def test_the_detail_is_bounded_in_bytes_and_still_text(letter: str) -> None:
    detail = death(decided(Reject(letter * 5000), delivery())).detail
    assert MAX_DETAIL_BYTES - 6 <= len(detail.encode()) <= MAX_DETAIL_BYTES
    assert detail.endswith("…")


def test_a_class_name_of_any_length_is_cut() -> None:
    error = type("E" * 5000, (Exception,), {})()
    assert len(death(decided(Failed(error), delivery(3))).error_type.encode()) <= 200


def test_an_error_without_a_readable_text_is_dead_lettered_all_the_same() -> None:
    dead = death(decided(Failed(Unreadable()), delivery(3)))
    assert (dead.error_type, dead.detail) == (
        "Unreadable", "<text of a Unreadable cannot be read: RuntimeError>",
    )  # fmt: skip


def test_a_reason_that_is_no_text_is_written_as_one() -> None:
    assert death(decided(Reject(42), delivery())).detail == "42"  # type: ignore[arg-type]
    assert death(decided(Reject(Unreadable()), delivery())).reason == "rejected"  # type: ignore[arg-type]


def decided_while_down(outcome: Outcome, one: Delivery, down_seconds: float) -> Decision:
    return decide(outcome, one, rules(), NOW, random.Random(0), down_seconds=down_seconds)


def test_the_last_attempt_is_not_spent_on_a_downstream_that_is_down() -> None:
    last, before = delivery(POLICY.max_attempts), delivery(POLICY.max_attempts - 1)
    assert isinstance(decided(Retry(), last), DeadLetter)
    spared = decided_while_down(Retry(), last, 0.0)
    assert isinstance(spared, Abandon)
    assert not spared.counted
    counted = decided_while_down(Retry(), before, 0.0)
    assert isinstance(counted, Abandon)
    assert counted.counted


def test_the_longer_a_downstream_is_down_the_later_comes_back_what_may_be_at_fault_itself() -> None:
    for down_seconds in (50.0, 200.0, 10_000.0):
        spared = decided_while_down(Failed(ValueError()), delivery(POLICY.max_attempts), down_seconds)
        assert isinstance(spared, Abandon)
        assert min(down_seconds, POLICY.cap_seconds) <= spared.delay_seconds <= POLICY.cap_seconds


def test_an_outage_spares_nothing_that_dies_of_something_else() -> None:
    old = POLICY.max_age_seconds + 1
    assert death(decided_while_down(Retry(), delivery(1, old), 1.0)).reason == "expired"
    assert death(decided_while_down(Reject("no"), delivery(1), 1.0)).reason == "rejected"
