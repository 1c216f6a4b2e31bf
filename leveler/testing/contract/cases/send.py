"""Sending: what is true when `Sender.send` returns, and when it does not."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from leveler.errors import ConfigError, MessageTooLarge, QueueFull
from leveler.message import Message
from leveler.testing.contract.case import Gated, case
from leveler.testing.contract.needs import BATCHES, REACHABLE_SIZE, SHARED
from leveler.testing.contract.rig import Rig, errors_of, ids


@case()
async def a_sent_message_arrives(t: Rig) -> None:
    """`Sender.send`: the broker has accepted it."""
    [sent] = await t.fill()
    [delivery] = await t.take(t.receiver())
    assert delivery.message == sent


@case()
async def a_sent_message_is_there_for_another_connection(t: Rig) -> None:
    """Promise 1: `send` returns only after the acknowledgement, so nothing waits in the sender."""
    [sent] = await t.fill()
    somebody = t.receiver(adapter=await t.second())
    assert ids(await t.take(somebody)) == [sent.id]


@case(SHARED)
async def what_was_sent_survives_the_senders_connection(t: Rig) -> None:
    """Promise 1, and `Adapter.__aexit__`: disconnecting takes nothing back."""
    message = t.message()
    async with t.target.adapter(t.clock) as short_lived:
        await short_lived.sender(t.queue).send([message])
    assert ids(await t.take(t.receiver())) == [message.id]


@case()
async def a_whole_batch_arrives(t: Rig) -> None:
    """`Sender.send` takes a batch up to `Capabilities.max_batch`; every message of it arrives once."""
    messages = t.messages(min(t.can.max_batch, 100))
    await t.sender().send(messages)
    receiver = t.receiver()
    assert ids(await t.take(receiver, len(messages))) == ids(messages)
    await t.nothing(receiver)


@case()
async def an_empty_batch_sends_nothing(t: Rig) -> None:
    """Every verb takes a batch, an empty one too."""
    await t.sender().send([])
    await t.nothing(t.receiver())


@case()
async def many_tasks_send_at_once(t: Rig) -> None:
    """`Sender`: used by many tasks at once."""
    sender, messages = t.sender(), t.messages(30)
    await asyncio.gather(*(sender.send([message]) for message in messages))
    assert ids(await t.take(t.receiver(), 30)) == ids(messages)


@case()
async def the_size_counts_body_and_headers(t: Rig) -> None:
    """`Sender.size`: bytes of the message as this broker counts them, headers included."""
    size = t.sender().size
    plain = size(t.message(b"x" * 1000))
    assert plain >= 1000
    assert size(t.message(b"x" * 2000)) >= plain + 1000
    assert size(t.message(b"x" * 1000, headers={"x-note": "y" * 500})) >= plain + 500


@case(REACHABLE_SIZE)
async def a_message_just_below_the_largest_size_arrives(t: Rig) -> None:
    """`Capabilities.max_message_bytes`, from below."""
    await _arrives(t, fitting(t, t.can.max_message_bytes - 1))


@case(REACHABLE_SIZE)
async def a_message_of_the_largest_size_arrives(t: Rig) -> None:
    """`Capabilities.max_message_bytes` is itself allowed."""
    await _arrives(t, fitting(t, t.can.max_message_bytes))


@case(REACHABLE_SIZE)
async def a_large_message_may_be_any_bytes(t: Rig) -> None:
    """`Sender.size` counts what an encoding of the body, such as base64, adds."""
    most = t.can.max_message_bytes
    body = bytes(range(256)) * (most // 256)
    while t.sender().size(t.message(body)) > most:
        body = body[: int(len(body) * 0.95)]
    await _arrives(t, t.message(body))


@case(REACHABLE_SIZE)
async def a_message_above_the_largest_size_is_refused(t: Rig) -> None:
    """`MessageTooLarge`: refused before it can be lost, and nothing is queued."""
    large = beyond(t, t.can.max_message_bytes)
    failed = await errors_of(t.sender().send, [large])
    assert isinstance(failed.get(0), MessageTooLarge), failed
    await t.nothing(t.receiver())


@case(REACHABLE_SIZE, BATCHES)
async def one_message_that_is_too_large_fails_alone(t: Rig) -> None:
    """`Sender.send` raises `BatchError`: an index that is not in `failed` was accepted."""
    large = beyond(t, t.can.max_message_bytes)
    batch = [t.message(), large, t.message()][: t.can.max_batch]
    failed = await errors_of(t.sender().send, batch)
    assert list(failed) == [1], failed
    assert isinstance(failed[1], MessageTooLarge), failed
    receiver = t.receiver()
    good = [message for message in batch if message is not large]
    assert ids(await t.take(receiver, len(good))) == ids(good)
    await t.nothing(receiver)


@case()
async def a_bounded_queue_refuses_when_it_is_full(t: Rig) -> None:
    """`QueueSpec.max_depth`: `QueueFull`, perhaps a few messages late, and what was accepted stays."""
    await _bounded(t, 3)
    accepted: list[Message] = []
    while not await _is_full(t, message := t.message()):
        accepted.append(message)
        assert len(accepted) < 3 + 10, "10 messages above its bound the queue still takes more"
    assert len(accepted) >= 3
    assert ids(await t.take(t.receiver(), len(accepted))) == ids(accepted)


@case()
async def a_bounded_queue_takes_more_when_there_is_room_again(t: Rig) -> None:
    """`QueueFull`: nothing was queued; try again later."""
    await _bounded(t, 2)
    for _ in range(12):
        if await _is_full(t, t.message()):
            break
    receiver = t.receiver()
    await t.drain(receiver, 2)
    later = t.message()

    async def taken() -> None:
        assert not await _is_full(t, later)

    await t.eventually(taken)


def fitting(t: Rig, most: int) -> Message:
    """A message as large as it can be within `most` bytes: the body nearly, a header's last characters exactly."""
    measure, plain = t.sender().size, t.message()

    def made(body: int, pad: int) -> Message:
        assert pad >= 0, f"no body of about {body} bytes makes a message of {most}"
        return replace(plain, body=b'"' + b"x" * body + b'"', headers={"x-pad": "p" * pad})

    empty, more = measure(made(0, 0)), measure(made(3000, 0))
    assert more > empty, "3000 more bytes of body do not make a message larger"
    # Few measurements: these messages are large, and cases may run side by side. 3000 is whole groups of base64.
    body = int((most - empty) * 3000 / (more - empty)) - 64
    pad = most - measure(made(body, 0))
    while measure(made(body, pad)) > most:
        pad -= 1
    return made(body, pad)


def beyond(t: Rig, most: int) -> Message:
    """A message that is larger than `most` bytes by as little as can be."""
    message, measure = fitting(t, most), t.sender().size
    for _ in range(64):
        message = replace(message, headers={"x-pad": message.headers["x-pad"] + "p"})
        if measure(message) > most:
            return message
    raise AssertionError("64 more bytes of headers do not make a message larger")


async def _arrives(t: Rig, sent: Message) -> None:
    await t.sender().send([sent])
    [delivery] = await t.take(t.receiver())
    assert delivery.message.body == sent.body, f"{len(delivery.message.body)} of {len(sent.body)} bytes came, or others"
    assert delivery.message.headers == sent.headers


async def _bounded(t: Rig, most: int) -> None:
    try:
        await t.declare(max_depth=most)
    except ConfigError:
        raise Gated("a bound on the depth") from None


async def _is_full(t: Rig, message: Message) -> bool:
    failed = await errors_of(t.sender().send, [message])
    assert all(isinstance(error, QueueFull) for error in failed.values()), failed
    return bool(failed)
