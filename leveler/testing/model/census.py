"""Census: whether `depth` and `peek` tell what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from leveler.adapter import Depth
from leveler.message import Message
from leveler.testing.model.item import Item
from leveler.testing.model.moment import TOLERANCE_SECONDS, Moment
from leveler.testing.model.reference import Reference
from leveler.testing.model.violation import Violation, check


class Range(NamedTuple):
    """How many there may be."""

    least: int
    most: int


def check_depth(reference: Reference, depth: Depth, at: Moment) -> None:
    """Every figure that is known is right, if exact ones are claimed; if none are, there are none."""
    reference.catch_up(at)
    claimed = reference.can.depth
    if claimed == "none":
        check(depth[:4] == (None, None, None, None), f"depth: none is claimed, and it says {depth}")
    if claimed != "exact" or not reference.terms.strict:
        return
    for name, due in counts(reference, at).items():
        found = getattr(depth, name)
        if found is not None:
            check(due.least <= found <= due.most, f"depth: {name} is {found}, and {due} is due; {depth}")
    _check_age(reference, depth, at)


def counts(reference: Reference, at: Moment) -> dict[str, Range]:
    """How many are ready, leased, delayed and dead."""
    found = {"ready": Range(0, 0), "leased": Range(0, 0), "delayed": Range(0, 0), "dead": Range(0, 0)}
    for item in reference.items:
        states = _states(reference, item, at)
        for state in states:
            least, most = found[state]
            surely = len(states) == 1 and not item.doubtful
            found[state] = Range(least + surely, most + 1)
    return found


def check_peek(reference: Reference, messages: Sequence[Message], limit: int, dead: bool, at: Moment) -> None:
    """Waiting messages as they are, each once, those of one key in order, and all that there is room for."""
    reference.catch_up(at)
    check(len(messages) <= limit, f"peek: {len(messages)} where {limit} were asked for")
    seen: list[Item] = []
    for message in messages:
        item = _shown(reference, message, dead, at, seen)
        reference.terms.check_message(item, message)
        seen.append(item)
        _check_line(reference, item, seen)
    surely = sum(item.dead == dead and item.hold is None and _is_surely_due(item, at) for item in reference.items)
    if reference.terms.strict:
        check(len(messages) >= min(limit, surely), f"peek: {len(messages)} of {surely} that wait")


def _states(reference: Reference, item: Item, at: Moment) -> Sequence[str]:
    """Which of them it may be in."""
    if item.dead:
        return ("dead",)
    if item.is_held(at):
        return ("leased",)
    if item.hold is not None:
        return ("leased", "ready")
    if reference.is_blocked(item):
        return ("ready", "delayed")  # due, but nobody may have it
    if _is_surely_due(item, at):
        return ("ready",)
    return ("delayed",) if at.is_before(item.due.earliest) else ("ready", "delayed", "leased")


def _is_surely_due(item: Item, at: Moment) -> bool:
    return at.is_past(item.due.latest) and not item.doubtful


def _check_age(reference: Reference, depth: Depth, at: Moment) -> None:
    age = depth.oldest_age_seconds
    if age is None or depth.ready is None:
        return
    if depth.ready == 0:
        check(age == 0, f"depth: nothing is ready, and the oldest of it is {age} s old")
        return
    ready = [item for item in reference.items if "ready" in _states(reference, item, at)]
    surely = [item for item in ready if _states(reference, item, at) == ("ready",) and not item.doubtful]
    least = max((at.earliest - item.due.latest for item in surely), default=0.0)
    most = max(at.latest - item.sent.earliest for item in ready)
    right = least - TOLERANCE_SECONDS <= age <= most + TOLERANCE_SECONDS
    check(right, f"depth: the oldest is {age:.3f} s old, and {least:.3f} to {most:.3f} s is due")


def _shown(reference: Reference, message: Message, dead: bool, at: Moment, seen: Iterable[Item]) -> Item:
    for item in reference.items:
        same = (item.message.body, item.message.id, item.dead) == (message.body, message.id, dead)
        if same and not item.is_held(at) and item not in seen:
            return item
    raise Violation(f"peek: {message.id} {message.body!r} does not wait, or was shown before")


def _check_line(reference: Reference, item: Item, seen: Sequence[Item]) -> None:
    if not reference.terms.is_in_line(item):
        return
    for other in seen:
        if other.message.key == item.message.key:
            check(other.place <= item.place, f"peek: {other} is shown before {item}, which was sent earlier")
