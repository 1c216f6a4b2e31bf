"""What is kept in a file: it is there after the emulator has been killed."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient
from leveler_servicebus.emulator import FileStore, QueueSettings
from leveler_servicebus.emulator.amqp.encoder import encode
from leveler_servicebus.emulator.amqp.performatives import Disposition, Outcome, Transfer
from leveler_servicebus.emulator.amqp.values import UInt
from leveler_servicebus.emulator.signature import DEFAULT_KEY
from leveler_servicebus.emulator.store import NoStore

from tests.servicebus.raw import Raw, raw
from tests.servicebus.rig import ONCE, emulator, run

QUEUES = {
    "q": QueueSettings(duplicate_window_ms=600_000, dead_letter_on_expiration=True),
    "s": QueueSettings(requires_session=True),
}


def test_nobody_else_may_read_what_is_kept(tmp_path: Path) -> None:
    FileStore(tmp_path / "bus.db")
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    with pytest.raises(NoStore):
        FileStore(tmp_path / "nowhere" / "bus.db")


def test_everything_about_a_message_survives(tmp_path: Path) -> None:
    async def story() -> None:
        file = tmp_path / "bus.db"
        async with emulator(queues=QUEUES, file=file) as rig, rig.client() as client:
            async with client.get_queue_sender("q") as sender, client.get_queue_receiver("q") as receiver:
                await sender.send_messages(
                    [ServiceBusMessage(name, message_id=name, application_properties={"n": name}) for name in "abcde"]
                )
                a, b, c, d = await receiver.receive_messages(4, max_wait_time=5)
                await receiver.complete_message(a)
                await receiver.abandon_message(b)
                await receiver.defer_message(c)
                await receiver.dead_letter_message(d, reason="r", error_description="x")
                [held] = await receiver.receive_messages(1, max_wait_time=5)
                assert str(held) == "b"
            rig.put("in a session", queue="s", session_id="one")
            async with client.get_queue_receiver("s", session_id="one") as receiver:
                await receiver.session.set_state(b"state")

        async with emulator(queues={"q": QUEUES["q"]}, file=file) as rig, rig.client() as client:
            assert [one.sequence for one in rig.namespace.find("q").peek(1, 9)] == [2, 3, 5]
            async with client.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("again", message_id="a"))  # a duplicate still
            async with client.get_queue_receiver("q") as receiver:
                [e] = await receiver.receive_messages(2, max_wait_time=5)  # b is locked still
                assert (str(e), e.sequence_number, e.application_properties) == ("e", 5, {b"n": b"e"})
                await receiver.complete_message(held_again(held, receiver))
                [c] = await receiver.receive_deferred_messages(3)
                assert str(c) == "c"
            async with client.get_queue_receiver("q", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
                [d] = await receiver.receive_messages(1, max_wait_time=5)
                assert (d.dead_letter_reason, d.dead_letter_error_description) == ("r", "x")
            async with client.get_queue_receiver("s", session_id="one") as receiver:
                assert await receiver.session.get_state() == b"state"
                assert len(await receiver.receive_messages(1, max_wait_time=5)) == 1
            rig.put("next")
            assert [one.sequence for one in rig.namespace.find("q").peek(6, 5)] == [6]

    run(story())


def held_again(message: Any, receiver: Any) -> Any:
    """A message whose lock has survived the emulator, for a receiver that can only settle it by its token."""
    message._receiver = receiver
    message._is_deferred_message = True
    return message


def test_no_number_is_given_twice_though_all_messages_are_gone(tmp_path: Path) -> None:
    async def story() -> None:
        for expected in (1, 2, 3):
            async with emulator(file=tmp_path / "bus.db") as rig:
                queue, now_ms = rig.namespace.find("q"), rig.namespace.clock.now_ms()
                assert queue.counts() == (0, 0, 0, 0)
                rig.put("a")
                [message] = queue.take(1, now_ms)
                assert message.sequence == expected
                queue.complete(message.token, now_ms)

    run(story())


def test_a_deleted_queue_is_gone_with_all_that_was_in_it(tmp_path: Path) -> None:
    async def story() -> None:
        file = tmp_path / "bus.db"
        async with emulator(file=file) as rig:
            rig.put("a")
            rig.namespace.delete(rig.namespace.find("q"))
        async with emulator(queues={"other": QueueSettings()}, file=file) as rig:
            assert [queue.name for queue in rig.namespace] == ["other"]
            assert rig.namespace.create("q", QueueSettings()).counts().active == 0

    run(story())


def test_a_file_belongs_to_one_emulator(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "bus.db")
    try:
        with pytest.raises(NoStore, match=r"bus\.db cannot be used"):
            FileStore(tmp_path / "bus.db")
    finally:
        store.close()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to look at it" * 100)
    with pytest.raises(NoStore, match="text"):
        FileStore(tmp_path / "text")


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """`leveler emulate servicebus`, killed at the end if it is still there."""
    command = [sys.executable, "-m", "leveler", "emulate", "servicebus", "--port", "0", "--admin-port", "0", "--json"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield running, json.loads(running.stdout.readline())
        finally:
            running.kill()


def test_what_was_accepted_is_there_after_sigkill(tmp_path: Path) -> None:
    options = ["--queue", "q,lock_seconds=30", "--file", str(tmp_path / "bus.db")]

    async def send(client: Raw, accepted: list[str], killed: asyncio.Event) -> None:
        """One by one, for as long as there is an answer."""
        for number in itertools.count():
            body = b"\x00\x53\x75" + encode(str(number).encode())
            client.say(Transfer(UInt(0), UInt(number), b"t", UInt(0), False), body)
            assert (await client.hear(Disposition)).state.descriptor == Outcome.ACCEPTED
            accepted.append(str(number))
            if number == 50:
                killed.set()

    async def send_until_it_is_gone(port: int, killed: asyncio.Event) -> list[str]:
        accepted: list[str] = []
        async with raw(port) as client:
            await client.open(DEFAULT_KEY)
            client.attach_sender(0, "q")
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await send(client, accepted, killed)
        return accepted

    async def story() -> None:
        killed = asyncio.Event()
        with process(*options) as (running, said):
            port = int(said["connection_string"].partition(";")[0].rpartition(":")[2])
            sending = asyncio.ensure_future(send_until_it_is_gone(port, killed))
            await killed.wait()
            running.send_signal(signal.SIGKILL)
            accepted = await sending
        with process(*options) as (running, said):
            client = ServiceBusClient.from_connection_string(said["connection_string"], **ONCE)
            async with client, client.get_queue_receiver("q") as receiver:
                kept = await receiver.peek_messages(250)
                while len(kept) < len(accepted):
                    more = await receiver.peek_messages(250)
                    assert more
                    kept += more
            running.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.wait, 10) == 0
        assert [str(one) for one in kept][: len(accepted)] == accepted
        assert len(kept) <= len(accepted) + 1  # what was under way when it died

    run(story())
