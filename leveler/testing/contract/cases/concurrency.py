"""Concurrency: many receivers and senders at once, and no message in two pairs of hands."""

from __future__ import annotations

import asyncio

from leveler.testing.contract.case import case
from leveler.testing.contract.crew import Crew
from leveler.testing.contract.needs import CONCURRENT_VERBS, EXTEND
from leveler.testing.contract.rig import Rig, again, errors_of, ids


@case()
async def many_receivers_never_hold_one_message_twice(t: Rig) -> None:
    """A lease is one holder's; everything is handled, and once where nothing fails."""
    sent = await t.fill(60)
    crew = Crew(t, 60)
    await crew.run(6)
    assert sorted(crew.done) == ids(sent)


@case()
async def two_connections_never_hold_one_message_twice(t: Rig) -> None:
    """The same across connections, as between two processes."""
    sent = await t.fill(40)
    crew = Crew(t, 40)
    await crew.run(4, t.adapter, await t.second())
    assert sorted(crew.done) == ids(sent)


@case()
async def failures_in_between_change_nothing(t: Rig) -> None:
    """With every third run failing each message is still done once, by one at a time."""
    sent = await t.fill(40)
    crew = Crew(t, 40, failing=0.3)
    await crew.run(5, t.adapter, await t.second())
    assert sorted(crew.done) == ids(sent)


@case()
async def sending_and_receiving_at_once_loses_nothing(t: Rig) -> None:
    """A queue that is filled while it is emptied."""
    crew, messages = Crew(t, 60), t.messages(60)

    async def send() -> None:
        for start in range(0, 60, 6):
            await t.send(*messages[start : start + 6])

    sending = t.background(send())
    await crew.run(4)
    await sending
    assert sorted(crew.done) == ids(messages)


@case(CONCURRENT_VERBS)
async def settlements_of_one_receiver_may_overlap(t: Rig) -> None:
    """`Capabilities.concurrent_verbs`: claimed, so overlapping verbs answer each for their own deliveries."""
    receiver, deliveries = await t.leased(20)
    done, back = deliveries[:10], deliveries[10:]
    verbs = [receiver.complete([one]) for one in done] + [receiver.abandon(again([one])) for one in back]
    await t.pace.until(asyncio.gather(*verbs))
    other = t.receiver()
    assert ids(await t.drain(other, 10)) == ids(back)
    await t.elapse(t.lease)
    await t.nothing(other)


@case(CONCURRENT_VERBS, EXTEND)
async def extending_some_while_settling_others_is_safe(t: Rig) -> None:
    """`Capabilities.concurrent_verbs`: the lease sweep runs beside the settlements."""
    receiver, deliveries = await t.leased(10)
    kept, done = deliveries[:5], deliveries[5:]
    await t.elapse(0.5 * t.lease)
    await t.pace.until(asyncio.gather(t.each(receiver.extend, kept), *(receiver.complete([one]) for one in done)))
    await t.elapse(0.7 * t.lease)
    for one in kept:
        assert not await errors_of(receiver.complete, [one])
    await t.hidden()


@case()
async def closing_some_receivers_while_others_work_loses_nothing(t: Rig) -> None:
    """What a leaving worker holds comes to those that stay."""
    sent = await t.fill(20)
    leaving = t.receiver(capacity=5)
    held = await t.take(leaving, 3)
    await leaving.close()
    if t.can.lease != "connection":
        await t.outlast(*held)
    crew = Crew(t, 20)
    await crew.run(3)
    assert sorted(crew.done) == ids(sent)
