"""Leases: while one is held nobody else gets the message; when it is over its holder can do nothing any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from leveler.adapter import DeadLetter, Delivery, Receiver
from leveler.errors import LeaseLost, LevelerError
from leveler.testing.contract.case import case
from leveler.testing.contract.needs import EXTEND
from leveler.testing.contract.rig import Rig, again, errors_of, ids


@case()
async def a_leased_message_is_hidden_from_others(t: Rig) -> None:
    """A delivery is ours until `leased_until`."""
    await t.leased()
    await t.hidden(0.6 * t.lease)


@case()
async def a_message_whose_lease_is_over_comes_again(t: Rig) -> None:
    """Promise 8: after a crash the lease expires and someone else takes it."""
    _, [lost] = await t.leased()
    await t.outlast(lost)
    somebody = t.receiver(adapter=await t.second())
    assert ids(await t.take(somebody)) == [lost.message.id]


@case()
async def a_message_whose_lease_is_over_comes_again_to_whoever_waits(t: Rig) -> None:
    """`Receiver.receive`: a receive that waits when a lease ends need not be called again to see it."""
    _, [lost] = await t.leased()
    soon = lost.leased_until + t.patience
    assert ids(await t.receive(t.receiver(), 1, t.left(lost) + 2 * t.patience)) == [lost.message.id]
    assert t.clock.monotonic() <= soon


@case()
async def completing_after_the_lease_is_refused(t: Rig) -> None:
    """`Receiver.complete`: `LeaseLost` by the adapter's own deadline, and the message is not removed by us."""
    await _is_refused(t, lambda receiver, lost: errors_of(receiver.complete, [lost]))


@case()
async def abandoning_after_the_lease_is_refused(t: Rig) -> None:
    """`LeaseLost`: the delivery is no longer ours to settle."""
    await _is_refused(t, lambda receiver, lost: errors_of(receiver.abandon, again([lost])))


@case()
async def abandoning_with_a_delay_after_the_lease_is_refused(t: Rig) -> None:
    """`LeaseLost`: no copy is sent for a message that is no longer ours."""
    await _is_refused(t, lambda receiver, lost: errors_of(receiver.abandon, again([lost], delay_seconds=t.delay)))


@case()
async def dead_lettering_after_the_lease_is_refused(t: Rig) -> None:
    """`LeaseLost`: whoever has it now will decide."""
    await _is_refused(t, lambda receiver, lost: errors_of(receiver.dead_letter, [DeadLetter(lost, t.death())]))
    await t.nothing(t.receiver(dead=True))


@case(EXTEND)
async def extending_after_the_lease_is_refused(t: Rig) -> None:
    """`Receiver.extend`: `LeaseLost` where the lease is over; it cannot be had back."""
    await _is_refused(t, lambda receiver, lost: errors_of(receiver.extend, [lost]))


@case()
async def a_late_settlement_cannot_touch_the_next_holders_delivery(t: Rig) -> None:
    """A receipt is one delivery's: the one that is over does nothing to the one that runs."""
    late, [lost] = await t.leased()
    await t.outlast(lost)
    holder = t.receiver(adapter=await t.second())
    [held] = await t.take(holder)
    assert isinstance((await errors_of(late.complete, [lost])).get(0), LeaseLost)
    await holder.abandon(again([held]))
    assert ids(await t.take(holder)) == [held.message.id], "the late completion removed somebody else's message"


@case()
async def a_late_settlement_does_not_free_the_next_holders_delivery(t: Rig) -> None:
    """The other direction: a late give-back must not show the message to a third."""
    late, [lost] = await t.leased()
    await t.outlast(lost)
    holder = t.receiver(adapter=await t.second())
    await t.take(holder)
    await holder.hold(0)
    assert isinstance((await errors_of(late.abandon, again([lost]))).get(0), LeaseLost)
    await t.hidden(0.4 * t.lease)


@case()
async def leases_end_one_by_one(t: Rig) -> None:
    """Each delivery has its own lease: the older one is over while the younger one holds."""
    receiver, [old, young] = await one_lost(t, 2)
    assert list(await errors_of(receiver.complete, [old])) == [0]
    assert not await errors_of(receiver.complete, [young])


