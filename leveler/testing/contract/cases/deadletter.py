"""Dead letters: whole, explained, kept until somebody completes them, and good for another try."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from leveler.adapter import DeadLetter
from leveler.message import MAX_DETAIL_BYTES, Message
from leveler.testing.contract.case import case
from leveler.testing.contract.cases.send import fitting
from leveler.testing.contract.needs import BATCHES, REACHABLE_SIZE
from leveler.testing.contract.rig import Rig, again, errors_of, ids


@case()
async def a_dead_letter_has_left_its_queue(t: Rig) -> None:
    """`Receiver.dead_letter`: moves the message; nobody gets it again, at the end of its lease neither."""
    receiver, [delivery] = await t.leased()
    await receiver.dead_letter([DeadLetter(delivery, t.death())])
    assert ids(await t.take(t.receiver(dead=True))) == [delivery.message.id]
    await t.elapse(t.lease)
    await t.hidden()


@case()
async def a_dead_letter_is_the_message_itself(t: Rig) -> None:
    """`Receiver.dead_letter`: body, headers, id and attributes stay as they are."""
    attributes: dict[str, Any] = {"key": "k", "priority": 7, "headers": {"x-a": "ü"}, "content_type": "a/b"}
    [sent] = await t.dead(body=b"\x00\xfe\r\n", **attributes)
    [delivery] = await t.take(t.receiver(dead=True))
    kept = {"id", "body", "time", "type", "source", *attributes}
    changed = {name for name in kept if getattr(delivery.message, name) != getattr(sent, name)}
    assert not changed, changed


@case()
async def a_dead_letter_says_why(t: Rig) -> None:
    """Promise 6: reason, error type, detail, attempts, first and last failure, origin."""
    now = t.clock.now()
    death = t.death(
        "exhausted",
        error_type="ValueError",
        detail="ümlaut\n\tat line 3 <&> \x00 \U0001f4a5",
        attempts=5,
        first_failed_at=now - timedelta(hours=1),
        last_failed_at=now,
    )
    receiver, [delivery] = await t.leased()
    await receiver.dead_letter([DeadLetter(delivery, death)])
    [dead] = await t.take(t.receiver(dead=True))
    assert dead.message.death == death


@case(BATCHES)
async def each_dead_letter_of_a_batch_has_its_own_reason(t: Rig) -> None:
    """`Receiver.dead_letter`: per item."""
    receiver, deliveries = await t.leased(2)
    reasons = {delivery.message.id: f"reason-{place}" for place, delivery in enumerate(deliveries)}
    await receiver.dead_letter([DeadLetter(one, t.death(reasons[one.message.id])) for one in deliveries])
    dead = await t.take(t.receiver(dead=True), 2)
    assert {one.message.id: one.message.death and one.message.death.reason for one in dead} == reasons


@case()
async def the_longest_detail_fits(t: Rig) -> None:
    """`MAX_DETAIL_BYTES` of error text and the largest headers must not make a dead letter that cannot be sent."""
    receiver, [delivery] = await t.leased(headers={f"x-{number}": "h" * 1000 for number in range(15)})
    await receiver.dead_letter([DeadLetter(delivery, t.death(detail="é" * (MAX_DETAIL_BYTES // 2)))])
    [dead] = await t.take(t.receiver(dead=True))
    assert dead.message.death is not None
    assert dead.message.death.detail.startswith("é" * 500)


@case(REACHABLE_SIZE)
async def the_largest_message_can_be_dead_lettered(t: Rig) -> None:
    """What `max_message_bytes` lets in must get out: a dead letter that is too large is retried for ever."""
    message = fitting(t, t.can.max_message_bytes)
    await t.send(message)
    receiver = t.receiver()
    [delivery] = await t.take(receiver)
    await receiver.dead_letter([DeadLetter(delivery, t.death(detail="d" * MAX_DETAIL_BYTES))])
    [dead] = await t.take(t.receiver(dead=True))
    assert dead.message.body == message.body


@case(REACHABLE_SIZE)
async def a_dead_letter_that_is_refused_leaves_the_message_where_it_was(t: Rig) -> None:
    """The copy is confirmed before the source is removed: duplicates possible, loss not."""
    receiver, [delivery] = await t.leased()
    huge = t.death(detail="d" * (t.can.max_message_bytes + 1))
    if await errors_of(receiver.dead_letter, [DeadLetter(delivery, huge)]):
        await errors_of(receiver.abandon, again([delivery]))  # at some brokers so large a copy ends the connection
        somebody = t.receiver(adapter=await t.second())
        assert ids(await t.take(somebody, within=t.lease + t.patience)) == [delivery.message.id]
    else:
        assert ids(await t.take(t.receiver(dead=True))) == [delivery.message.id]


@case()
async def giving_a_dead_letter_back_thirty_times_loses_nothing(t: Rig) -> None:
    """`Adapter.receiver`: giving a dead letter back never counts, however often; listing them is harmless."""
    sent = await t.dead(2)
    receiver = t.receiver(dead=True)
    attempts: set[int] = set()
    for _ in range(30):
        deliveries = await t.take(receiver, 2)
        attempts |= {delivery.attempt for delivery in deliveries}
        await t.each(receiver.abandon, again(deliveries))
    assert ids(await t.take(receiver, 2)) == ids(sent)
    assert len(attempts) == 1, f"attempts {sorted(attempts)}"


@case()
async def a_dead_letter_whose_reader_dies_is_not_lost(t: Rig) -> None:
    """A dead letter has a lease like any message, and its end does no harm."""
    [sent] = await t.dead()
    reader = t.receiver(dead=True)
    [delivery] = await t.take(reader)
    await reader.close()
    wait = 0.0 if t.can.lease == "connection" else max(0.0, delivery.leased_until - t.clock.monotonic())
    await t.elapse(wait)
    assert ids(await t.take(t.receiver(dead=True))) == [sent.id]


@case()
async def a_completed_dead_letter_is_gone(t: Rig) -> None:
    """`Receiver.complete` of a dead letter deletes it, and that alone does."""
    first, second = await t.dead(2)
    receiver = t.receiver(dead=True)
    deliveries = await t.take(receiver, 2)
    await receiver.complete([delivery for delivery in deliveries if delivery.message.id == first.id])
    await receiver.abandon(again([delivery for delivery in deliveries if delivery.message.id == second.id]))
    assert ids(await t.take(receiver)) == [second.id]
    await t.hidden(dead=True)


@case()
async def a_dead_letter_cannot_die_again(t: Rig) -> None:
    """A dead letter is never dead-lettered again: refused or left where it is, and there once."""
    [sent] = await t.dead()
    receiver = t.receiver(dead=True)
    [delivery] = await t.take(receiver)
    if await errors_of(receiver.dead_letter, [DeadLetter(delivery, t.death("again"))]):
        await errors_of(receiver.abandon, again([delivery]))
    assert ids(await t.take(receiver, within=t.lease + t.patience)) == [sent.id]
    await t.nothing(receiver)
    await t.nothing(t.receiver())


@case()
async def a_dead_letter_does_not_expire(t: Rig) -> None:
    """`Receiver.dead_letter`: what was worthless to the consumer is evidence now."""
    [sent] = await t.dead(expires_at=t.clock.now() + timedelta(seconds=t.lease + t.delay))
    await t.elapse(t.lease + 2 * t.delay)
    assert ids(await t.take(t.receiver(dead=True))) == [sent.id]


@case()
async def a_dead_letter_can_be_replayed(t: Rig) -> None:
    """Replay: a message from the start again, with its body and id; the dead letter is completed after the send."""
    [sent] = await t.dead(body=b"\x01\x02", attempts=4, headers={"x-a": "b"})
    replayed = await replay(t)
    [delivery] = await t.take(t.receiver())
    t.check_attempt(delivery, 1)
    assert delivery.message == replayed
    assert (delivery.message.id, delivery.message.body, delivery.message.headers) == (sent.id, sent.body, sent.headers)
    assert (delivery.message.death, delivery.message.replays) == (None, 1)
    await t.nothing(t.receiver(dead=True))


@case()
async def a_replayed_message_can_die_again(t: Rig) -> None:
    """Nothing about a replayed message keeps it from being a dead letter once more."""
    [sent] = await t.dead()
    for times in (1, 2, 3):
        await replay(t)
        receiver = t.receiver()
        [delivery] = await t.take(receiver)
        assert delivery.message.replays == times
        await receiver.dead_letter([DeadLetter(delivery, t.death())])
        await receiver.close()
    assert ids(await t.take(t.receiver(dead=True))) == [sent.id]


@case()
async def dead_letters_can_always_be_peeked_at(t: Rig) -> None:
    """`Adapter.peek`: for the dead letters it always works, and leaves them as they are."""
    sent = await t.dead(3)
    for _ in range(3):
        seen = await t.adapter.peek(t.queue, 10, dead=True)
        assert ids(seen) == ids(sent)
        assert all(message.death is not None for message in seen)
    assert len(await t.adapter.peek(t.queue, 2, dead=True)) == 2
    assert ids(await t.take(t.receiver(dead=True), 3)) == ids(sent)


@case()
async def all_dead_letters_are_shown_to_whoever_asks_for_all(t: Rig) -> None:
    """`Adapter.peek`: up to `limit`, however many of them the broker shows at a time."""
    sent = await t.dead(40)
    seen = await t.adapter.peek(t.queue, 100, dead=True)
    assert sorted(ids(seen)) == sorted(ids(sent))
    assert len(await t.adapter.peek(t.queue, 35, dead=True)) == 35
    assert sorted(ids(await t.drain(t.receiver(dead=True), 40))) == sorted(ids(sent))


@case()
async def purging_the_dead_letters_leaves_the_queue_alone(t: Rig) -> None:
    """`Adapter.purge` of the dead letters removes them and says how many, where that is known."""
    await t.dead(2)
    [kept] = await t.fill()
    assert await t.adapter.purge(t.queue, dead=True) in (2, None)
    await t.nothing(t.receiver(dead=True))
    assert ids(await t.take(t.receiver())) == [kept.id]


@case()
async def purging_the_queue_leaves_the_dead_letters_alone(t: Rig) -> None:
    """`Adapter.purge`: waiting messages; dead letters are not waiting."""
    [dead] = await t.dead()
    await t.fill(2)
    await t.adapter.purge(t.queue)
    await t.nothing(t.receiver())
    assert ids(await t.take(t.receiver(dead=True))) == [dead.id]


async def replay(t: Rig) -> Message:
    """One dead letter back into its queue, as the core does it: send the copy, then complete the source."""
    receiver = t.receiver(dead=True)
    [delivery] = await t.take(receiver)
    replayed = delivery.message.replayed(t.clock.now())
    await t.send(replayed)
    await receiver.complete([delivery])
    await receiver.close()
    return replayed
