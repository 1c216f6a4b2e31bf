"""Claims: what is claimed is there, and what is not claimed is not there either."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from leveler.errors import ConfigError, LevelerError, Unsupported
from leveler.testing.contract.case import Gated, case
from leveler.testing.contract.rig import Rig, errors_of, ids


@case()
async def extend_is_as_claimed(t: Rig) -> None:
    """`Capabilities.extend`: False means `Unsupported`, and the delivery is none the worse for it."""
    receiver, [held] = await t.leased()
    failed = await errors_of(receiver.extend, [held])
    if t.can.extend:
        assert not failed
    else:
        assert isinstance(failed.get(0), Unsupported), failed or "extending works and is not claimed"
    assert not await errors_of(receiver.complete, [held])


@case()
async def delays_are_as_claimed(t: Rig) -> None:
    """`Capabilities.max_delay_seconds`: 0 means that a message comes at once, whatever its `not_before` says."""
    message = t.later(10 * t.delay)
    await t.send(message)
    if t.can.max_delay_seconds == 0:
        assert ids(await t.take(t.receiver())) == [message.id]
    else:
        await t.nothing(t.receiver(), min(1.0, 0.5 * t.can.max_delay_seconds))


@case()
async def peek_is_as_claimed(t: Rig) -> None:
    """`Capabilities.peek`: False means `Unsupported`, and the messages are as they were."""
    [sent] = await t.fill()
    try:
        seen = await t.adapter.peek(t.queue, 5)
    except Unsupported:
        assert not t.can.peek, "peek is claimed and unsupported"
    else:
        assert t.can.peek, "peeking works and is not claimed"
        assert ids(seen) == [sent.id]
    [delivery] = await t.take(t.receiver())
    assert (delivery.message.id, delivery.attempt) == (sent.id, 1)


@case()
async def ordering_is_as_claimed(t: Rig) -> None:
    """`QueueSpec.ordered` is kept, or refused by `declare`; never taken without a word and not kept."""
    claimed = t.can.ordering
    try:
        await t.declare(ordered=True)
    except ConfigError:
        assert not claimed, "ordering is claimed, and an ordered queue is refused"
        return
    assert t.can.ordering, "an ordered queue is taken, and ordering is not claimed for it"
    first, _ = await t.fill(2, key="k")
    holder = t.receiver()
    assert ids(await t.receive(holder, 1, t.patience)) == [first.id]
    await t.hidden()


@case()
async def dedup_is_as_claimed(t: Rig) -> None:
    """`QueueSpec.dedup_seconds` is granted, or refused by `declare`; never taken without a word and not kept."""
    try:
        await t.declare(dedup_seconds=300.0)
    except ConfigError:
        raise Gated("dedup") from None
    assert t.can.dedup_seconds > 0, "dedup was asked for and taken, and the queue says that it does none"
    message = t.message()
    await t.send(message)
    await t.send(message)
    receiver = t.receiver()
    await t.drain(receiver)
    await t.nothing(receiver)


@case()
async def a_lease_is_as_claimed(t: Rig) -> None:
    """`Capabilities.lease`: one that only the connection ends is not over when its time is."""
    _, [held] = await t.leased()
    await t.hidden(0.9 * min(t.lease, held.leased_until - t.clock.monotonic()))
    assert math.isfinite(held.leased_until) or t.can.lease == "connection"


@case()
async def whatever_is_refused_is_refused_with_an_error_of_levelers(t: Rig) -> None:
    """A foreign error becomes one of `leveler.errors`, at one seam."""
    missing = t.spec()
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: t.adapter.declare(replace(missing, declare="verify")),
        lambda: t.adapter.peek(missing, 1),
        lambda: t.adapter.peek(missing, 1, dead=True),
        lambda: t.adapter.purge(missing),
        lambda: t.adapter.depth(missing),
        lambda: t.receive(t.receiver(queue=missing), 1, 0.1),
        lambda: t.receive(t.receiver(queue=missing, dead=True), 1, 0.1),
    )
    for call in calls:
        with suppress(LevelerError):
            await call()
