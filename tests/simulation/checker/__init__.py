"""The checker: what the ledger must say when all is over. One small function a promise; each gives what breaks it.

A delivery that a fault has touched may have had any end that a promise allows: it may be lost, be run again, be
counted. What none has touched must have gone as if there were no faults in the world.

    ends.py       lost, phantom, stuck, ended once
    causes.py     every end, every run and every attempt has a cause that the promises know
    sequence.py   order per key, no two runs of one message at once
    limits.py     concurrency, rate, quarantine, delays, the stop
    fleet.py      the rate that all workers have together
    honesty.py    what leveler counts and tells is what happened; what it may not do
    calm.py       where nothing goes wrong, everything is exact
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tests.simulation.checker import calm, causes, ends, fleet, honesty, limits, sequence
from tests.simulation.outcome import Outcome

Promise = Callable[[Outcome], Iterable[str]]

PROMISES: Final[tuple[Promise, ...]] = (
    ends.nothing_accepted_is_lost,
    ends.nothing_is_seen_that_was_not_sent,
    ends.nothing_is_stuck,
    ends.what_was_taken_once_ends_once,
    ends.the_dead_letters_are_where_they_belong,
    causes.a_completion_follows_an_effect,
    causes.an_effect_is_followed_by_its_completion,
    causes.what_is_given_back_was_due_to_be,
    causes.what_is_dead_had_to_die,
    causes.nothing_is_left_to_its_lease,
    causes.a_delivery_is_started_once,
    causes.a_run_begins_within_its_lease,
    causes.attempts_are_counted_by_the_broker,
    sequence.a_key_is_handled_in_order,
    sequence.a_message_is_run_once_at_a_time,
    limits.no_more_run_at_once_than_allowed,
    limits.no_more_start_than_the_rate,
    limits.a_suspect_runs_alone,
    limits.nothing_starts_after_the_stop,
    limits.nothing_comes_early,
    fleet.the_fleet_starts_no_more_than_its_rate,
    fleet.who_does_not_hear_from_the_store_keeps_to_its_share,
    fleet.who_does_not_hear_from_the_store_asks_again,
    fleet.starts_go_on,
    fleet.the_whole_rate_is_used,
    honesty.nobody_does_what_nobody_may,
    honesty.a_stop_ends,
    honesty.a_stop_settles_or_says_what_it_left,
    honesty.the_counters_are_right,
    calm.all_is_exact_where_nothing_goes_wrong,
)


def check(outcome: Outcome) -> list[str]:
    """What is wrong, one line each; nothing, if all is well."""
    return [f"{promise.__name__}: {wrong}" for promise in PROMISES for wrong in promise(outcome)]
