"""Order per key: one key's messages never overtake each other, whatever happens to the first of them."""

from __future__ import annotations

from leveler.adapter import DeadLetter
from leveler.message import Message
from leveler.testing.contract.case import case
from leveler.testing.contract.crew import Crew
from leveler.testing.contract.needs import ABANDON_DELAY, ORDERING
from leveler.testing.contract.rig import Rig, again, ids


@case(ORDERING, ordered=True)
async def messages_of_one_key_come_in_the_order_they_were_sent_in(t: Rig) -> None:
    """`QueueSpec.ordered`."""
    sent = await t.fill(8, key="k")
    assert _in_turn(await t.drain(t.receiver(), 8)) == _in_turn(sent)


@case(ORDERING, ordered=True)
async def within_one_answer_they_are_in_order_too(t: Rig) -> None:
    """`Receiver.receive`: messages of one key stand in order within the list."""
    sent = await t.fill(6, key="k")
    receiver = t.receiver()
    came: list[Message] = []
    while len(came) < 6:
        deliveries = await t.receive(receiver, min(6, t.can.max_batch), t.patience)
        assert deliveries
        came += [delivery.message for delivery in deliveries]
        await receiver.complete(deliveries)
    assert _in_turn(came) == _in_turn(sent)


@case(ORDERING, ordered=True)
async def a_key_is_in_one_pair_of_hands(t: Rig) -> None:
    """`receive` never yields a message while another of its key is leased elsewhere."""
    sent = await t.fill(3, key="k")
    holder = t.receiver()
    [head] = await t.receive(holder, 1, t.patience)
    assert head.message.id == sent[0].id
    await t.hidden(0.5 * t.lease)


@case(ORDERING, ordered=True)
async def other_keys_go_on(t: Rig) -> None:
    """One key that is busy holds up nobody else's."""
    busy = t.message(key="busy")
    await t.send(busy, t.message(key="busy"))
    holder = t.receiver()
    assert ids(await t.receive(holder, 1, t.patience)) == [busy.id]
    await holder.hold(0)
    free = t.message(key="free")
    await t.send(free)
    assert ids(await t.take(t.receiver())) == [free.id]


@case(ORDERING, ordered=True)
async def a_completed_head_lets_the_next_one_through(t: Rig) -> None:
    """The key is free when its delivery is settled, also for another receiver."""
    sent = await t.fill(2, key="k")
    holder = t.receiver()
    [head] = await t.receive(holder, 1, t.patience)
    await holder.hold(0)
    await holder.complete([head])
    assert ids(await t.take(t.receiver())) == [sent[1].id]


@case(ORDERING, ordered=True)
async def a_head_that_is_given_back_comes_before_its_tail(t: Rig) -> None:
    """`Receiver.abandon`: the order is kept."""
    sent = await t.fill(3, key="k")
    holder = t.receiver()
    for _ in range(3):
        [head] = await t.receive(holder, 1, t.patience)
        assert head.message.id == sent[0].id
        await holder.abandon(again([head]))
    assert _in_turn(await t.drain(holder, 3)) == _in_turn(sent)


@case(ORDERING, ordered=True)
async def a_whole_list_that_is_given_back_keeps_its_order(t: Rig) -> None:
    """After a failed head the core gives back the key's tail."""
    sent = await t.fill(3, key="k")
    holder = t.receiver()
    deliveries = await t.receive(holder, min(3, t.can.max_batch), t.patience)
    await holder.abandon(again(deliveries[:1]) + again(deliveries[1:], counted=t.can.uncounted == "none"))
    assert _in_turn(await t.drain(holder, 3)) == _in_turn(sent)


@case(ORDERING, ABANDON_DELAY, ordered=True)
async def a_delay_blocks_its_key_and_only_its_key(t: Rig) -> None:
    """`Receiver.abandon`: in an ordered queue a delay blocks the key."""
    sent = await t.fill(3, key="k")
    holder = t.receiver()
    [head] = await t.receive(holder, 1, t.patience)
    await holder.abandon(again([head], delay_seconds=t.delay))
    free = t.message(key="free")
    await t.send(free)
    assert ids(await t.drain(holder)) == [free.id]
    await t.nothing(holder, 0.5 * t.delay)
    await t.elapse(0.5 * t.delay)
    assert _in_turn(await t.drain(holder, 3)) == _in_turn(sent)


@case(ORDERING, ordered=True)
async def a_head_whose_lease_is_over_comes_before_its_tail(t: Rig) -> None:
    """A crash does not reorder either."""
    sent = await t.fill(3, key="k")
    crashed = t.receiver()
    [head] = await t.receive(crashed, 1, t.patience)
    await crashed.hold(0)
    await t.outlast(head)
    assert _in_turn(await t.drain(t.receiver(), 3)) == _in_turn(sent)


@case(ORDERING, ordered=True)
async def a_dead_lettered_head_lets_the_rest_go_on_in_order(t: Rig) -> None:
    """Poison at the head of a key must not block it for ever."""
    sent = await t.fill(3, key="k")
    holder = t.receiver()
    [head] = await t.receive(holder, 1, t.patience)
    await holder.dead_letter([DeadLetter(head, t.death())])
    assert _in_turn(await t.drain(holder, 2)) == _in_turn(sent[1:])


@case(ORDERING, ordered=True)
async def messages_without_a_key_come_all_the_same(t: Rig) -> None:
    """Only messages of one key are ordered; those without one wait for nobody."""
    sent = await t.fill(5)
    assert ids(await t.drain(t.receiver(), 5)) == ids(sent)


@case(ORDERING, ordered=True)
async def order_holds_with_many_keys_and_many_receivers(t: Rig) -> None:
    """Per key in order, by however many receivers they are taken, with failures in the middle."""
    sent = [t.message(key=f"key-{number % 5}") for number in range(30)]
    key_of = {message.id: message.key for message in sent}
    await t.send(*sent)
    crew = Crew(t, len(sent), failing=0.25, credit=1)
    await crew.run(4)
    for key in set(key_of.values()):
        assert [name for name in crew.done if key_of[name] == key] == [name for name in key_of if key_of[name] == key]


def _in_turn(messages: list[Message]) -> list[str]:
    return [message.id for message in messages]
