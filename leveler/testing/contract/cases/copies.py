"""Copies on a queue that drops duplicates: none is swallowed, and none is there twice."""

from __future__ import annotations

from msgspec.structs import replace

from leveler.adapter import DeadLetter
from leveler.testing.contract.case import case
from leveler.testing.contract.cases.deadletter import replay
from leveler.testing.contract.needs import ABANDON_DELAY, DEDUP, DELAY, UNCOUNTED, VIRTUAL_TIME
from leveler.testing.contract.rig import Rig, again, ids

#: Within what brokers offer: Service Bus 20 s to 7 days, SQS FIFO 300 s.
_WINDOW = 300.0


@case(DEDUP, dedup_seconds=_WINDOW)
async def a_message_that_is_sent_again_comes_once(t: Rig) -> None:
    """After `SendUnknown` one sends again with the same id: accepted and dropped."""
    message = t.message()
    await t.send(message)
    await t.send(message)
    receiver = t.receiver()
    assert ids(await t.drain(receiver)) == [message.id]
    await t.nothing(receiver)


@case(DEDUP, dedup_seconds=_WINDOW)
async def it_is_the_dedup_key_that_counts(t: Rig) -> None:
    """`Message.dedup_key`: equal bodies are two messages, equal ids are one."""
    first, second = t.message(b"same"), t.message(b"same")
    await t.send(first, second)
    await t.send(replace(first, body=b"other"))
    receiver = t.receiver()
    deliveries = await t.take(receiver, 2)
    assert {delivery.message.id: delivery.message.body for delivery in deliveries} == {
        first.id: b"same",
        second.id: b"same",
    }
    await t.nothing(receiver)


@case(DEDUP, dedup_seconds=_WINDOW)
async def what_is_done_is_remembered_too(t: Rig) -> None:
    """`Capabilities.dedup_seconds`: the key is remembered for its time, not for the message's."""
    [sent] = await t.fill()
    receiver = t.receiver()
    await t.drain(receiver)
    await t.send(sent)
    await t.nothing(receiver)


@case(DEDUP, VIRTUAL_TIME, dedup_seconds=_WINDOW)
async def a_key_is_forgotten_when_its_time_is_over(t: Rig) -> None:
    """`Capabilities.dedup_seconds`: no longer than that either."""
    [sent] = await t.fill()
    receiver = t.receiver()
    await t.drain(receiver)
    await t.elapse(t.can.dedup_seconds + 1)
    await t.send(sent)
    assert ids(await t.take(receiver)) == [sent.id]


@case(DEDUP, dedup_seconds=_WINDOW)
async def each_generation_is_sent_once(t: Rig) -> None:
    """Already there is success only for the same generation."""
    message = t.message()
    copy = message.copy(attempts=1, not_before=None, failed_at=None)
    receiver = t.receiver()
    await t.send(message)
    await t.send(copy)
    await t.send(copy)
    assert [one.generation for one in sorted(await t.drain(receiver, 2), key=lambda one: one.generation)] == [0, 1]
    await t.nothing(receiver)


@case(DEDUP, DELAY, dedup_seconds=_WINDOW)
async def a_delayed_message_that_is_sent_again_comes_once(t: Rig) -> None:
    """Duplicates are recognised where delayed messages wait, too."""
    message = t.later(t.delay)
    await t.send(message)
    await t.send(message)
    receiver = t.receiver()
    assert ids(await t.drain(receiver, within=t.delay + t.patience)) == [message.id]
    await t.nothing(receiver, t.delay)


@case(DEDUP, ABANDON_DELAY, dedup_seconds=_WINDOW)
async def a_message_given_back_with_a_delay_is_neither_swallowed_nor_doubled(t: Rig) -> None:
    """A copy with an old generation would be dropped, and the message with it."""
    [sent] = await t.fill()
    receiver = t.receiver()
    for attempt in (1, 2, 3):
        [delivery] = await t.take(receiver, within=t.delay + t.patience)
        t.check_attempt(delivery, attempt)
        await receiver.abandon(again([delivery], delay_seconds=t.delay))
    assert ids(await t.drain(receiver, within=t.delay + t.patience)) == [sent.id]
    await t.nothing(receiver, t.delay)


@case(DEDUP, dedup_seconds=_WINDOW)
async def a_message_given_back_is_neither_swallowed_nor_doubled(t: Rig) -> None:
    """The same without a delay."""
    [sent] = await t.fill()
    receiver = t.receiver()
    for _ in range(3):
        [delivery] = await t.take(receiver)
        await receiver.abandon(again([delivery]))
    assert ids(await t.take(receiver)) == [sent.id]
    await t.nothing(receiver)


@case(DEDUP, UNCOUNTED, dedup_seconds=_WINDOW)
async def a_message_given_back_uncounted_is_neither_swallowed_nor_doubled(t: Rig) -> None:
    """Where it takes a copy each time, each copy has a generation of its own."""
    [sent] = await t.fill()
    receiver = t.receiver()
    for _ in range(5):
        [delivery] = await t.take(receiver)
        t.check_attempt(delivery, 1)
        await receiver.abandon(again([delivery], counted=False))
    assert ids(await t.take(receiver)) == [sent.id]
    await t.nothing(receiver)


@case(DEDUP, dedup_seconds=_WINDOW)
async def a_dead_letter_is_neither_swallowed_nor_doubled(t: Rig) -> None:
    """The dead letters may drop duplicates as well: there is one, and the queue has none."""
    receiver, [delivery] = await t.leased()
    await receiver.dead_letter([DeadLetter(delivery, t.death())])
    dead = t.receiver(dead=True)
    assert ids(await t.take(dead)) == [delivery.message.id]
    await t.nothing(dead)
    await t.hidden()


@case(DEDUP, dedup_seconds=_WINDOW)
async def a_replay_is_neither_swallowed_nor_doubled(t: Rig) -> None:
    """Dead-lettered and replayed within the window, several times over."""
    [sent] = await t.fill()
    for _ in range(3):
        receiver = t.receiver()
        [delivery] = await t.take(receiver)
        t.check_attempt(delivery, 1)
        await receiver.dead_letter([DeadLetter(delivery, t.death())])
        await receiver.close()
        await replay(t)
    last = t.receiver()
    assert ids(await t.take(last)) == [sent.id]
    await t.nothing(last)
    await t.nothing(t.receiver(dead=True))


@case(DEDUP, dedup_seconds=_WINDOW)
async def a_replay_that_is_repeated_comes_once(t: Rig) -> None:
    """A replay that died between send and complete is done again: the second send is a duplicate."""
    await t.dead()
    dead = t.receiver(dead=True)
    [delivery] = await t.take(dead)
    for _ in range(2):
        await t.send(delivery.message.replayed(t.clock.now()))
    await dead.complete([delivery])
    receiver = t.receiver()
    await t.drain(receiver)
    await t.nothing(receiver)
