"""Receiving: what `Receiver.receive` gives out, and when it answers."""

from __future__ import annotations

import asyncio
import math

from leveler.testing.contract.case import case
from leveler.testing.contract.needs import BOUNDS_BYTES, TIMED_LEASE
from leveler.testing.contract.rig import Rig, ids


@case()
async def a_first_delivery_is_attempt_one(t: Rig) -> None:
    """`Delivery.attempt`: 1 on the first delivery. Nobody has over-counted a message that nobody had."""
    _, [delivery] = await t.leased()
    assert delivery.attempt == 1


@case()
async def the_lease_starts_with_the_delivery(t: Rig) -> None:
    """`Receiver.receive`: the lease starts here, for the queue's length, on the adapter's monotonic clock."""
    await t.fill()
    await t.elapse(t.lease / 2)
    before = t.clock.monotonic()
    [delivery] = await t.take(t.receiver())
    left = delivery.leased_until - t.clock.monotonic()
    assert left > 0
    assert delivery.leased_until >= before + t.lease / 2, "the lease ran before the delivery came"
    assert left <= t.lease or t.can.lease != "timed"


@case(TIMED_LEASE)
async def a_timed_lease_has_an_end(t: Rig) -> None:
    """`Capabilities.lease`: what time ends, ends at some time."""
    _, [delivery] = await t.leased()
    assert math.isfinite(delivery.leased_until)


@case()
async def no_more_comes_than_was_asked_for(t: Rig) -> None:
    """`Receiver.receive`: at most `credit` deliveries."""
    await t.fill(5)
    receiver = t.receiver()
    for credit in (2, 1):
        assert len(await t.receive(receiver, credit)) <= credit


@case()
async def an_empty_queue_answers_with_nothing_when_the_wait_is_over(t: Rig) -> None:
    """`Receiver.receive`: waits up to `wait_seconds` for the first, not for ever."""
    started = t.clock.monotonic()
    assert await t.receive(t.receiver(), 1, 0.5) == []
    assert t.clock.monotonic() - started <= 0.5 + t.patience


@case()
async def without_a_wait_it_answers_at_once(t: Rig) -> None:
    """`Receiver.receive` with a wait of 0 is a look, not a wait."""
    started = t.clock.monotonic()
    assert await t.receive(t.receiver(), 1, 0.0) == []
    assert t.clock.monotonic() - started <= t.patience


@case()
async def an_empty_queue_is_waited_at_and_not_asked_all_the_time(t: Rig) -> None:
    """`Receiver.receive` waits for the first: the core calls it again at once, so a shorter answer is a hot loop."""
    receiver, wait = t.receiver(), 1.0
    started = t.clock.monotonic()
    for _ in range(3):
        assert await t.receive(receiver, 1, wait) == []
    assert t.clock.monotonic() - started >= wait


@case()
async def a_waiting_receive_wakes_when_a_message_comes(t: Rig) -> None:
    """`Receiver.receive`: at once if there are any; whoever waits need not sit out the wait."""
    wait = 5.0 + 2 * t.target.grace_seconds
    receiver = t.receiver()
    waiting = t.background(receiver.receive(1, wait))
    await t.elapse(0.2)
    [sent] = await t.fill()
    started = t.clock.monotonic()
    assert ids(await t.pace.until(waiting)) == [sent.id]
    assert t.clock.monotonic() - started < wait / 2


@case()
async def it_does_not_wait_for_more_than_the_first(t: Rig) -> None:
    """`Receiver.receive`: at once if there are any, even if `credit` is larger than what there is."""
    [sent] = await t.fill()
    receiver, wait = t.receiver(), 5.0 + 2 * t.target.grace_seconds
    started = t.clock.monotonic()
    assert ids(await t.receive(receiver, min(10, t.can.max_batch), wait)) == [sent.id]
    assert t.clock.monotonic() - started < wait / 2


@case()
async def a_backlog_comes_out_whole(t: Rig) -> None:
    """At least once: everything that was accepted comes, over as many receives as it takes, and once if all is well."""
    sent = await t.fill(40)
    receiver = t.receiver()
    assert ids(await t.take(receiver, 40)) == ids(sent)
    await t.nothing(receiver)


