"""What the vendor's unmodified client does, and what comes of it."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.core.credentials import AccessToken
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    AutoLockRenewer,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
    TransportType,
)
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessagingEntityNotFoundError,
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
    SessionLockLostError,
)
from leveler_servicebus.emulator import EmulatorClock, Listening, Policy, QueueSettings

from tests.servicebus.rig import KEY, NAME, ONCE, at, connection_string, emulator, run, until

DEAD = ServiceBusSubQueue.DEAD_LETTER


def test_everything_in_a_message_arrives_as_it_was_sent() -> None:
    async def story() -> None:
        sent = ServiceBusMessage(
            b"\x00\xff body",
            message_id="id",
            correlation_id="c",
            subject="s",
            content_type="text/x",
            to="t",
            reply_to="r",
            partition_key="p",
            time_to_live=timedelta(hours=1),
            application_properties={"text": "ü", "number": 7, "float": 1.5, "flag": True},
        )
        async with emulator() as rig, rig.client() as client:
            async with client.get_queue_sender("q") as sender:
                await sender.send_messages(sent)
            async with client.get_queue_receiver("q") as receiver:
                [got] = await receiver.receive_messages(1, max_wait_time=5)
            assert b"".join(got.body) == b"\x00\xff body"
            for name in ("message_id", "correlation_id", "subject", "content_type", "to", "reply_to", "partition_key"):
                assert getattr(got, name) == getattr(sent, name)
            assert got.time_to_live == timedelta(hours=1)
            assert got.application_properties == {
                b"text": "ü".encode(),
                b"number": 7,
                b"float": 1.5,
                b"flag": True,
            }
            assert at(got.expires_at_utc) - at(got.enqueued_time_utc) == timedelta(hours=1)

    run(story())


def test_messages_come_in_order_and_what_is_abandoned_comes_back_to_its_place() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client, client.get_queue_receiver("q") as receiver:
            rig.put("a", "b", "c")
            first, second = await receiver.receive_messages(2, max_wait_time=5)
            await receiver.abandon_message(first)
            await receiver.complete_message(second)
            again = await receiver.receive_messages(2, max_wait_time=5)
            assert [(str(one), one.delivery_count) for one in again] == [("a", 1), ("c", 0)]

    run(story())


def test_a_message_that_fails_too_often_is_dead_lettered_with_the_reason() -> None:
    async def story() -> None:
        async with emulator(queues={"q": QueueSettings(max_delivery_count=3)}) as rig, rig.client() as client:
            rig.put("poison")
            async with client.get_queue_receiver("q") as receiver:
                for _ in range(3):
                    [message] = await receiver.receive_messages(1, max_wait_time=5)
                    await receiver.abandon_message(message)
                assert await receiver.receive_messages(1, max_wait_time=0.2) == []
            async with client.get_queue_receiver("q", sub_queue=DEAD) as receiver:
                for _ in range(5):  # and there it may stay: its count does not rise
                    [message] = await receiver.receive_messages(1, max_wait_time=5)
                    assert message.dead_letter_reason == "MaxDeliveryCountExceeded"
                    assert (message.dead_letter_source, message.delivery_count) == ("q", 3)
                    await receiver.abandon_message(message)

    run(story())


def test_a_lock_ends_and_counts_and_the_next_receiver_gets_the_message() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client:
            rig.put("a")
            one, two = client.get_queue_receiver("q"), client.get_queue_receiver("q")
            async with one, two:
                [held] = await one.receive_messages(1, max_wait_time=5)
                waiting = asyncio.ensure_future(two.receive_messages(1, max_wait_time=30))
                await asyncio.sleep(0.1)
                assert not waiting.done()
                rig.server.move_clock(61)
                [message] = await waiting
                assert message.delivery_count == 1
                with pytest.raises(MessageLockLostError):
                    await one.complete_message(held)
                await two.complete_message(message)

    run(story())


def test_a_renewed_lock_lasts_its_whole_time_anew() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client, client.get_queue_receiver("q") as receiver:
            rig.put("a")
            [message] = await receiver.receive_messages(1, max_wait_time=5)
            rig.server.move_clock(40)
            until_when = await receiver.renew_message_lock(message)
            assert at(message.locked_until_utc) == until_when > datetime.now(UTC) + timedelta(seconds=90)
            rig.server.move_clock(40)
            await receiver.complete_message(message)
            assert rig.namespace.find("q").counts().active == 0

    run(story())


def test_a_fast_clock_ends_locks_sooner_than_the_client_thinks() -> None:
    async def story() -> None:
        clock = EmulatorClock(speed=300)
        async with emulator(clock=clock) as rig, rig.client() as client, client.get_queue_receiver("q") as receiver:
            rig.put("a")
            [held] = await receiver.receive_messages(1, max_wait_time=5)
            [message] = await receiver.receive_messages(1, max_wait_time=30)  # a minute of the queue's: 0.2 s
            assert (message.delivery_count or 0) >= 1
            assert message.lock_token != held.lock_token

    run(story())


def test_receive_and_delete_leaves_nothing_behind() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client:
            rig.put("a", "b")
            mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
            async with client.get_queue_receiver("q", receive_mode=mode) as receiver:
                assert [str(one) for one in await receiver.receive_messages(2, max_wait_time=5)] == ["a", "b"]
            assert rig.namespace.find("q").counts() == (0, 0, 0, 0)

    run(story())


def test_a_deferred_message_is_taken_by_its_number_alone() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client, client.get_queue_receiver("q") as receiver:
            rig.put("a")
            [message] = await receiver.receive_messages(1, max_wait_time=5)
            await receiver.defer_message(message)
            assert await receiver.receive_messages(1, max_wait_time=0.2) == []
            number = message.sequence_number
            assert number is not None
            with pytest.raises(MessageNotFoundError):
                await receiver.receive_deferred_messages([number, 999])
            [deferred] = await receiver.receive_deferred_messages(number)
            assert str(deferred) == "a"
            await receiver.abandon_message(deferred)
            [deferred] = await receiver.receive_deferred_messages(number)
            assert deferred.delivery_count == 1
            await receiver.renew_message_lock(deferred)
            await receiver.dead_letter_message(deferred, reason="seen", error_description="twice")
            async with client.get_queue_receiver("q", sub_queue=DEAD) as dead:
                [letter] = await dead.receive_messages(1, max_wait_time=5)
                assert (letter.dead_letter_reason, letter.dead_letter_error_description) == ("seen", "twice")

    run(story())


def test_a_message_whose_time_is_over_is_dropped_or_dead_lettered() -> None:
    async def story() -> None:
        queues = {"drops": QueueSettings(), "keeps": QueueSettings(dead_letter_on_expiration=True)}
        async with emulator(queues=queues) as rig, rig.client() as client:
            for name in queues:
                async with client.get_queue_sender(name) as sender:
                    await sender.send_messages(ServiceBusMessage(name, time_to_live=timedelta(seconds=10)))
                rig.put("for ever", queue=name)
            rig.server.move_clock(11)
            assert [rig.namespace.find(name).counts().active for name in queues] == [1, 1]
            assert rig.namespace.find("drops/$deadletterqueue").counts().active == 0
            async with client.get_queue_receiver("keeps", sub_queue=DEAD) as receiver:
                [letter] = await receiver.receive_messages(1, max_wait_time=5)
                assert letter.dead_letter_reason == "TTLExpiredException"

    run(story())


def test_a_scheduled_message_comes_in_its_time_with_a_new_number_and_can_be_cancelled_before() -> None:
    async def story() -> None:
        async with emulator() as rig:
            client = rig.client()
            async with client, client.get_queue_sender("q") as sender, client.get_queue_receiver("q") as receiver:
                due = datetime.now(UTC) + timedelta(hours=1)
                messages: list[Any] = [ServiceBusMessage("first"), ServiceBusMessage("second")]
                numbers = await sender.schedule_messages(messages, due)
                assert [one.state.value for one in await receiver.peek_messages(5)] == [2, 2]
                await sender.cancel_scheduled_messages(numbers[:1])
                with pytest.raises(MessageNotFoundError):
                    await sender.cancel_scheduled_messages(numbers)
                assert await receiver.receive_messages(2, max_wait_time=0.2) == []
                rig.server.move_clock(3601)
                [message] = await receiver.receive_messages(2, max_wait_time=5)
                assert str(message) == "second"
                assert message.sequence_number == 3
                assert message.scheduled_enqueue_time_utc == due.replace(microsecond=due.microsecond // 1000 * 1000)

    run(story())


def test_a_duplicate_is_accepted_and_dropped_within_the_window() -> None:
    async def story() -> None:
        queues = {"q": QueueSettings(duplicate_window_ms=20_000)}
        async with emulator(queues=queues) as rig, rig.client() as client, client.get_queue_sender("q") as sender:
            await sender.send_messages(ServiceBusMessage("a", message_id="1"))
            await sender.send_messages([ServiceBusMessage("b", message_id="1"), ServiceBusMessage("c", message_id="2")])
            async with client.get_queue_receiver("q") as receiver:
                got = await receiver.receive_messages(3, max_wait_time=5)
                assert [str(one) for one in got] == ["a", "c"]
                await receiver.complete_message(got[0])
                await sender.send_messages(ServiceBusMessage("d", message_id="1"))  # remembered though it is gone
                rig.server.move_clock(21)
                await sender.send_messages(ServiceBusMessage("e", message_id="1"))
                assert "e" in [str(one) for one in await receiver.receive_messages(1, max_wait_time=5)]

    run(story())


def test_peek_sees_every_state_and_takes_nothing() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client, client.get_queue_receiver("q") as receiver:
            rig.put("a", "b", "c", "d")
            [held, deferred] = await receiver.receive_messages(2, max_wait_time=5)
            await receiver.defer_message(deferred)
            async with client.get_queue_receiver("q") as other:
                seen = await other.peek_messages(3)
                assert [(str(one), one.state.value) for one in seen] == [("a", 0), ("b", 1), ("c", 0)]
                assert [str(one) for one in await other.peek_messages(3)] == ["d"]
                assert [str(one) for one in await other.peek_messages(2, sequence_number=2)] == ["b", "c"]
            await receiver.complete_message(held)

    run(story())


def test_several_receivers_share_what_comes() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client:
            receivers = [client.get_queue_receiver("q") for _ in range(3)]
            async with receivers[0], receivers[1], receivers[2]:
                waits = [asyncio.ensure_future(one.receive_messages(5, max_wait_time=20)) for one in receivers]
                await asyncio.sleep(0.2)
                rig.put(*"abcdef")
                assert [len(got) for got in await asyncio.gather(*waits)] == [2, 2, 2]

    run(story())


# ---- sessions


def sessions(**options: Any) -> dict[str, QueueSettings]:
    return {"s": QueueSettings(requires_session=True, **options)}


def test_a_session_keeps_its_order_and_its_state_and_others_run_beside_it() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client:
            rig.put("a1", "a2", queue="s", session_id="a")
            rig.put("b1", queue="s", session_id="b")
            one = client.get_queue_receiver("s", session_id=NEXT_AVAILABLE_SESSION)
            two = client.get_queue_receiver("s", session_id=NEXT_AVAILABLE_SESSION)
            async with one, two:
                assert (one.session.session_id, two.session.session_id) == ("a", "b")
                assert await one.session.get_state() is None
                await one.session.set_state(b"half")
                first, second = await one.receive_messages(2, max_wait_time=5)
                await one.complete_message(first)
                await one.abandon_message(second)
                [again] = await one.receive_messages(1, max_wait_time=5)
                assert (str(again), again.session_id, again.delivery_count) == ("a2", "a", 1)
                assert await one.session.renew_lock() > datetime.now(UTC) + timedelta(seconds=50)
            async with client.get_queue_receiver("s", session_id="a") as receiver:
                assert await receiver.session.get_state() == b"half"
                [again] = await receiver.receive_messages(1, max_wait_time=5)
                assert again.delivery_count == 1  # closing a session does not count
                await receiver.complete_message(again)

    run(story())


def test_the_lock_of_a_session_ends_and_then_it_counts() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client:
            rig.put("a", queue="s", session_id="a")
            async with client.get_queue_receiver("s", session_id="a") as receiver:
                [held] = await receiver.receive_messages(1, max_wait_time=5)
                rig.server.move_clock(61)
                with pytest.raises(SessionLockLostError):
                    await receiver.complete_message(held)
            async with client.get_queue_receiver("s", session_id="a") as receiver:
                [again] = await receiver.receive_messages(1, max_wait_time=5)
                assert again.delivery_count == 1

    run(story())


def test_a_receiver_whose_session_is_lost_hears_of_it_without_asking() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client:
            rig.put("a", queue="s", session_id="a")
            async with client.get_queue_receiver("s", session_id="a") as receiver:
                rig.server.move_clock(61)
                with pytest.raises(SessionLockLostError):
                    await receiver.receive_messages(1, max_wait_time=5)

    run(story())


def test_the_session_of_a_client_that_is_cut_off_stays_locked_until_its_lock_ends() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client, rig.client() as other:
            rig.put("a", queue="s", session_id="a")
            await client.get_queue_receiver("s", session_id="a").__aenter__()
            rig.server.cut()
            with pytest.raises(ServiceBusError, match="cannot be accepted"):
                await other.get_queue_receiver("s", session_id="a").__aenter__()
            rig.server.move_clock(61)
            async with other.get_queue_receiver("s", session_id="a") as receiver:
                assert len(await receiver.receive_messages(1, max_wait_time=5)) == 1

    run(story())


def test_there_is_no_next_session_for_as_long_as_the_client_waits() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client:
            receiver = client.get_queue_receiver("s", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=0.5)
            with pytest.raises(OperationTimeoutError):
                await receiver.__aenter__()

    run(story())


def test_sessions_are_listed_that_have_messages_or_a_state() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client:
            assert [one async for one in client.list_queue_sessions("s")] == []
            for number in range(120):
                rig.put("m", queue="s", session_id=f"{number:03}")
            async with client.get_queue_receiver("s", session_id="state only") as receiver:
                await receiver.session.set_state(b"s")
            listed = [one async for one in client.list_queue_sessions("s")]
            assert listed == [*(f"{number:03}" for number in range(120)), "state only"]
            since = datetime.now(UTC) - timedelta(minutes=1)
            assert [one async for one in client.list_queue_sessions("s", state_updated_after=since)] == ["state only"]

    run(story())


def test_a_message_of_a_session_is_deferred_and_taken_within_the_session() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client:
            rig.put("a", queue="s", session_id="a")
            async with client.get_queue_receiver("s", session_id="a") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                await receiver.defer_message(message)
                [deferred] = await receiver.receive_deferred_messages(message.sequence_number or 0)
                await receiver.complete_message(deferred)
            assert rig.namespace.find("s").counts() == (0, 0, 0, 0)

    run(story())


def test_who_has_stopped_waiting_for_a_session_gets_none() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client, rig.client() as other:
            receiver = client.get_queue_receiver("s", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=60)
            opening = asyncio.ensure_future(receiver.__aenter__())
            await until(lambda: rig.server._service._waiting)
            opening.cancel()
            await asyncio.wait([opening])
            await receiver.close()
            rig.put("a", queue="s", session_id="a")
            async with other.get_queue_receiver("s", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=5) as second:
                assert second.session.session_id == "a"

    run(story())


@pytest.mark.parametrize(("name", "session_id"), [("s", None), ("q", "a")])
def test_sessions_are_for_queues_that_require_them_and_only_for_those(name: str, session_id: str | None) -> None:
    async def story() -> None:
        async with emulator(queues={**sessions(), "q": QueueSettings()}) as rig, rig.client() as client:
            options: dict[str, Any] = {} if session_id is None else {"session_id": session_id}
            with pytest.raises(ServiceBusError, match="session"):
                await client.get_queue_receiver(name, **options).__aenter__()

    run(story())


def test_dead_letters_of_sessions_are_read_without_a_session() -> None:
    async def story() -> None:
        async with emulator(queues=sessions()) as rig, rig.client() as client:
            rig.put("a", queue="s", session_id="a")
            async with client.get_queue_receiver("s", session_id="a") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                await receiver.dead_letter_message(message, reason="r")
            async with client.get_queue_receiver("s", sub_queue=DEAD) as receiver:
                [letter] = await receiver.receive_messages(1, max_wait_time=5)
                assert (letter.session_id, letter.dead_letter_reason) == ("a", "r")
                await receiver.complete_message(letter)

    run(story())


def test_topics_are_refused_by_their_name() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client:
            with pytest.raises(MessagingEntityNotFoundError, match="Topics are not emulated"):
                await client.get_subscription_receiver("topic", "one").__aenter__()

    run(story())


# ---- who may


def test_a_wrong_key_is_an_authentication_error() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client(key="wrong") as client:
            with pytest.raises(ServiceBusAuthenticationError):
                await client.get_queue_sender("q").__aenter__()
        async with emulator() as rig, rig.client(name="Nobody") as client:
            with pytest.raises(ServiceBusAuthenticationError):
                await client.get_queue_receiver("q").__aenter__()

    run(story())


def test_a_policy_allows_what_its_rights_say() -> None:
    async def story() -> None:
        policies = [Policy(name="sends", key="s", rights=frozenset({"send"})), Policy(name=NAME, key=KEY)]
        async with emulator(policies=policies) as rig, rig.client(name="sends", key="s") as client:
            async with client.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("a"))
            with pytest.raises(ServiceBusAuthorizationError, match="Listen"):
                await client.get_queue_receiver("q").__aenter__()

    run(story())


class Bearer:
    """A credential whose tokens nobody here has signed."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken("eyJ.not.ours", int(datetime.now(UTC).timestamp()) + 3600)

    async def close(self) -> None: ...

    async def __aenter__(self) -> Bearer:
        return self

    async def __aexit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("trusts", [True, False])