@case(EXTEND)
async def an_extended_lease_keeps_the_message_hidden(t: Rig) -> None:
    """`Receiver.extend` renews to the queue's full length from now, as often as it is asked to."""
    receiver, [delivery] = await t.leased()
    for _ in range(3):
        await t.elapse(0.5 * t.lease)
        await receiver.extend([delivery])
    await t.hidden(0.6 * t.lease)
    await receiver.complete([delivery])
    await t.elapse(0.6 * t.lease)
    await t.hidden()


@case(EXTEND)
async def extending_says_how_long_it_holds(t: Rig) -> None:
    """`Receiver.extend` updates `Delivery.leased_until`: the core renews by it."""
    receiver, [delivery] = await t.leased()
    before = delivery.leased_until
    await t.elapse(0.5 * t.lease)
    await receiver.extend([delivery])
    left = delivery.leased_until - t.clock.monotonic()
    assert delivery.leased_until > before or before == float("inf")
    assert left >= 0.7 * t.lease, f"{left:.3g} s are left of a lease of {t.lease:g} s that was just renewed"


@case(EXTEND)
async def an_extended_lease_ends_too(t: Rig) -> None:
    """`Receiver.extend` renews once: a holder that dies after it does not keep the message."""
    receiver, [delivery] = await t.leased()
    await t.elapse(0.5 * t.lease)
    await receiver.extend([delivery])
    await t.outlast(delivery)
    assert ids(await t.take(t.receiver())) == [delivery.message.id]
    assert isinstance((await errors_of(receiver.complete, [delivery])).get(0), LeaseLost)


@case(EXTEND)
async def extending_many_at_once_extends_each(t: Rig) -> None:
    """`Receiver.extend` takes a batch."""
    receiver, deliveries = await t.leased(min(5, t.can.max_batch))
    await t.elapse(0.6 * t.lease)
    await receiver.extend(deliveries)
    await t.elapse(0.6 * t.lease)
    assert not await errors_of(receiver.complete, deliveries)


@case(EXTEND)
async def extending_one_leaves_the_others_to_end(t: Rig) -> None:
    """`Receiver.extend` renews what it is given and nothing else."""
    receiver, [kept, left] = await t.leased(2)
    await t.elapse(0.6 * t.lease)
    await receiver.extend([kept])
    await t.outlast(left)
    assert not await errors_of(receiver.complete, [kept])
    assert ids(await t.take(t.receiver())) == [left.message.id]


@case()
async def settling_twice_does_no_harm(t: Rig) -> None:
    """A settlement whose answer was lost is repeated: nothing, or `LeaseLost`, and no other message suffers."""
    receiver, [done, other] = await t.leased(2)
    await receiver.complete([done])
    for failed in (await errors_of(receiver.complete, [done]), await errors_of(receiver.abandon, again([done]))):
        assert all(isinstance(error, LeaseLost) for error in failed.values()), failed
    await t.hidden()
    assert not await errors_of(receiver.complete, [other])


@case()
async def a_delivery_that_was_given_back_is_over(t: Rig) -> None:
    """Once abandoned, a delivery cannot be completed: the message is somebody else's by then."""
    receiver, [delivery] = await t.leased()
    await receiver.abandon(again([delivery]))
    await errors_of(receiver.complete, [delivery])
    assert ids(await t.take(t.receiver())) == [delivery.message.id]


async def one_lost(t: Rig, count: int) -> tuple[Receiver, list[Delivery]]:
    """So many deliveries of one receiver: the first one's lease is over, the others' are not."""
    await t.fill()
    receiver = t.receiver()
    [lost] = await t.take(receiver)
    await t.elapse(0.6 * t.lease)
    sent = await t.fill(count - 1)
    alive = await t.take(receiver, count - 1)
    assert ids(alive) == ids(sent)
    await receiver.hold(0)
    await t.outlast(lost)
    return receiver, [lost, *alive]


async def _is_refused(t: Rig, verb: Callable[[Receiver, Delivery], Awaitable[dict[int, LevelerError]]]) -> None:
    receiver, [lost] = await t.leased()
    await t.outlast(lost)
    failed = await verb(receiver, lost)
    assert isinstance(failed.get(0), LeaseLost), failed or "it was not refused"
    assert ids(await t.take(t.receiver())) == [lost.message.id]
