"""Delays: kept by the broker, never before their time, by then soon after."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from leveler.adapter import Abandon
from leveler.testing.contract.case import Gated, case
from leveler.testing.contract.needs import ABANDON_DELAY, BATCHES, DELAY, SHARED, VIRTUAL_TIME
from leveler.testing.contract.rig import Rig, again, ids


@case(DELAY)
async def a_delayed_message_comes_when_its_time_has_come(t: Rig) -> None:
    """`Sender.send`: no earlier than `not_before`, and by then soon after."""
    message = t.later(t.delay)
    await t.send(message)
    receiver = t.receiver()
    await t.nothing(receiver, 0.7 * t.delay)
    assert ids(await t.take(receiver, within=0.3 * t.delay + t.patience)) == [message.id]


@case()
async def a_moment_in_the_past_is_no_delay(t: Rig) -> None:
    """`Message.not_before`: what is over delays nothing."""
    message = t.later(-3600)
    await t.send(message)
    assert ids(await t.take(t.receiver())) == [message.id]


@case(DELAY)
async def a_delayed_message_is_whole(t: Rig) -> None:
    """Wherever a delayed message waits, it comes out as it went in."""
    message = t.message(b"\x00\xff", key="k", priority=7, headers={"x-a": "b"}, content_type="a/b")
    message = replace(message, not_before=t.clock.now() + timedelta(seconds=t.delay))
    await t.send(message)
    [delivery] = await t.take(t.receiver(), within=t.delay + t.patience)
    assert replace(delivery.message, not_before=None, generation=0) == replace(message, not_before=None)
    assert delivery.attempt == 1


@case(DELAY)
async def a_long_delay_does_not_hold_up_what_comes_behind_it(t: Rig) -> None:
    """Each message waits for itself: neither undelayed nor shorter delayed ones queue behind it."""
    long, short, none = t.later(2.5 * t.delay), t.later(t.delay), t.message()
    await t.send(long, short, none)
    receiver = t.receiver()
    assert ids(await t.drain(receiver)) == [none.id]
    assert ids(await t.drain(receiver, within=t.delay + t.patience)) == [short.id]
    assert ids(await t.drain(receiver, within=1.5 * t.delay + t.patience)) == [long.id]


@case(DELAY)
async def a_receive_that_waits_sees_a_delayed_message_fall_due(t: Rig) -> None:
    """`Receiver.receive`: what falls due while it waits ends the wait."""
    message, soon = t.later(t.delay), t.clock.monotonic() + t.delay + t.patience
    await t.send(message)
    assert ids(await t.receive(t.receiver(), 1, t.delay + 2 * t.patience)) == [message.id]
    assert t.clock.monotonic() <= soon


@case(DELAY, SHARED)
async def a_delay_does_not_need_its_sender(t: Rig) -> None:
    """Promise 5: delays live in the broker, so the sender may go."""
    message = t.later(t.delay)
    async with t.target.adapter(t.clock) as short_lived:
        await short_lived.sender(t.queue).send([message])
    assert ids(await t.take(t.receiver(), within=t.delay + t.patience)) == [message.id]


@case(VIRTUAL_TIME)
async def a_delay_above_what_the_broker_keeps_ends_early(t: Rig) -> None:
    """`Capabilities.max_delay_seconds`: the core chains longer ones, so it must see the message by then."""
    most = t.can.max_delay_seconds
    if not 0 < most <= 7 * 86400:
        raise Gated("a longest delay")
    message = t.later(most + 3600)
    await t.send(message)
    receiver = t.receiver()
    await t.elapse(0.9 * most)
    await t.nothing(receiver)
    await t.elapse(0.1 * most)
    assert ids(await t.take(receiver)) == [message.id]


@case(ABANDON_DELAY)
async def a_message_given_back_with_a_delay_comes_when_it_is_over(t: Rig) -> None:
    """`Abandon.delay_seconds`: it may be delivered again after that, not before."""
    receiver, [delivery] = await t.leased()
    await receiver.abandon(again([delivery], delay_seconds=t.delay))
    await t.hidden(0.7 * t.delay)
    assert ids(await t.drain(t.receiver(), within=0.3 * t.delay + t.patience)) == [delivery.message.id]
    await t.hidden(0.5 * t.delay)


@case(ABANDON_DELAY)
async def a_delay_does_not_need_the_receiver_that_asked_for_it(t: Rig) -> None:
    """Promise 5: delays live in the broker, never in a worker."""
    receiver, [delivery] = await t.leased()
    await receiver.abandon(again([delivery], delay_seconds=t.delay))
    await receiver.close()
    somebody = t.receiver(adapter=await t.second())
    await t.nothing(somebody, 0.7 * t.delay)
    assert ids(await t.take(somebody, within=0.3 * t.delay + t.patience)) == [delivery.message.id]


@case(ABANDON_DELAY, BATCHES)
async def each_message_of_a_batch_has_its_own_delay(t: Rig) -> None:
    """`Receiver.abandon`: per item, since jittered retries never agree."""
    receiver, [slow, fast] = await t.leased(2)
    await receiver.abandon([Abandon(slow, 2.5 * t.delay), Abandon(fast, 0.0)])
    other = t.receiver()
    assert ids(await t.drain(other)) == [fast.message.id]
    await t.nothing(other, 1.5 * t.delay)
    assert ids(await t.take(other, within=t.delay + t.patience)) == [slow.message.id]


@case(ABANDON_DELAY)
async def a_delay_may_be_shorter_than_the_lease_or_longer(t: Rig) -> None:
    """`Abandon.delay_seconds` is counted from the give-back; the lease that was running means nothing any more."""
    longer = min(2.0 * t.lease, t.can.max_abandon_seconds)
    receiver, [first] = await t.leased()
    await receiver.abandon(again([first], delay_seconds=longer))
    await t.hidden(0.9 * longer)
    assert ids(await t.take(t.receiver(), within=0.1 * longer + t.patience)) == [first.message.id]


@case(ABANDON_DELAY)
async def a_message_given_back_with_a_delay_is_whole(t: Rig) -> None:
    """Also where the delay takes a copy: the same id, body, headers and attributes."""
    attributes: dict[str, Any] = {"key": "k", "priority": 7, "headers": {"x-a": "ü"}, "content_type": "a/b"}
    receiver, [delivery] = await t.leased(body=b"\x00\xfe", **attributes)
    await receiver.abandon(again([delivery], delay_seconds=t.delay))
    [back] = await t.take(t.receiver(), within=t.delay + t.patience)
    for name in ("id", "body", "time", "type", "source", *attributes):
        assert getattr(back.message, name) == getattr(delivery.message, name), name
