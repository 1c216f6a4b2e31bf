"""Ends: what became of every message, in the sense of Jepsen's total-queue."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.outcome import Outcome


def nothing_accepted_is_lost(outcome: Outcome) -> Iterator[str]:
    for order in outcome.ledger.orders.values():
        if order.acknowledged and not order.ends:
            yield f"{order.id} was neither completed nor dead-lettered"
    if len(outcome.ledger.orders) < len(outcome.scenario.plans):
        yield "not everything was sent"


def nothing_is_seen_that_was_not_sent(outcome: Outcome) -> Iterator[str]:
    yield from outcome.ledger.phantoms


def nothing_is_stuck(outcome: Outcome) -> Iterator[str]:
    if outcome.stuck:
        yield f"{outcome.stuck} messages are still there"


def what_was_taken_once_ends_once(outcome: Outcome) -> Iterator[str]:
    """Completed xor dead-lettered, and once. What was sent again for want of an answer may be there twice."""
    for order in outcome.ledger.orders.values():
        if len(order.ends) > len(order.taken):
            verbs = [one.end.verb for one in order.ends if one.end]
            yield f"{order.id} was taken {len(order.taken)} times and ended as {verbs}"
        if not outcome.can.dedup_seconds and len(order.ends) < len(order.taken):
            yield f"{order.id} was taken {len(order.taken)} times and ended {len(order.ends)} times"


def the_dead_letters_are_where_they_belong(outcome: Outcome) -> Iterator[str]:
    for order in outcome.ledger.orders.values():
        died = sorted(one.end.reason for one in order.ends if one.end and one.end.verb == "dead_letter")
        found = sorted(outcome.dead.get(order.id, []))
        if died != found:
            yield f"{order.id} was dead-lettered as {died}, and its dead letters are {found}"
    for id in outcome.dead.keys() - outcome.ledger.orders.keys():
        yield f"{id} is dead and was never sent"
