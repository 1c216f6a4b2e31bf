"""Peeking: a look at what waits that leaves no trace."""

from __future__ import annotations

from leveler.testing.contract.case import case
from leveler.testing.contract.needs import ORDERING, PEEK
from leveler.testing.contract.rig import Rig, ids


@case(PEEK)
async def peeking_shows_what_waits(t: Rig) -> None:
    """`Adapter.peek`: the waiting messages, whole."""
    sent = await t.fill(3, headers={"x-a": "b"})
    seen = await t.adapter.peek(t.queue, 10)
    assert {message.id: message for message in seen} == {message.id: message for message in sent}


@case(PEEK)
async def peeking_shows_no_more_than_asked(t: Rig) -> None:
    """`Adapter.peek`: up to `limit`."""
    await t.fill(5)
    assert len(await t.adapter.peek(t.queue, 2)) == 2


@case(PEEK)
async def peeking_at_an_empty_queue_shows_nothing(t: Rig) -> None:
    """`Adapter.peek` does not wait."""
    assert list(await t.adapter.peek(t.queue, 10)) == []
    assert list(await t.adapter.peek(t.queue, 10, dead=True)) == []


@case(PEEK)
async def peeking_leases_nothing(t: Rig) -> None:
    """`Adapter.peek`: left as they are, so a receiver gets them at once."""
    sent = await t.fill(3)
    await t.adapter.peek(t.queue, 10)
    assert ids(await t.take(t.receiver(), 3)) == ids(sent)


@case(PEEK)
async def peeking_counts_nothing(t: Rig) -> None:
    """`Capabilities.peek`: works without touching counts."""
    await t.fill()
    for _ in range(3):
        await t.adapter.peek(t.queue, 10)
    [delivery] = await t.take(t.receiver())
    assert delivery.attempt == 1


@case(PEEK)
async def peeking_does_not_show_what_is_leased(t: Rig) -> None:
    """`Adapter.peek`: waiting messages; one that is being worked on is not waiting."""
    await t.fill(3)
    [held] = await t.take(t.receiver(capacity=1))
    seen = await t.adapter.peek(t.queue, 10)
    assert held.message.id not in ids(seen)
    assert len(seen) == 2


@case(PEEK, ORDERING, ordered=True)
async def peeking_shows_the_next_ones_first(t: Rig) -> None:
    """`Adapter.peek`: in the order in which they will come, and it does not change that order."""
    sent = [message.id for message in await t.fill(4, key="k")]
    assert [message.id for message in await t.adapter.peek(t.queue, 3)] == sent[:3]
    assert [message.id for message in await t.drain(t.receiver(), 4)] == sent
