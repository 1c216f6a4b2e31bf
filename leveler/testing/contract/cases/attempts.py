"""Attempts: counted at delivery, by the broker or in the envelope, never in a process's memory."""

from __future__ import annotations

from leveler.errors import Unsupported
from leveler.testing.contract.case import case
from leveler.testing.contract.needs import ABANDON_DELAY, UNCOUNTED
from leveler.testing.contract.rig import Rig, again, errors_of, ids


@case()
async def giving_back_counts_an_attempt(t: Rig) -> None:
    """`Delivery.attempt`: 1, 2, 3 over deliveries that are given back."""
    await t.fill()
    receiver = t.receiver()
    for attempt in (1, 2, 3, 4):
        [delivery] = await t.take(receiver)
        t.check_attempt(delivery, attempt)
        await receiver.abandon(again([delivery]))


@case()
async def the_end_of_a_lease_counts_an_attempt(t: Rig) -> None:
    """Attempts are counted at delivery, so a crash counts."""
    _, [first] = await t.leased()
    await t.outlast(first)
    receiver = t.receiver()
    [second] = await t.take(receiver)
    t.check_attempt(second, 2)
    await receiver.hold(0)
    await t.outlast(second)
    [third] = await t.take(t.receiver())
    t.check_attempt(third, 3)


@case()
async def another_connection_knows_the_attempts(t: Rig) -> None:
    """The count is the broker's or the envelope's: who takes the message next need not be who had it."""
    receiver, [delivery] = await t.leased()
    await receiver.abandon(again([delivery]))
    await receiver.close()
    [second] = await t.take(t.receiver(adapter=await t.second()))
    t.check_attempt(second, 2)


@case()
async def each_message_has_its_own_count(t: Rig) -> None:
    """One message's failures are not another one's attempts."""
    receiver, [failing] = await t.leased()
    await receiver.abandon(again([failing]))
    [fresh] = await t.fill()
    attempts = {delivery.message.id: delivery.attempt for delivery in await t.take(t.receiver(), 2)}
    assert attempts[failing.message.id] >= 2
    assert attempts[fresh.id] == 1


@case()
async def the_count_goes_on_from_the_envelope(t: Rig) -> None:
    """`Message.attempts`: spent before this copy was made; the broker counts on from there."""
    await t.fill(attempts=3)
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    t.check_attempt(delivery, 4)
    await receiver.abandon(again([delivery]))
    [next_one] = await t.take(receiver)
    t.check_attempt(next_one, 5)


@case(ABANDON_DELAY)
async def giving_back_with_a_delay_counts_an_attempt(t: Rig) -> None:
    """`Abandon.counted`: also where the delay takes a copy, whose broker count starts anew."""
    await t.fill()
    receiver = t.receiver()
    for attempt in (1, 2, 3):
        [delivery] = await t.take(receiver, within=t.delay + t.patience)
        t.check_attempt(delivery, attempt)
        await receiver.abandon(again([delivery], delay_seconds=t.delay))


@case(UNCOUNTED)
async def giving_back_uncounted_keeps_the_attempt(t: Rig) -> None:
    """`Abandon.counted` is False: the next delivery has the same attempt number."""
    await t.fill()
    receiver = t.receiver()
    for _ in range(3):
        [delivery] = await t.take(receiver)
        t.check_attempt(delivery, 1)
        assert delivery.attempt == 1 or t.can.attempts == "approximate"
        await receiver.abandon(again([delivery], counted=False))


@case(UNCOUNTED)
async def counted_and_uncounted_can_be_mixed(t: Rig) -> None:
    """What counts adds one, what does not adds none, in any order."""
    await t.fill()
    receiver = t.receiver()
    for attempt, counted in ((1, False), (1, True), (2, False), (2, True), (3, True)):
        [delivery] = await t.take(receiver)
        t.check_attempt(delivery, attempt)
        await receiver.abandon(again([delivery], counted=counted))


@case(UNCOUNTED, ABANDON_DELAY)
async def giving_back_uncounted_works_with_a_delay(t: Rig) -> None:
    """`Throttled` and `Snooze`: no attempt, and not before."""
    receiver, [delivery] = await t.leased()
    await receiver.abandon(again([delivery], delay_seconds=t.delay, counted=False))
    await t.hidden(0.6 * t.delay)
    [later] = await t.take(t.receiver(), within=0.4 * t.delay + t.patience)
    t.check_attempt(later, 1)
    assert later.attempt == 1 or t.can.attempts == "approximate"


@case(UNCOUNTED)
async def uncounted_is_a_copy_only_where_that_is_claimed(t: Rig) -> None:
    """`Capabilities.uncounted`: a copy has the next generation, the broker's own way leaves the message as it is."""
    receiver, [delivery] = await t.leased()
    await receiver.abandon(again([delivery], counted=False))
    [back] = await t.take(t.receiver())
    assert back.message.generation == (1 if t.can.uncounted == "copy" else 0)
    assert back.message.id == delivery.message.id


@case()
async def giving_back_uncounted_never_loses_the_message(t: Rig) -> None:
    """Where ``uncounted`` is "none" it is `Unsupported` or counts, and that is all the harm it does."""
    receiver, [delivery] = await t.leased()
    failed = await errors_of(receiver.abandon, again([delivery], counted=False))
    if failed:
        assert isinstance(failed[0], Unsupported), failed
        assert t.can.uncounted == "none", "it is claimed and unsupported"
        await receiver.abandon(again([delivery]))
    [back] = await t.take(t.receiver())
    assert back.message.body == delivery.message.body
    t.check_attempt(back, 2 if t.can.uncounted == "none" else 1)


@case(UNCOUNTED)
async def giving_back_uncounted_has_no_end(t: Rig) -> None:
    """A throttled message is not poison: the broker's own delivery limit must not end it."""
    [sent] = await t.fill()
    receiver = t.receiver()
    for _ in range(t.queue.max_deliveries + 4):
        [delivery] = await t.take(receiver)
        await receiver.abandon(again([delivery], counted=False))
    [delivery] = await t.take(receiver)
    assert delivery.message.id == sent.id


@case()
async def the_brokers_own_limit_is_not_lower_than_asked(t: Rig) -> None:
    """`QueueSpec.max_deliveries`: a broker's own limit must not be lower; the core decides, not the broker."""
    [sent] = await t.fill()
    receiver = t.receiver()
    for _ in range(t.queue.max_deliveries - 1):
        [delivery] = await t.take(receiver)
        await receiver.abandon(again([delivery]))
    [last] = await t.take(receiver)
    assert last.message.id == sent.id


@case(max_deliveries=25)
async def a_higher_limit_is_kept_too(t: Rig) -> None:
    """`QueueSpec.max_deliveries` above what brokers have by default (RabbitMQ 20, Service Bus 10)."""
    [sent] = await t.fill()
    receiver = t.receiver()
    for _ in range(24):
        [delivery] = await t.take(receiver)
        await receiver.abandon(again([delivery]))
    assert ids(await t.take(receiver)) == [sent.id]