@case()
async def several_receivers_share_a_queue(t: Rig) -> None:
    """A queue, not a topic: each message goes to one of its receivers."""
    sent = await t.fill(6)
    first, second = t.receiver(capacity=3), t.receiver(capacity=3, adapter=await t.second())
    deliveries = await t.take(first, 3) + await t.take(second, 3)
    assert ids(deliveries) == ids(sent)


@case()
async def a_receiver_that_was_there_first_gets_what_comes_later(t: Rig) -> None:
    """Connected is consuming: a receiver that found nothing is not asleep (promise 9)."""
    receiver = t.receiver()
    for _ in range(3):
        await t.nothing(receiver, 0.2)
        [sent] = await t.fill()
        assert ids(await t.drain(receiver)) == [sent.id]


@case()
async def receive_runs_beside_settlements(t: Rig) -> None:
    """The contract's head: `receive` and `hold` may run beside the settlement verbs, always."""
    await t.fill()
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    waiting = t.background(receiver.receive(1, 5.0))
    await t.elapse(0.1)
    await asyncio.wait_for(receiver.complete([delivery]), t.target.cap_seconds / 2)
    assert not waiting.done()
    [sent] = await t.fill()
    assert ids(await t.pace.until(waiting)) == [sent.id]


@case()
async def a_completed_message_never_comes_again(t: Rig) -> None:
    """`Receiver.complete`: removes them; not at the end of the lease either."""
    receiver, [delivery] = await t.leased()
    await receiver.complete([delivery])
    await t.elapse(t.lease)
    await t.hidden()


@case(BOUNDS_BYTES)
async def no_more_bytes_come_than_were_allowed(t: Rig) -> None:
    """`Receiver.bound_bytes`: of those that are next, as many as fit, in order; what does not fit stays."""
    sent = [t.message(body=b'"%b"' % (b"x" * size)) for size in (98, 98, 298, 98, 98)]
    await t.sender().send(sent)
    receiver = t.receiver()
    receiver.bound_bytes(250)
    first = await t.receive(receiver, 5)
    assert ids(first) == ids(sent[:2]), "two of 100 bytes fit, and the third would be too much"
    receiver.bound_bytes(50)
    assert await t.receive(receiver, 5, 0.2) == [], "nothing fits"
    receiver.bound_bytes(300)
    assert ids(await t.receive(receiver, 5)) == ids(sent[2:3])
    receiver.bound_bytes(1000)
    assert ids(await t.take(receiver, 2)) == ids(sent[3:])


@case(BOUNDS_BYTES)
async def what_is_larger_than_was_allowed_comes_alone(t: Rig) -> None:
    """`Receiver.bound_bytes`: a message must not wait for ever because it is large."""
    sent = [t.message(body=b'"%b"' % (b"x" * 998)) for _ in range(2)]
    await t.sender().send(sent)
    receiver = t.receiver()
    receiver.bound_bytes(10)
    for message in sent:
        came = await t.receive(receiver, 5)
        assert ids(came) == [message.id]
        assert await t.receive(receiver, 5, 0.2) == []
        await receiver.complete(came)


@case(BOUNDS_BYTES)
async def a_receive_that_waits_for_room_hears_that_there_is_some(t: Rig) -> None:
    """`Receiver.bound_bytes`: also in the receive that is under way."""
    sent = [t.message(body=b'"%b"' % (b"x" * 98)) for _ in range(2)]
    await t.sender().send(sent)
    receiver = t.receiver()
    receiver.bound_bytes(100)
    assert ids(await t.receive(receiver, 5)) == ids(sent[:1])
    receiver.bound_bytes(1)
    waiting = asyncio.ensure_future(receiver.receive(5, t.patience))
    await t.elapse(0.1)
    assert not waiting.done()
    receiver.bound_bytes(100)
    await t.elapse(0.1)
    assert ids(await waiting) == ids(sent[1:])
