"""Facts about the wire that clients count on, each shown with the vendor's unmodified client.

What passes on the line is read by a tap of the tests' own between the client and the emulator.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage, ServiceBusReceiveMode, ServiceBusSubQueue
from azure.servicebus._pyamqp.constants import ReceiverSettleMode
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageSizeExceededError,
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusConnectionError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
    ServiceBusServerBusyError,
    SessionCannotBeLockedError,
)
from leveler_servicebus.emulator import QueueSettings
from leveler_servicebus.emulator.amqp.decoder import decode
from leveler_servicebus.emulator.amqp.frames import AMQP_HEADER, SASL_HEADER
from leveler_servicebus.emulator.amqp.message import ANNOTATIONS, APPLICATION, BATCH_FORMAT, HEADER, PROPERTIES, VALUE
from leveler_servicebus.emulator.amqp.performatives import (
    Attach,
    Begin,
    Detach,
    Disposition,
    Flow,
    Open,
    Outcome,
    SaslInit,
    SaslMechanisms,
    Transfer,
)

from tests.servicebus.rig import at, emulator, run, until
from tests.servicebus.tap import Tap, tapped

MINUTE = timedelta(minutes=1)


def outcomes(tap: Tap, who: str) -> list[int]:
    """Descriptors of the states in dispositions about deliveries to the client."""
    by_client = who == "client"
    return [one.state.descriptor for one in tap.said(who, Disposition) if one.role is by_client]


# ---- the connection


def test_without_tls_the_client_speaks_sasl_anonymous_first_and_then_amqp() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_sender("q"):
                pass
            assert [header for who, _, header in tap.headers if who == "client"] == [SASL_HEADER, AMQP_HEADER]
            [mechanisms] = tap.said("server", SaslMechanisms)
            assert "ANONYMOUS" in mechanisms.mechanisms
            assert tap.said("client", SaslInit)[0].mechanism == "ANONYMOUS"

    run(story())


def test_each_sender_and_each_receiver_opens_a_connection_of_its_own_with_one_session() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with (
                rig.client(port=tap.port) as client,
                client.get_queue_sender("q") as sender,
                client.get_queue_receiver("q"),
            ):
                await sender.send_messages(ServiceBusMessage("a"))
            opens, begins = tap.said("client", Open), tap.said("client", Begin)
            assert [one.container_id[:9] for one in opens] == ["SBSender-", "SBReceive"]
            assert {one.idle_time_out for one in opens} == {None}
            assert [one.incoming_window for one in begins] == [65536, 65536]

    run(story())


# ---- $cbs


def test_a_token_is_put_with_a_uuid_and_the_type_jwt_even_if_a_key_has_signed_it() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_sender("q"):
                pass
            [(_, request)] = tap.transfers("client", "$cbs")
            said = request[APPLICATION]
            assert isinstance(request[PROPERTIES][0], UUID)
            assert (said["operation"], said["type"]) == ("put-token", "jwt")
            assert said["name"] == f"sb://127.0.0.1:{tap.port}/q"
            assert request[VALUE].startswith("SharedAccessSignature sr=")

    run(story())


def test_the_answer_to_a_token_carries_the_same_uuid_and_a_status_in_kebab_case() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_sender("q"):
                pass
            [(_, request)], [(transfer, answer)] = tap.transfers("client", "$cbs"), tap.transfers("server", "$cbs")
            assert answer[PROPERTIES][5] == request[PROPERTIES][0]
            assert answer[APPLICATION] == {"status-code": 202, "status-description": "Accepted"}
            assert transfer.settled is True

    run(story())


# ---- links


def test_addresses_are_whole_amqps_addresses_even_without_tls_and_that_of_management_is_relative() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                await receiver.peek_messages()
            assert tap.attaches("client", f"amqps://127.0.0.1:{tap.port}/q")
            assert len(tap.attaches("client", "q/$management")) == 2

    run(story())


def test_dead_letters_have_an_address_below_that_of_their_queue() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            client = rig.client(port=tap.port)
            async with client, client.get_queue_receiver("q", sub_queue=ServiceBusSubQueue.DEAD_LETTER):
                pass
            assert tap.attaches("client", f"amqps://127.0.0.1:{tap.port}/q/$DeadLetterQueue")

    run(story())


@pytest.mark.parametrize("name", ["Q", "q"])
def test_names_are_compared_without_regard_to_case(name: str) -> None:
    async def story() -> None:
        async with emulator() as rig:
            async with rig.client() as client, client.get_queue_sender(name) as sender:
                await sender.send_messages(ServiceBusMessage("a"))
            assert rig.namespace.find("q").counts().active == 1

    run(story())


def test_the_largest_message_is_told_when_a_sender_is_attached_and_bounds_a_batch() -> None:
    async def story() -> None:
        async with emulator(queues={"q": QueueSettings(max_message_bytes=4096)}) as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_sender("q") as sender:
                batch = await sender.create_message_batch()
                assert batch.max_size_in_bytes == 4096
                for _ in range(6):
                    batch.add_message(ServiceBusMessage(b"x" * 500))
                with pytest.raises(ValueError, match="4096"):
                    batch.add_message(ServiceBusMessage(b"x" * 1000))
                await sender.send_messages(batch)
            [attach] = [one for one in tap.said("server", Attach) if one.max_message_size == 4096]
            assert attach.role is True
            assert rig.namespace.find("q").counts().active == 6

    run(story())


@pytest.mark.parametrize(
    ("mode", "sender_settles", "receiver_settles"),
    [
        (ServiceBusReceiveMode.PEEK_LOCK, 0, ReceiverSettleMode.Second),
        (ServiceBusReceiveMode.RECEIVE_AND_DELETE, 1, ReceiverSettleMode.First),
    ],
)
def test_the_modes_of_settling_tell_peek_lock_from_receive_and_delete(
    mode: ServiceBusReceiveMode, sender_settles: int, receiver_settles: int
) -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q", receive_mode=mode):
                pass
            [attach] = tap.attaches("client", f"amqps://127.0.0.1:{tap.port}/q")
            assert (attach.snd_settle_mode, attach.rcv_settle_mode) == (sender_settles, receiver_settles)
            assert "com.microsoft:receiver-name" in attach.properties

    run(story())


def test_a_queue_that_is_not_there_is_an_attach_of_nothing_then_a_detach_that_says_so() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client:
                with pytest.raises(MessagingEntityNotFoundError, match="missing"):
                    async with client.get_queue_sender("missing"):
                        pass
            answer = tap.said("server", Attach)[-1]
            assert (answer.source, answer.target) == (None, None)
            detach = tap.said("server", Detach)[0]
            assert detach.closed
            assert detach.error.value[0] == "amqp:not-found"

    run(story())


def test_a_session_is_asked_for_with_a_filter_and_answered_with_its_id_and_the_end_of_its_lock_in_ticks() -> None:
    async def story() -> None:
        queues = {"s": QueueSettings(requires_session=True)}
        async with emulator(queues=queues) as rig, tapped(rig.server.port) as tap:
            rig.put("a", queue="s", session_id="first")
            client = rig.client(port=tap.port)
            async with (
                client,
                client.get_queue_receiver("s", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=5) as one,
            ):
                assert one.session.session_id == "first"
                left = at(one.session.locked_until_utc) - datetime.now(UTC)
                assert MINUTE - timedelta(seconds=10) < left <= MINUTE
            node = f"amqps://127.0.0.1:{tap.port}/s"
            [wanted] = tap.attaches("client", node)
            assert wanted.source.value[7] == {"com.microsoft:session-filter": None}
            assert 4000 < wanted.properties["com.microsoft:timeout"] <= 5000
            [answered] = tap.attaches("server", node)
            assert answered.source.value[7] == {"com.microsoft:session-filter": "first"}
            ticks = answered.properties["com.microsoft:locked-until-utc"]
            assert abs((ticks - 621355968000000000) / 10**7 - time.time() - 60) < 10

    run(story())


def test_the_attach_of_the_next_session_is_answered_when_there_is_one() -> None:
    async def story() -> None:
        async with emulator(queues={"s": QueueSettings(requires_session=True)}) as rig, tapped(rig.server.port) as tap:
            client = rig.client(port=tap.port)
            receiver = client.get_queue_receiver("s", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=30)
            async with client:
                opening = asyncio.ensure_future(receiver.__aenter__())
                node = f"amqps://127.0.0.1:{tap.port}/s"
                await until(lambda: tap.attaches("client", node))
                assert not tap.attaches("server", node)
                rig.put("a", queue="s", session_id="late")
                await opening
                assert receiver.session.session_id == "late"
                await receiver.close()

    run(story())


def test_a_session_that_somebody_has_cannot_be_locked() -> None:
    async def story() -> None:
        async with emulator(queues={"s": QueueSettings(requires_session=True)}) as rig:
            client = rig.client()
            async with client, client.get_queue_receiver("s", session_id="mine"):
                second = client.get_queue_receiver("s", session_id="mine")
                with pytest.raises(SessionCannotBeLockedError, match="mine"):
                    await second.__aenter__()

    run(story())


# ---- credit


def test_a_receiver_begins_with_the_credit_that_it_prefetches_and_each_receive_says_its_own() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            rig.put("a", "b")
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                await receiver.receive_messages(2, max_wait_time=5)
            [handle] = {one.handle for one in tap.attaches("client", f"amqps://127.0.0.1:{tap.port}/q")}
            credits = [flow.link_credit for flow in tap.said("client", Flow) if flow.handle == handle]
            assert credits[:2] == [0, 2]

    run(story())


def test_a_receive_that_asks_for_more_than_there_is_waits_a_fifth_of_a_second_longer() -> None:
    async def story() -> None:
        async with emulator() as rig:
            rig.put("a", "b")
            async with rig.client() as client, client.get_queue_receiver("q") as receiver:
                began = time.monotonic()
                assert len(await receiver.receive_messages(1, max_wait_time=30)) == 1
                exact = time.monotonic() - began
                began = time.monotonic()
                assert len(await receiver.receive_messages(5, max_wait_time=30)) == 1
                assert time.monotonic() - began >= 0.2
                assert exact < 10

    run(story())


def test_what_comes_on_unused_credit_is_released_and_does_not_count() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            client = rig.client(port=tap.port)
            async with client, client.get_queue_receiver("q") as receiver:
                assert await receiver.receive_messages(1, max_wait_time=0.3) == []  # its credit stays
                rig.put("a")
                connection: Any = receiver._handler._connection
                while Outcome.RELEASED not in outcomes(tap, "client"):
                    await connection.listen(wait=0.01)
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                assert message.delivery_count == 0

    run(story())


def test_a_receiver_drains_its_link_when_it_closes_and_gives_back_what_came() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            rig.put("a", "b", "c")
            client = rig.client(port=tap.port)
            async with client, client.get_queue_receiver("q", prefetch_count=10) as receiver:
                [first] = await receiver.receive_messages(1, max_wait_time=5)
                await receiver.complete_message(first)
            assert any(flow.drain and flow.link_credit == 0 for flow in tap.said("client", Flow))
            assert rig.namespace.find("q").counts() == (2, 0, 0, 0)
            async with rig.client() as client, client.get_queue_receiver("q") as receiver:
                again = await receiver.receive_messages(2, max_wait_time=5)
                assert [one.delivery_count for one in again] == [0, 0]

    run(story())


# ---- transfers to the client


def test_the_tag_of_a_delivery_is_a_guid_in_dotnet_order_and_new_at_every_delivery() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            rig.put("a")
            tokens = []
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                for _ in range(2):
                    [message] = await receiver.receive_messages(1, max_wait_time=5)
                    tokens.append(message.lock_token)
                    await receiver.abandon_message(message)
            tags = [one.delivery_tag for one, _ in tap.transfers("server", f"amqps://127.0.0.1:{tap.port}/q")]
            assert [UUID(bytes_le=tag) for tag in tags[:2]] == tokens
            assert len(set(tokens)) == 2

    run(story())


def test_the_delivery_count_is_always_there_and_also_zero() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            rig.put("a")
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                for expected in (0, 1, 2):
                    [message] = await receiver.receive_messages(1, max_wait_time=5)
                    assert message.delivery_count == expected
                    await receiver.abandon_message(message)
            headers = [sections[HEADER] for _, sections in tap.transfers("server", f"amqps://127.0.0.1:{tap.port}/q")]
            assert [header[4] for header in headers[:3]] == [0, 1, 2]

    run(story())


def test_annotations_have_the_names_and_types_that_clients_read() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client() as client, client.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("a", partition_key="p"))
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
            [(_, sections)] = tap.transfers("server", f"amqps://127.0.0.1:{tap.port}/q")[:1]
            annotations = sections[ANNOTATIONS]
            assert {type(key).__name__ for key in annotations} == {"Symbol"}
            assert annotations["x-opt-sequence-number"] == message.sequence_number == 1
            assert annotations["x-opt-enqueue-sequence-number"] == message.enqueued_sequence_number == 1
            assert annotations["x-opt-message-state"] == message.state == 0
            assert annotations["x-opt-partition-key"] == "p"
            assert annotations["x-opt-enqueued-time"] == round(at(message.enqueued_time_utc).timestamp() * 1000)
            locked = annotations["x-opt-locked-until"] - annotations["x-opt-enqueued-time"]
            assert 60_000 <= locked < 90_000

    run(story())


def test_a_message_larger_than_a_frame_comes_in_several() -> None:
    async def story() -> None:
        body = bytes(range(256)) * 700
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client:
                async with client.get_queue_sender("q") as sender:
                    await sender.send_messages(ServiceBusMessage(body))
                async with client.get_queue_receiver("q") as receiver:
                    [message] = await receiver.receive_messages(1, max_wait_time=5)
                    assert b"".join(message.body) == body
                    await receiver.complete_message(message)
            assert len([one for one in tap.said("client", Transfer) if one.more]) >= 2

    run(story())


# ---- dispositions


@pytest.mark.parametrize(
    ("verb", "descriptor", "counts"),
    [
        ("complete_message", Outcome.ACCEPTED, (0, 0, 0, 0)),
        ("abandon_message", Outcome.MODIFIED, (1, 0, 0, 0)),
        ("defer_message", Outcome.MODIFIED, (0, 0, 1, 0)),
        ("dead_letter_message", Outcome.REJECTED, (0, 0, 0, 0)),
    ],
)
def test_a_settlement_is_answered_settled_with_the_same_outcome(
    verb: str, descriptor: int, counts: tuple[int, int, int, int]
) -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            rig.put("a")
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                await getattr(receiver, verb)(message)
            assert outcomes(tap, "client")[0] == outcomes(tap, "server")[0] == descriptor
            asked = [one for one in tap.said("client", Disposition) if one.role]
            answered = [one for one in tap.said("server", Disposition) if not one.role]
            assert (asked[0].settled, answered[0].settled) == (False, True)
            assert answered[0].state.value in ([], [True, verb == "defer_message"])  # a rejection has no error
            assert rig.namespace.find("q").counts() == counts
            assert rig.namespace.find("q/$DeadLetterQueue").counts().active == (verb == "dead_letter_message")

    run(story())


def test_a_settlement_after_the_lock_is_rejected_as_lock_lost() -> None:
    async def story() -> None:
        async with emulator() as rig:
            rig.put("a")
            async with rig.client() as client, client.get_queue_receiver("q") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                rig.server.move_clock(61)  # the client's own clock knows nothing of it
                with pytest.raises(MessageLockLostError, match="lock"):
                    await receiver.complete_message(message)
                [again] = await receiver.receive_messages(1, max_wait_time=5)
                assert again.delivery_count == 1

    run(story())


def test_the_client_says_lock_lost_by_its_own_clock_before_it_asks() -> None:
    async def story() -> None:
        async with emulator(queues={"q": QueueSettings(lock_ms=500)}) as rig, tapped(rig.server.port) as tap:
            rig.put("a")
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                await until(lambda: datetime.now(UTC) > at(message.locked_until_utc))
                with pytest.raises(MessageLockLostError):
                    await receiver.complete_message(message)
                assert outcomes(tap, "client") == []

    run(story())


def test_where_the_link_is_gone_the_client_settles_through_management() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            rig.put("a")
            async with rig.client(port=tap.port, retry_total=2) as client, client.get_queue_receiver("q") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                rig.server.detach("q")
                await receiver.complete_message(message)
            asked = [sections[APPLICATION]["operation"] for _, sections in tap.transfers("client", "q/$management")]
            assert asked == ["com.microsoft:update-disposition"]
            assert rig.namespace.find("q").counts().active == 0

    run(story())


# ---- what a send may be told


@pytest.mark.parametrize(
    ("settings", "body", "expected", "condition"),
    [
        (
            QueueSettings(max_message_bytes=1024),
            "x" * 2000,
            MessageSizeExceededError,
            "amqp:link:message-size-exceeded",
        ),
        (QueueSettings(max_size_bytes=10), "x" * 200, ServiceBusQuotaExceededError, "amqp:resource-limit-exceeded"),
        (QueueSettings(requires_session=True), "no session", ServiceBusError, "amqp:not-allowed"),
    ],
)
def test_a_send_that_is_refused_has_an_error_of_three_fields_with_an_info_that_is_not_empty(
    settings: QueueSettings, body: str, expected: type[Exception], condition: str
) -> None:
    async def story() -> None:
        async with emulator(queues={"q": settings}) as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_sender("q") as sender:
                with pytest.raises(expected, match=condition):
                    await sender.send_messages(ServiceBusMessage(body))
            [refusal] = [one for one in tap.said("server", Disposition) if one.state.descriptor == Outcome.REJECTED]
            [error] = refusal.state.value
            assert error.value[0] == condition
            assert len(error.value) == 3
            assert error.value[2]

    run(story())


def test_a_busy_service_says_so_and_the_client_tries_again_after_four_seconds() -> None:
    async def story() -> None:
        async with emulator() as rig:
            async with rig.client() as client, client.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("before"))
                rig.server.be_busy(seconds=60)
                with pytest.raises(ServiceBusServerBusyError, match="server-busy"):
                    await sender.send_messages(ServiceBusMessage("during"))
                rig.server.move_clock(61)
                await sender.send_messages(ServiceBusMessage("after"))
            assert rig.namespace.find("q").counts().active == 2

    run(story())


def test_a_disabled_queue_says_so() -> None:
    async def story() -> None:
        async with emulator(queues={"q": QueueSettings(status="Disabled")}) as rig, rig.client() as client:
            with pytest.raises(MessagingEntityDisabledError):
                async with client.get_queue_sender("q"):
                    pass
            with pytest.raises(MessagingEntityDisabledError):
                async with client.get_queue_receiver("q"):
                    pass

    run(story())


def test_an_idle_link_is_detached_by_force_and_the_client_attaches_anew() -> None:
    async def story() -> None:
        async with emulator(idle_detach_seconds=600) as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port, retry_total=2) as client, client.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("before"))
                rig.server.move_clock(601)
                await until(lambda: tap.said("server", Detach))
                await sender.send_messages(ServiceBusMessage("after"))
            assert tap.said("server", Detach)[0].error.value[0] == "amqp:link:detach-forced"
            assert rig.namespace.find("q").counts().active == 2

    run(story())


def test_a_forced_detach_is_a_connection_error_to_a_client_that_does_not_try_again() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client, client.get_queue_receiver("q") as receiver:
            receiving = asyncio.ensure_future(receiver.receive_messages(1, max_wait_time=10))
            await asyncio.sleep(0.1)
            assert rig.server.detach("Q") == 1
            with pytest.raises(ServiceBusConnectionError, match="detach-forced"):
                await receiving

    run(story())


# ---- batches


@pytest.mark.parametrize("count", [1, 3])
def test_a_list_is_one_transfer_of_the_batch_format_even_a_list_of_one(count: int) -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_sender("q") as sender:
                await sender.send_messages([ServiceBusMessage(f"m{n}", message_id=f"id{n}") for n in range(count)])
            [(transfer, sections)] = tap.transfers("client", f"amqps://127.0.0.1:{tap.port}/q")
            assert transfer.message_format == BATCH_FORMAT == 0x80013700
            assert sections[PROPERTIES][0] == "id0"  # the envelope carries the first one's
            assert rig.namespace.find("q").counts().active == count

    run(story())


def test_a_single_message_is_of_the_plain_format() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            async with rig.client(port=tap.port) as client, client.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("a"))
            [(transfer, _)] = tap.transfers("client", f"amqps://127.0.0.1:{tap.port}/q")
            assert transfer.message_format == 0

    run(story())


# ---- $management


def test_management_answers_in_camel_case_to_the_uuid_that_asked() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            rig.put("a")
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                until = await receiver.renew_message_lock(message)
            [(_, request)] = tap.transfers("client", "q/$management")
            [(_, answer)] = tap.transfers("server", "q/$management")
            assert request[APPLICATION]["operation"] == "com.microsoft:renew-lock"
            assert request[VALUE]["lock-tokens"] == [message.lock_token]
            assert isinstance(request[PROPERTIES][0], UUID)
            assert answer[PROPERTIES][5] == request[PROPERTIES][0]
            assert answer[APPLICATION]["statusCode"] == 200
            assert answer[VALUE]["expirations"] == [round(until.timestamp() * 1000)]

    run(story())


def test_management_says_why_not_with_a_status_and_a_condition() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            rig.put("a")
            async with rig.client(port=tap.port) as client, client.get_queue_receiver("q") as receiver:
                [message] = await receiver.receive_messages(1, max_wait_time=5)
                rig.server.move_clock(61)
                with pytest.raises(MessageLockLostError):
                    await receiver.renew_message_lock(message)
            [(_, answer)] = tap.transfers("server", "q/$management")
            assert answer[APPLICATION]["statusCode"] == 410
            assert answer[APPLICATION]["errorCondition"] == "com.microsoft:message-lock-lost"

    run(story())


def test_a_scheduled_message_needs_no_round_trip_of_its_own() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            due = datetime.now(UTC) + timedelta(hours=1)
            async with rig.client(port=tap.port) as client, client.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("later", scheduled_enqueue_time_utc=due))
            [(_, sections)] = tap.transfers("client", f"amqps://127.0.0.1:{tap.port}/q")
            sent = sections[ANNOTATIONS]["x-opt-scheduled-enqueue-time"]
            assert abs(sent - due.timestamp() * 1000) < 1000
            assert rig.namespace.find("q").counts() == (0, 1, 0, 0)
            assert tap.transfers("client", "q/$management") == []

    run(story())


def test_peeked_messages_are_whole_messages_in_a_list_and_nothing_is_no_content() -> None:
    async def story() -> None:
        async with emulator() as rig, tapped(rig.server.port) as tap:
            client = rig.client(port=tap.port)
            async with client, client.get_queue_receiver("q") as receiver:
                assert await receiver.peek_messages(3) == []
                rig.put("a")
                [message] = await receiver.peek_messages(3)
                assert str(message) == "a"
            nothing, something = (answer for _, answer in tap.transfers("server", "q/$management"))
            assert nothing[APPLICATION]["statusCode"] == 204
            [listed] = something[VALUE]["messages"]
            assert decode(listed["message"])[0].descriptor == HEADER

    run(story())
