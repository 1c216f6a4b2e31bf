"""Queues: `declare` and `drop`, and capabilities that make sense."""

from __future__ import annotations

import math
from dataclasses import replace

from leveler.errors import ConfigError, QueueNotFound
from leveler.testing.contract.case import Gated, case
from leveler.testing.contract.needs import TIMED_LEASE
from leveler.testing.contract.rig import Rig, errors_of, ids


@case()
async def declaring_twice_is_fine_and_keeps_the_messages(t: Rig) -> None:
    """`declare`: makes or checks the queue; every worker of a fleet does it at its start."""
    sent = await t.fill(2)
    assert await t.adapter.declare(t.queue) == t.can
    assert ids(await t.take(t.receiver(), 2)) == ids(sent)


@case()
async def a_queue_that_is_there_passes_verification(t: Rig) -> None:
    """`QueueSpec.declare`: ``verify`` checks and makes nothing, and says the same."""
    assert await t.adapter.declare(replace(t.queue, declare="verify")) == t.can


@case()
async def verifying_a_missing_queue_says_that_it_is_missing(t: Rig) -> None:
    """`declare` raises `QueueNotFound`: it is not there and may not be created."""
    for _ in range(2):  # looking must not have created it
        try:
            await t.adapter.declare(t.spec(declare="verify"))
        except QueueNotFound:
            continue
        raise AssertionError("a queue that nobody declared was found")


@case()
async def skipping_the_declaration_still_tells_what_is_true(t: Rig) -> None:
    """`QueueSpec.declare`: ``skip`` does neither, and the queue works with what it said."""
    said = await t.adapter.declare(replace(t.queue, declare="skip"))
    assert said.lease == t.can.lease
    [sent] = await t.fill()
    assert ids(await t.take(t.receiver())) == [sent.id]


@case()
async def dropping_is_done_once_and_harmless_after(t: Rig) -> None:
    """`drop`: no error if it is not there."""
    await t.adapter.drop(t.queue)
    await t.adapter.drop(t.queue)
    await t.adapter.drop(t.spec())


@case()
async def a_dropped_queue_is_gone(t: Rig) -> None:
    """`drop` removes the queue, at least in the end."""
    await t.dead()
    await t.adapter.drop(t.queue)

    async def gone() -> None:
        try:
            await t.adapter.declare(replace(t.queue, declare="verify"))
        except QueueNotFound:
            return
        raise AssertionError("the dropped queue is still found")

    await t.eventually(gone)


@case()
async def queues_do_not_mix(t: Rig) -> None:
    """Two queues share nothing, dead letters included."""
    first = t.queue
    [mine] = await t.dead()
    second = await t.declare()
    [other] = await t.fill()
    await t.nothing(t.receiver(queue=first))
    await t.nothing(t.receiver(queue=second, dead=True))
    assert ids(await t.take(t.receiver(queue=second))) == [other.id]
    assert ids(await t.take(t.receiver(queue=first, dead=True))) == [mine.id]


@case()
async def a_queue_whose_name_is_another_ones_beginning_is_another_queue(t: Rig) -> None:
    """Names are compared whole: dropping or purging ``orders`` leaves ``orders-new`` alone."""
    short = t.queue
    long = await t.declare(name=f"{short.name}-new")
    [kept] = await t.fill()
    await t.adapter.purge(short)
    await t.adapter.drop(short)
    assert ids(await t.take(t.receiver(queue=long))) == [kept.id]


@case()
async def the_longest_legal_name_works(t: Rig) -> None:
    """Queue names have 3 to 58 characters, on every broker."""
    name = t.queue.name
    await t.declare(name=name + "-" + "x" * (57 - len(name)))
    [sent] = await t.dead()
    assert ids(await t.take(t.receiver(dead=True))) == [sent.id]


@case(TIMED_LEASE)
async def a_lease_outside_the_brokers_range_is_refused(t: Rig) -> None:
    """`Capabilities.lease_range_seconds`: the queue cannot keep it, so `declare` raises `ConfigError`."""
    low, high = t.can.lease_range_seconds
    outside = [seconds for seconds in (low / 2, high + 1) if 0 < seconds < math.inf]
    if not outside:
        raise Gated("a lease range")
    for seconds in outside:
        try:
            await t.declare(lease_seconds=seconds)
        except ConfigError:
            continue
        raise AssertionError(f"a lease of {seconds} s was taken although the range is {low} to {high} s")


@case()
async def what_is_claimed_makes_sense(t: Rig) -> None:
    """`Capabilities`: no claim contradicts another, or the queue that it is about."""
    low, high = t.can.lease_range_seconds
    assert t.can.max_batch >= 1
    assert t.can.max_message_bytes >= 32 * 1024, "the headers alone may take 16 KiB"
    assert 1 <= t.can.priority_levels <= 10
    assert low <= t.lease <= high
    assert t.can.max_lease_seconds >= t.lease
    assert min(t.can.max_delay_seconds, t.can.max_abandon_seconds, t.can.dedup_seconds) >= 0
    assert not (t.can.lease == "request" and t.can.extend), "a request that brought a delivery cannot be prolonged"
    assert not (t.can.scope == "process" and t.can.durable), "what lives in a process dies with it"


@case()
async def sending_to_a_queue_that_is_not_there_is_never_silence(t: Rig) -> None:
    """Promise 1: no message is accepted and lost. Refuse it, or have it when the queue is declared."""
    missing = t.spec()
    message = t.message()
    if failed := await errors_of(t.sender(missing).send, [message]):
        assert isinstance(failed[0], QueueNotFound), failed
        return
    await t.declare(name=missing.name)
    assert ids(await t.take(t.receiver())) == [message.id]


@case()
async def receiving_from_a_queue_that_is_not_there_says_so(t: Rig) -> None:
    """`QueueNotFound`: the queue is not there; an empty answer would hide a mistyped name for ever."""
    try:
        await t.receive(t.receiver(queue=t.spec()), 1, 0.1)
    except QueueNotFound:
        return
    raise AssertionError("receiving from a queue that nobody declared was not refused")
