"""Batches: every verb takes one, and answers for each item of it."""

from __future__ import annotations

from leveler.adapter import Abandon, DeadLetter
from leveler.errors import LeaseLost, LevelerError
from leveler.testing.contract.case import case
from leveler.testing.contract.cases.lease import one_lost
from leveler.testing.contract.needs import BATCHES, EXTEND, UNCOUNTED
from leveler.testing.contract.rig import Rig, again, errors_of, ids


@case()
async def an_empty_batch_is_fine_everywhere(t: Rig) -> None:
    """The core's coalescing may find that nothing is left; an empty batch does nothing and raises nothing."""
    receiver, [held] = await t.leased()
    await receiver.complete([])
    await receiver.abandon([])
    await receiver.dead_letter([])
    if t.can.extend:
        await receiver.extend([])
    assert not await errors_of(receiver.complete, [held])


@case()
async def a_batch_of_the_largest_size_is_taken(t: Rig) -> None:
    """`Capabilities.max_batch` is itself allowed, to send and to settle."""
    most = min(t.can.max_batch, 200)
    messages = t.messages(most)
    await t.sender().send(messages)
    receiver = t.receiver(capacity=most)
    deliveries = await t.take(receiver, most)
    assert not await errors_of(receiver.complete, deliveries)
    await t.elapse(t.lease)
    await t.hidden()


@case(BATCHES)
async def one_lost_lease_does_not_keep_the_others_from_completing(t: Rig) -> None:
    """`BatchError` has an error per index; never one exception for a mixed batch."""
    receiver, [lost, *alive] = await one_lost(t, 3 if t.can.max_batch > 2 else 2)
    _only_fails(await errors_of(receiver.complete, [lost, *alive]), 0)
    other = t.receiver()
    assert ids(await t.take(other)) == [lost.message.id]
    await t.elapse(t.lease / 2)
    await t.nothing(other, 0.2)


@case(BATCHES)
async def one_lost_lease_does_not_keep_the_others_from_going_back(t: Rig) -> None:
    """`Receiver.abandon`, mixed: the lost one is somebody else's, the others go back."""
    receiver, [lost, alive] = await one_lost(t, 2)
    _only_fails(await errors_of(receiver.abandon, again([alive, lost])), 1)
    assert ids(await t.take(t.receiver(), 2)) == ids([alive, lost])


@case(BATCHES)
async def one_lost_lease_does_not_keep_the_others_from_dying(t: Rig) -> None:
    """`Receiver.dead_letter`, mixed: the lost one is not dead."""
    receiver, [lost, alive] = await one_lost(t, 2)
    failed = await errors_of(receiver.dead_letter, [DeadLetter(one, t.death()) for one in (lost, alive)])
    _only_fails(failed, 0)
    dead = t.receiver(dead=True)
    assert ids(await t.take(dead)) == [alive.message.id]
    await t.nothing(dead)
    assert ids(await t.take(t.receiver())) == [lost.message.id]


@case(BATCHES, EXTEND)
async def one_lost_lease_does_not_keep_the_others_from_being_extended(t: Rig) -> None:
    """`Receiver.extend`, mixed: one delivery that is gone must not cost the others their leases."""
    receiver, [lost, alive] = await one_lost(t, 2)
    _only_fails(await errors_of(receiver.extend, [alive, lost]), 1)
    await t.elapse(0.7 * t.lease)
    assert not await errors_of(receiver.complete, [alive])


@case(BATCHES)
async def a_batch_that_is_lost_as_a_whole_says_so_for_each(t: Rig) -> None:
    """`BatchError.failed`: every item, by its index."""
    receiver, deliveries = await t.leased(min(3, t.can.max_batch))
    await t.outlast(*deliveries)
    failed = await errors_of(receiver.complete, deliveries)
    assert sorted(failed) == list(range(len(deliveries)))
    assert all(isinstance(error, LeaseLost) for error in failed.values()), failed


@case(BATCHES, UNCOUNTED)
async def counted_and_uncounted_stand_in_one_batch(t: Rig) -> None:
    """`Receiver.abandon`: delay and counting are each item's own."""
    receiver, [counts, free] = await t.leased(2)
    await receiver.abandon([Abandon(counts), Abandon(free, counted=False)])
    attempts = {delivery.message.id: delivery for delivery in await t.take(t.receiver(), 2)}
    t.check_attempt(attempts[counts.message.id], 2)
    t.check_attempt(attempts[free.message.id], 1)
    assert attempts[free.message.id].attempt <= attempts[counts.message.id].attempt


@case(BATCHES)
async def deliveries_of_different_receives_are_settled_together(t: Rig) -> None:
    """Settlements are coalesced: a batch is not what one `receive` gave."""
    sent = await t.fill(2)
    receiver = t.receiver()
    deliveries = await t.take(receiver, 1) + await t.take(receiver, 1)
    assert ids(deliveries) == ids(sent)
    assert not await errors_of(receiver.complete, deliveries[::-1])
    await t.elapse(t.lease)
    await t.hidden()


def _only_fails(failed: dict[int, LevelerError], index: int) -> None:
    assert list(failed) == [index], failed
    assert isinstance(failed[index], LeaseLost), failed
