"""Solos: a message that is started alone, because one like it ends its process, is known to have been."""

from __future__ import annotations

from leveler.adapter import DeadLetter
from leveler.errors import LeaseLost
from leveler.testing.contract.case import case
from leveler.testing.contract.needs import ABANDON_DELAY, CONNECTION_LEASE, MARKS
from leveler.testing.contract.rig import Rig, again, errors_of, ids


@case(MARKS)
async def what_is_marked_is_the_same_message_and_is_completed_as_usual(t: Rig) -> None:
    """`Receiver.mark_solo`: the delivery is that of the copy; its message has `solos` as it was received."""
    [sent] = await t.fill(attempts=3, solos=1, headers={"tenant": "acme"}, key="customer-7")
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    attempt = delivery.attempt
    await receiver.mark_solo([delivery])
    assert delivery.attempt == attempt
    found = delivery.message
    assert (found.id, found.body, found.solos, found.key) == (sent.id, sent.body, 1, "customer-7")
    assert dict(found.headers) == {"tenant": "acme"}
    await receiver.complete([delivery])
    await t.hidden(t.lease)


@case(MARKS)
async def what_is_marked_and_never_settled_comes_again_one_solo_more(t: Rig) -> None:
    """`Receiver.mark_solo`: whoever takes it next knows, in whatever process."""
    await t.fill(attempts=3)
    for solos in (0, 1, 2):
        receiver = t.receiver(adapter=await t.second() if t.can.scope != "process" else None)
        [delivery] = await t.take(receiver, within=t.lease + t.patience)
        assert delivery.message.solos == solos
        t.check_attempt(delivery, 4 + solos)
        await receiver.mark_solo([delivery])
        await receiver.hold(0)
        await t.outlast(delivery)


@case(MARKS, CONNECTION_LEASE)
async def the_end_of_the_connection_leaves_the_mark(t: Rig) -> None:
    """As the end of a process does, which ends its connection."""
    await t.fill(attempts=3)
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    await receiver.mark_solo([delivery])
    await receiver.close()
    [again_here] = await t.take(t.receiver(), within=t.lease + t.patience)
    assert again_here.message.solos == 1


@case(MARKS)
async def deliveries_that_nobody_marked_are_no_solos(t: Rig) -> None:
    """`Message.solos`: a delivery that was not started, or not alone, does not raise it."""
    _, [delivery] = await t.leased()
    await t.outlast(delivery)
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    await receiver.abandon(again([delivery]))
    [delivery] = await t.take(receiver)
    assert delivery.message.solos == 0


@case(MARKS)
async def giving_back_strikes_the_mark_off(t: Rig) -> None:
    """`Receiver.mark_solo`: a process that gives a message back has outlived it."""
    await t.fill(attempts=3, solos=1)
    receiver = t.receiver()
    for counted in (True, False):
        [delivery] = await t.take(receiver)
        await receiver.mark_solo([delivery])
        await receiver.abandon(again([delivery], counted=counted))
    [delivery] = await t.take(receiver)
    assert delivery.message.solos == 1
    t.check_attempt(delivery, 5)


@case(MARKS, ABANDON_DELAY)
async def giving_back_with_a_delay_strikes_the_mark_off(t: Rig) -> None:
    """The same where that takes a copy everywhere."""
    await t.fill(attempts=3)
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    await receiver.mark_solo([delivery])
    await receiver.abandon(again([delivery], delay_seconds=t.delay))
    [delivery] = await t.take(receiver, within=t.delay + t.patience)
    assert delivery.message.solos == 0
    t.check_attempt(delivery, 5)


@case(MARKS)
async def what_is_marked_can_be_dead_lettered(t: Rig) -> None:
    """`Receiver.dead_letter`, once, and nothing of it is left in the queue."""
    [sent] = await t.fill(attempts=3)
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    await receiver.mark_solo([delivery])
    await receiver.dead_letter([DeadLetter(delivery, t.death())])
    assert ids(await t.take(t.receiver(dead=True))) == [sent.id]
    await t.hidden(t.lease)


@case(MARKS)
async def a_mark_begins_a_new_lease(t: Rig) -> None:
    """`Receiver.mark_solo`: the run has the whole of it."""
    receiver, [delivery] = await t.leased(attempts=3)
    before = delivery.leased_until
    await t.elapse(t.lease / 2)
    await receiver.mark_solo([delivery])
    assert delivery.leased_until > before


@case(MARKS)
async def what_is_no_longer_ours_cannot_be_marked(t: Rig) -> None:
    """`LeaseLost`, and it comes again as it was."""
    receiver, [delivery] = await t.leased(attempts=3)
    await receiver.hold(0)
    await t.outlast(delivery)
    failed = await errors_of(receiver.mark_solo, [delivery])
    assert isinstance(failed.get(0), LeaseLost), failed
    [again_here] = await t.take(t.receiver())
    assert again_here.message.solos == 0
