"""What AMQP 1.0 allows and the vendor's client for Python does not do: other clients do."""

from __future__ import annotations

from typing import Any

import pytest
from leveler_servicebus.emulator import QueueSettings
from leveler_servicebus.emulator.amqp.encoder import encode
from leveler_servicebus.emulator.amqp.frames import (
    AMQP_HEADER,
    SASL_HEADER,
    TLS_HEADER,
    amqp_frame,
)
from leveler_servicebus.emulator.amqp.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    Outcome,
    Transfer,
)
from leveler_servicebus.emulator.amqp.values import Described, Symbol, UByte, UInt, ULong
from leveler_servicebus.emulator.terminus import SESSION_FILTER

from tests.servicebus.raw import raw
from tests.servicebus.rig import emulator, run


def state(descriptor: int, *fields: Any) -> Described:
    return Described(ULong(descriptor), list(fields))


def test_a_name_and_its_key_are_enough_and_a_wrong_key_is_not() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as good, raw(rig.server.port) as bad:
            assert await good.login() == 0
            assert await bad.login("wrong") == 1
            assert await bad.end() == b""

    run(story())


def test_a_client_that_wants_to_start_tls_is_told_what_is_spoken_here() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            client.write(TLS_HEADER)
            assert await client.end() == SASL_HEADER

    run(story())


def test_without_a_token_nothing_is_attached() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            client.write(AMQP_HEADER)
            await client.header()
            client.say(Open("raw", "host"))
            client.say(Begin(None, UInt(0), UInt(10), UInt(10)))
            client.attach_receiver(0, "q")
            assert (await client.hear(Detach)).error.value[0] == "amqp:unauthorized-access"

    run(story())


def test_a_drained_link_has_no_credit_left_and_says_so() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            rig.put("a")
            await client.open()
            client.attach_receiver(3, "q")
            client.flow(3, 10, drain=True)
            assert (await client.hear(Transfer)).delivery_id == 0
            answer = await client.hear(Flow)
            assert (answer.handle, answer.delivery_count, answer.link_credit, answer.drain) == (3, 10, 0, True)

    run(story())


def test_an_echo_is_answered() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            await client.open()
            client.attach_receiver(3, "q")
            client.flow(3, 5, echo=True)
            assert (await client.hear(Flow)).link_credit == 5

    run(story())


def test_many_deliveries_are_settled_by_one_frame_and_answered_in_runs() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            rig.put(*"abcdef")
            await client.open()
            client.attach_receiver(1, "q")
            client.flow(1, 6)
            for _ in range(6):
                await client.hear(Transfer)
            client.say(Disposition(True, UInt(2), None, False, state(Outcome.RELEASED)))
            assert (await client.hear(Disposition)).state.descriptor == Outcome.RELEASED
            client.say(Disposition(True, UInt(0), UInt(5), False, state(Outcome.ACCEPTED)))
            answers = [await client.hear(Disposition), await client.hear(Disposition)]
            assert [(one.first, one.last, one.role, one.settled) for one in answers] == [
                (0, 1, False, True),
                (3, 5, False, True),
            ]
            assert rig.namespace.find("q").counts().active == 1

    run(story())


@pytest.mark.parametrize(
    ("settled_as", "count"),
    [
        (state(Outcome.RELEASED), 0),
        (state(Outcome.MODIFIED), 0),
        (state(Outcome.MODIFIED, False, False), 0),
        (state(Outcome.MODIFIED, True), 1),
    ],
)
def test_only_a_delivery_that_has_failed_counts(settled_as: Described, count: int) -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            rig.put("a")
            await client.open()
            client.attach_receiver(1, "q")
            client.flow(1, 1)
            await client.hear(Transfer)
            client.say(Disposition(True, UInt(0), None, True, settled_as))
            client.say(End())
            await client.hear(End)
            [message] = rig.namespace.find("q").peek(1, 1)
            assert (message.delivery_count, message.token) == (count, b"")

    run(story())


def test_a_rejection_without_the_words_of_the_service_is_a_dead_letter_all_the_same() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            rig.put("a")
            await client.open()
            client.attach_receiver(1, "q")
            client.flow(1, 1)
            await client.hear(Transfer)
            error = Described(ULong(0x1D), [Symbol("acme:broken"), "it is broken"])
            client.say(Disposition(True, UInt(0), None, False, state(Outcome.REJECTED, error)))
            await client.hear(Disposition)
            [letter] = rig.namespace.find("q/$DeadLetterQueue").peek(1, 1)
            assert encode("acme:broken") in letter.content.application
            assert encode("it is broken") in letter.content.application

    run(story())


def test_a_client_that_wants_to_see_life_sees_it() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            await client.open(idle_time_out=UInt(400))
            assert [(await client.frame()).performative for _ in range(2)] == [None, None]

    run(story())


def test_a_link_that_waits_for_a_session_can_be_detached() -> None:
    async def story() -> None:
        async with emulator(queues={"s": QueueSettings(requires_session=True)}) as rig, raw(rig.server.port) as client:
            await client.open()
            client.attach_receiver(7, "s", {SESSION_FILTER: None})
            client.say(Detach(UInt(7), True))
            assert (await client.hear(Detach)).handle == 7
            rig.put("a", queue="s", session_id="a")
            assert rig.namespace.find("s").sessions.get("a").owner is None

    run(story())


def test_transactions_are_refused_by_their_name() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            await client.open()
            coordinator = Described(ULong(0x30), [None])
            client.say(Attach("t", UInt(0), False, UByte(0), UByte(0), Described(ULong(0x28), [None]), coordinator))
            assert (await client.hear(Detach)).error.value[:2] == [
                "amqp:not-implemented",
                "Transactions are not emulated.",
            ]

    run(story())


def test_a_frame_on_a_channel_without_a_session_ends_the_connection() -> None:
    async def story() -> None:
        async with emulator() as rig, raw(rig.server.port) as client:
            await client.open()
            client.write(amqp_frame(9, Flow(UInt(0), UInt(1), UInt(0), UInt(1))))
            assert "channel 9" in (await client.hear(Close)).error.value[1]
            await client.end()

    run(story())


def test_whoever_reads_slowly_holds_up_nobody_else() -> None:
    async def story() -> None:
        body = "x" * 200_000
        async with emulator() as rig, raw(rig.server.port) as slow, raw(rig.server.port) as quick:
            await slow.open()
            slow.attach_receiver(1, "q")
            slow.flow(1, 900)
            await slow.hear(Attach)
            rig.put(*[body] * 200)
            await quick.open()
            quick.attach_receiver(1, "q")
            quick.flow(1, 1)
            await quick.hear(Transfer)
            assert rig.namespace.find("q").counts().locked < 200  # the rest waits here, not on the way

    run(story())
