"""Flow: a receiver holds no more than it may, and `hold` stops it, starts it and sizes it."""

from __future__ import annotations

from leveler.adapter import DeadLetter
from leveler.testing.contract.case import case
from leveler.testing.contract.rig import Rig, again, ids


@case()
async def no_more_is_held_than_the_capacity(t: Rig) -> None:
    """`Adapter.receiver`: holds at most `capacity` deliveries, whatever credit it is given."""
    await t.fill(5)
    receiver = t.receiver(capacity=2)
    await t.take(receiver, 2)
    await t.nothing(receiver)


@case()
async def what_is_settled_makes_room(t: Rig) -> None:
    """`capacity` counts what is unsettled: each settlement frees a place."""
    sent = await t.fill(5)
    receiver = t.receiver(capacity=2)
    first, second = await t.take(receiver, 2)
    await receiver.complete([first])
    [third] = await t.take(receiver)
    await receiver.abandon(again([second]))
    await receiver.complete([third])
    rest = await t.drain(receiver, 3)
    assert ids([first.message, third.message, *rest]) == ids(sent)


@case()
async def what_is_above_the_capacity_is_for_others(t: Rig) -> None:
    """A full receiver starves nobody: what it may not hold, the next one gets."""
    sent = await t.fill(4)
    full = t.receiver(capacity=1)
    held = await t.take(full)
    others = await t.take(t.receiver(adapter=await t.second()), 3)
    assert ids([*held, *others]) == ids(sent)


@case()
async def nothing_comes_while_the_flow_is_stopped(t: Rig) -> None:
    """`Receiver.hold`: after 0 a receive returns nothing, though messages wait."""
    receiver = t.receiver()
    await t.nothing(receiver, 0.1)
    await receiver.hold(0)
    await t.fill(3)
    await t.nothing(receiver, 1.0)


@case()
async def stopping_ends_a_receive_under_way(t: Rig) -> None:
    """`Receiver.hold`: 0 makes a `receive` under way return at once with what it has: SIGTERM does not sit it out."""
    receiver, wait = t.receiver(), 5.0 + 2 * t.target.grace_seconds
    waiting = t.background(receiver.receive(1, wait))
    await t.elapse(0.3)
    started = t.clock.monotonic()
    await receiver.hold(0)
    assert list(await t.pace.until(waiting)) == []
    assert t.clock.monotonic() - started < wait / 2


@case()
async def nothing_is_lost_in_a_receive_that_is_stopped(t: Rig) -> None:
    """What comes in the moment of stopping is either handed out or goes back."""
    receiver = t.receiver()
    waiting = t.background(receiver.receive(10, 5.0))
    await t.elapse(0.1)
    sent = await t.fill(5)
    await receiver.hold(0)
    got = list(await t.pace.until(waiting))
    rest = await t.take(t.receiver(adapter=await t.second()), 5 - len(got))
    assert ids(got + rest) == ids(sent)


@case()
async def what_is_held_can_be_settled_after_stopping(t: Rig) -> None:
    """Promise 8: stop the flow, finish, settle: stopping must not invalidate what is being worked on."""
    await t.fill(3)
    receiver = t.receiver()
    done, back, dead = await t.take(receiver, 3)
    await receiver.hold(0)
    await receiver.complete([done])
    await receiver.abandon(again([back]))
    await receiver.dead_letter([DeadLetter(dead, t.death())])
    assert ids(await t.take(t.receiver())) == [back.message.id]
    assert ids(await t.take(t.receiver(dead=True))) == [dead.message.id]


@case()
async def raising_the_limit_starts_the_flow_again(t: Rig) -> None:
    """`Receiver.hold`: the breaker closes, and the same receiver goes on."""
    receiver = t.receiver()
    for _ in range(3):
        await receiver.hold(0)
        [sent] = await t.fill()
        await t.nothing(receiver, 0.2)
        await receiver.hold(5)
        assert ids(await t.drain(receiver)) == [sent.id]


@case()
async def what_was_fetched_and_not_handed_out_goes_to_others_at_once(t: Rig) -> None:
    """`Receiver.hold`: 0 gives the unstarted back uncounted; a paused receiver sits on nothing."""
    sent = await t.fill(6)
    paused = t.receiver()
    held = await t.take(paused, 1)
    await paused.hold(0)
    others = await t.take(t.receiver(adapter=await t.second()), 5)
    assert ids(held + others) == ids(sent)
    for delivery in others:
        t.check_attempt(delivery, 1)


@case()
async def a_lower_limit_counts_what_is_held_already(t: Rig) -> None:
    """`Receiver.hold`: at most `limit` unsettled deliveries from now on."""
    await t.fill(6)
    receiver = t.receiver()
    first, second, third = await t.take(receiver, 3)
    await receiver.hold(2)
    await receiver.complete([first])
    await t.nothing(receiver, 0.3)
    await receiver.complete([second])
    await t.take(receiver, 1)
    await t.nothing(receiver, 0.3)
    await receiver.complete([third])


@case()
async def a_higher_limit_lets_more_in(t: Rig) -> None:
    """`Receiver.hold` follows what the consumer can start: it grows as well."""
    await t.fill(6)
    receiver = t.receiver(capacity=6)
    await receiver.hold(1)
    await t.take(receiver, 1)
    await t.nothing(receiver, 0.3)
    await receiver.hold(4)
    await t.take(receiver, 3)
    await t.nothing(receiver, 0.3)
