"""Priorities: higher ones first, strictly or by a ratio, and none for ever last."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean

from leveler.message import DEFAULT_PRIORITY, MAX_PRIORITY, Message
from leveler.testing.contract.case import case
from leveler.testing.contract.needs import ABANDON_DELAY, PRIORITY
from leveler.testing.contract.rig import Rig, again


@case(PRIORITY)
async def higher_priorities_come_first(t: Rig) -> None:
    """`Message.priority`: 0 to 9, higher first; a broker may serve two of one for each of the other."""
    await t.fill(12, priority=0)
    await t.fill(12, priority=MAX_PRIORITY)
    came = await t.drain(t.receiver(capacity=1), 24)
    assert _mean_place(came, MAX_PRIORITY) < _mean_place(came, 0) - 2


@case(PRIORITY)
async def more_than_the_usual_priority_comes_before_it(t: Rig) -> None:
    """Two levels are parted at the default, so that "urgent" means something wherever there are levels."""
    await t.fill(12)
    await t.fill(12, priority=MAX_PRIORITY)
    came = await t.drain(t.receiver(capacity=1), 24)
    assert _mean_place(came, MAX_PRIORITY) < _mean_place(came, DEFAULT_PRIORITY) - 2


@case(PRIORITY)
async def ten_levels_are_ten_levels(t: Rig) -> None:
    """`Capabilities.priority_levels`: so many are told apart."""
    await t.send(*(t.message(priority=priority) for priority in range(MAX_PRIORITY + 1) for _ in range(2)))
    came = await t.drain(t.receiver(capacity=1), 20)
    places = [_mean_place(came, priority) for priority in range(MAX_PRIORITY, -1, -1)]
    rising = sum(before < after for before, after in pairwise(places))
    assert rising >= t.can.priority_levels - 1, f"mean places from high to low priority: {places}"


@case()
async def a_priority_is_part_of_the_message(t: Rig) -> None:
    """`Message.priority` is carried even where nothing is ordered by it."""
    sent = [t.message(priority=priority) for priority in range(MAX_PRIORITY + 1)]
    await t.send(*sent)
    came = await t.drain(t.receiver(), len(sent))
    assert {message.id: message.priority for message in came} == {message.id: message.priority for message in sent}


@case(PRIORITY, ABANDON_DELAY)
async def a_message_that_is_given_back_keeps_its_priority(t: Rig) -> None:
    """A retry is as urgent as the first try was."""
    receiver, [urgent] = await t.leased(priority=MAX_PRIORITY)
    await t.fill(6, priority=0)
    await receiver.abandon(again([urgent], delay_seconds=t.delay))
    await t.elapse(t.delay + t.target.grace_seconds)
    came = [message.id for message in await t.drain(t.receiver(capacity=1), 7)]
    assert urgent.message.id in came[:3], f"it came at place {came.index(urgent.message.id) + 1} of 7"


def _mean_place(messages: list[Message], priority: int) -> float:
    return mean(place for place, message in enumerate(messages) if message.priority == priority)
