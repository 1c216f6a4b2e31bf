"""Closing: what was not started goes back at once, what was is as after a crash, and a closed receiver is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from leveler.adapter import DeadLetter, Delivery, Receiver
from leveler.errors import ReceiverLost
from leveler.testing.contract.case import case
from leveler.testing.contract.needs import CONNECTION_LEASE, EXTEND
from leveler.testing.contract.rig import Rig, again, ids


@case()
async def what_was_not_handed_out_goes_to_others_at_once(t: Rig) -> None:
    """`Receiver.close`: fetched and not handed out goes back at once, uncounted."""
    await t.fill(5)
    leaving = t.receiver()
    [held] = await t.take(leaving)
    await leaving.complete([held])
    await leaving.close()
    others = await t.take(t.receiver(adapter=await t.second()), 4)
    for delivery in others:
        t.check_attempt(delivery, 1)


@case()
async def what_was_handed_out_comes_back_counted(t: Rig) -> None:
    """`Receiver.close`: handed out and not settled goes back as a crash would leave it."""
    await t.fill()
    leaving = t.receiver()
    [held] = await t.take(leaving)
    await leaving.close()
    if t.can.lease != "connection":
        await t.outlast(held)
    [back] = await t.take(t.receiver())
    assert back.message.id == held.message.id
    t.check_attempt(back, 2)


@case(CONNECTION_LEASE)
async def a_connection_lease_ends_with_its_receiver(t: Rig) -> None:
    """`Receiver.close`: at once where the lease belongs to the connection."""
    sent = await t.fill(3)
    leaving = t.receiver()
    await t.take(leaving, 3)
    await leaving.close()
    assert ids(await t.take(t.receiver(), 3, within=min(t.patience, 0.9 * t.lease))) == ids(sent)


@case()
async def closing_undoes_nothing_that_was_settled(t: Rig) -> None:
    """What was completed stays completed, though the receiver closes right after."""
    await t.fill(3)
    leaving = t.receiver()
    deliveries = await t.take(leaving, 3)
    await t.each(leaving.complete, deliveries)
    await leaving.close()
    await t.elapse(t.lease)
    await t.hidden()


@case()
async def closing_twice_is_fine(t: Rig) -> None:
    """`Receiver.close` never raises for what is already gone; before the first receive neither."""
    for used in (False, True):
        receiver = t.receiver()
        if used:
            await t.nothing(receiver, 0.1)
        await receiver.close()
        await receiver.close()


@case()
async def closing_ends_a_receive_under_way(t: Rig) -> None:
    """Nothing may hang: the receive answers with nothing or `ReceiverLost`, and takes no message with it."""
    receiver, wait = t.receiver(), 5.0 + 2 * t.target.grace_seconds
    waiting = t.background(receiver.receive(1, wait))
    await t.elapse(0.3)
    started = t.clock.monotonic()
    await receiver.close()
    with suppress(ReceiverLost):
        assert list(await t.pace.until(waiting)) == []
    assert t.clock.monotonic() - started < wait / 2
    [sent] = await t.fill()
    assert ids(await t.take(t.receiver())) == [sent.id]


@case()
async def a_closed_receiver_takes_nothing(t: Rig) -> None:
    """`ReceiverLost`: make a new one; the messages are for others."""
    receiver = t.receiver()
    await t.nothing(receiver, 0.1)
    await receiver.close()
    [sent] = await t.fill()
    await _is_lost(lambda: t.receive(receiver, 1, 0.1))
    assert ids(await t.take(t.receiver())) == [sent.id]


@case()
async def a_closed_receiver_settles_nothing(t: Rig) -> None:
    """A receiver lives for one connection epoch, so that a stale one cannot settle anything."""
    receiver, held = await _closed(t)
    await _is_lost(lambda: receiver.complete([held]))
    await _is_lost(lambda: receiver.abandon(again([held])))
    await _is_lost(lambda: receiver.dead_letter([DeadLetter(held, t.death())]))
    if t.can.lease != "connection":
        await t.outlast(held)
    assert ids(await t.take(t.receiver())) == [held.message.id]
    await t.nothing(t.receiver(dead=True))


@case(EXTEND)
async def a_closed_receiver_extends_nothing(t: Rig) -> None:
    """`ReceiverLost`: the receiver and every delivery it gave out are gone."""
    receiver, held = await _closed(t)
    await _is_lost(lambda: receiver.extend([held]))


@case()
async def closing_one_leaves_the_others_alone(t: Rig) -> None:
    """Receivers of one adapter share a connection perhaps, but no fate."""
    await t.fill(2)
    staying, leaving = t.receiver(capacity=1), t.receiver(capacity=1)
    [held], [left] = await t.take(staying), await t.take(leaving)
    await leaving.close()
    await staying.complete([held])
    if t.can.lease != "connection":
        await t.outlast(left)
    [sent] = await t.fill()
    assert ids(await t.drain(staying, 2)) == ids([left.message, sent])


async def _closed(t: Rig) -> tuple[Receiver, Delivery]:
    await t.fill()
    receiver = t.receiver()
    [held] = await t.take(receiver)
    await receiver.close()
    return receiver, held


async def _is_lost(call: Callable[[], Awaitable[object]]) -> None:
    try:
        await call()
    except ReceiverLost:
        return
    raise AssertionError("a closed receiver still did it")
