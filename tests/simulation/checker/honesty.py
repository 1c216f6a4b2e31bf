"""Honesty: what leveler counts and says is what happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, fields

from leveler.consumer.report import Tally
from tests.simulation.outcome import Outcome
from tests.simulation.worker import Worker


def nobody_does_what_nobody_may(outcome: Outcome) -> Iterator[str]:
    """The contract's orders to the core, and errors that nobody heard of."""
    yield from outcome.ledger.breaches
    yield from (f"unheard: {error}" for error in outcome.unheard)


def a_stop_ends(outcome: Outcome) -> Iterator[str]:
    yield from (f"{worker.name} has not ended" for worker in outcome.workers if worker.overdue)


def a_stop_settles_or_says_what_it_left(outcome: Outcome) -> Iterator[str]:
    for worker in outcome.workers:
        if worker.error is not None:
            yield f"{worker.name} ended with {worker.error!r}"
        elif worker.left is not None:
            held = [one for one in outcome.ledger.held(worker.name) if one.heard and not one.touched]
            if len(held) > worker.left:
                yield f"{worker.name} said that it left {worker.left}, and left {', '.join(map(str, held))}"


def the_counters_are_right(outcome: Outcome) -> Iterator[str]:
    """Of every worker that lived to its end, whatever went wrong."""
    for worker in outcome.workers:
        if worker.left is None:
            continue
        tally, told = total(worker), worker.eye.told
        runs = sum(len(one.runs) for one in outcome.ledger.handouts if one.process == worker.name)
        for name, counted, happened in (
            ("started", tally.started, runs),
            ("completed", tally.completed, told["complete"]),
            ("dead-lettered", tally.dead_lettered, told["dead_letter"]),
            ("given back counted", tally.retried + tally.returned_counted, told["abandon"]),
            ("given back uncounted", tally.returned, told["abandon uncounted"]),
        ):
            if counted != happened:
                yield f"{worker.name} says {name} {counted}, and it was {happened}"


def total(worker: Worker) -> Tally:
    """What its consumers have counted together."""
    counts = zip(*(astuple(tally) for tally in worker.tally.values()), strict=True)
    return Tally(**{field.name: sum(count) for field, count in zip(fields(Tally), counts, strict=True)})