def test_tokens_of_entra_id_are_taken_only_if_the_emulator_is_told_so(trusts: bool) -> None:
    async def story() -> None:
        async with emulator(trust_bearers=trusts) as rig:
            client = AsyncClient(f"127.0.0.1:{rig.server.port}", Bearer(), use_tls=False, **ONCE)
            async with client:
                if trusts:
                    async with client.get_queue_sender("q") as sender:
                        await sender.send_messages(ServiceBusMessage("a"))
                else:
                    with pytest.raises(ServiceBusAuthenticationError):
                        await client.get_queue_sender("q").__aenter__()

    run(story())


# ---- other ways to it


def test_with_a_certificate_it_speaks_tls(tmp_path: Path) -> None:
    async def story() -> None:
        authority = trustme.CA()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        async with emulator(listening=Listening(tls=context)) as rig:
            client = AsyncClient.from_connection_string(
                f"Endpoint=sb://localhost;SharedAccessKeyName={NAME};SharedAccessKey={KEY}",
                custom_endpoint_address=f"sb://localhost:{rig.server.port}",
                transport_type=TransportType.Amqp,
                connection_verify=str(tmp_path / "ca.pem"),
                **ONCE,
            )
            async with client, client.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("a"))
            assert rig.namespace.find("q").counts().active == 1

    run(story())


def test_the_client_without_a_loop_works_too() -> None:
    def blocking(port: int) -> str:
        with ServiceBusClient.from_connection_string(connection_string(port), **ONCE) as client:
            with client.get_queue_sender("q") as sender:
                sender.send_messages(ServiceBusMessage("a"))
            with client.get_queue_receiver("q") as receiver, AutoLockRenewer() as renewer:
                [message] = receiver.receive_messages(1, max_wait_time=5)
                renewer.register(receiver, message)
                receiver.complete_message(message)
                return str(message)

    async def story() -> None:
        async with emulator() as rig:
            assert await asyncio.to_thread(blocking, rig.server.port) == "a"
            await until(lambda: not rig.server._connections)

    run(story())


def test_what_is_no_amqp_is_shown_the_door_and_nobody_else_suffers() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client, client.get_queue_sender("q") as sender:
            for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x03\x01\x00\x00" + b"\xff" * 64, bytes(64)):
                reader, writer = await asyncio.open_connection("127.0.0.1", rig.server.port)
                writer.write(nonsense)
                assert b"AMQP" in await reader.read()  # until it hangs up
                writer.close()
            await sender.send_messages(ServiceBusMessage("a"))

    run(story())
