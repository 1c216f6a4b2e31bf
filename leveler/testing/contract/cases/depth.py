"""Depth and purge: what a queue says that it holds, and emptying it."""

from __future__ import annotations

from leveler.testing.contract.case import case
from leveler.testing.contract.needs import DELAY, DEPTH
from leveler.testing.contract.rig import Rig, again, ids


@case(DEPTH)
async def an_empty_queue_has_no_depth(t: Rig) -> None:
    """`Depth` of a fresh queue: zeros, and None where it is not known."""
    await t.depth_is(ready=0, leased=0, delayed=0, dead=0, oldest_age_seconds=0)


@case(DEPTH)
async def waiting_messages_are_ready(t: Rig) -> None:
    """`Depth.ready`."""
    await t.fill(3)
    await t.depth_is(ready=3, leased=0, delayed=0)


@case(DEPTH)
async def leased_messages_are_not_ready(t: Rig) -> None:
    """`Depth.leased`: with a holder that took just so many, the others are ready."""
    await t.fill(3)
    await t.take(t.receiver(capacity=2), 2)
    await t.depth_is(ready=1, leased=2)


@case(DEPTH, DELAY)
async def delayed_messages_are_not_ready(t: Rig) -> None:
    """`Depth.delayed`: an autoscaler must not start workers for what nobody may have yet."""
    await t.send(*(t.later(t.delay) for _ in range(2)))
    await t.depth_is(ready=0, delayed=2)
    await t.elapse(t.delay)
    await t.eventually(lambda: t.depth_is(ready=2, delayed=0))


@case(DEPTH)
async def dead_letters_are_counted_apart(t: Rig) -> None:
    """`Depth.dead`."""
    await t.dead(2)
    await t.depth_is(ready=0, leased=0, dead=2)


@case(DEPTH)
async def what_is_done_is_not_counted(t: Rig) -> None:
    """Completing takes a message out of every number."""
    await t.fill(3)
    receiver = t.receiver(capacity=3)
    await t.drain(receiver, 3)
    await t.depth_is(ready=0, leased=0, delayed=0, dead=0)


@case(DEPTH)
async def what_is_given_back_is_ready_again(t: Rig) -> None:
    """A depth that forgets returned messages stops an autoscaler for ever."""
    receiver, deliveries = await t.leased(2)
    await t.each(receiver.abandon, again(deliveries))
    await t.depth_is(ready=2, leased=0)


@case(DEPTH)
async def asking_changes_nothing(t: Rig) -> None:
    """`Adapter.depth` is a look: no lease, no attempt."""
    [sent] = await t.fill()
    for _ in range(5):
        await t.adapter.depth(t.queue)
    [delivery] = await t.take(t.receiver())
    assert (delivery.message.id, delivery.attempt) == (sent.id, 1)


@case(DEPTH)
async def the_oldest_message_grows_old(t: Rig) -> None:
    """`Depth.oldest_age_seconds`: how long the oldest ready message has been waiting, where that is known."""
    await t.fill()
    await t.elapse(2.0)
    await t.fill()
    depth = await t.adapter.depth(t.queue)
    if depth.oldest_age_seconds is not None:
        assert 1.5 <= depth.oldest_age_seconds <= 2.0 + t.patience


@case()
async def a_depth_that_is_not_claimed_is_not_made_up(t: Rig) -> None:
    """`Capabilities.depth`: "none" means None, since a zero that is a guess empties a fleet."""
    depth = await t.adapter.depth(t.queue)
    if t.can.depth == "none":
        assert depth[:4] == (None, None, None, None)
    else:
        assert depth.ready is not None


@case()
async def purging_removes_what_waits(t: Rig) -> None:
    """`Adapter.purge`: every waiting message; how many there were, None where the broker does not say."""
    await t.fill(4)
    assert await t.adapter.purge(t.queue) in (4, None)
    await t.nothing(t.receiver())


@case()
async def purging_an_empty_queue_is_fine(t: Rig) -> None:
    """`Adapter.purge` of nothing; and the queue goes on working."""
    assert await t.adapter.purge(t.queue) in (0, None)
    [sent] = await t.fill()
    assert ids(await t.take(t.receiver())) == [sent.id]


@case()
async def purging_leaves_what_is_leased_to_its_holder(t: Rig) -> None:
    """`Adapter.purge`: what is being worked on is not waiting."""
    receiver, [held] = await t.leased()
    await t.fill(2)
    await t.adapter.purge(t.queue)
    await receiver.abandon(again([held]))
    other = t.receiver()
    assert ids(await t.take(other)) == [held.message.id]
    await t.nothing(other)
