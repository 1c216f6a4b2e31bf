"""Queues and counts through the vendor's administration client, and what only an emulator can be told."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.exceptions import MessagingEntityNotFoundError
from hypothesis import given
from hypothesis import strategies as st
from leveler_servicebus.emulator import Listening, QueueSettings
from leveler_servicebus.emulator.admin.durations import format_duration, parse_duration
from leveler_servicebus.emulator.entity.settings import FOREVER_MS

from tests.servicebus.rig import KEY, Rig, connection_string, emulator, run


@asynccontextmanager
async def administered(
    tmp_path: Path, *, key: str = KEY, **options: Any
) -> AsyncIterator[tuple[Rig, ServiceBusAdministrationClient]]:
    """An emulator whose admin API speaks TLS: this client speaks nothing else, whatever the connection string says."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with emulator(listening=Listening(admin_port=0, tls=context), **options) as rig:
        client = ServiceBusAdministrationClient.from_connection_string(
            connection_string(rig.server.admin_port, key=key), connection_verify=str(tmp_path / "ca.pem"), retry_total=0
        )
        async with client:
            yield rig, client


def test_a_queue_is_created_read_changed_listed_and_deleted(tmp_path: Path) -> None:
    async def story() -> None:
        async with administered(tmp_path) as (rig, admin):
            made = await admin.create_queue(
                "orders/new",
                lock_duration=timedelta(seconds=45),
                max_delivery_count=4,
                requires_session=True,
                requires_duplicate_detection=True,
                duplicate_detection_history_time_window=timedelta(minutes=3),
                default_message_time_to_live=timedelta(days=2, seconds=1),
                dead_lettering_on_message_expiration=True,
            )
            assert (made.name, made.max_delivery_count, made.requires_session) == ("orders/new", 4, True)
            queue = rig.namespace.get("orders/new")
            assert queue is not None
            assert queue.settings == QueueSettings(
                lock_ms=45_000,
                max_delivery_count=4,
                requires_session=True,
                duplicate_window_ms=180_000,
                default_ttl_ms=172_801_000,
                dead_letter_on_expiration=True,
            )
            read = await admin.get_queue("orders/new")
            assert read.lock_duration == timedelta(seconds=45)
            assert read.default_message_time_to_live == timedelta(days=2, seconds=1)
            assert read.duplicate_detection_history_time_window == timedelta(minutes=3)
            read.lock_duration = timedelta(minutes=5)
            await admin.update_queue(read)
            assert queue.settings.lock_ms == 300_000
            assert queue.settings.requires_session
            assert [one.name async for one in admin.list_queues()] == ["q", "orders/new"]
            await admin.delete_queue("orders/new")
            assert rig.namespace.get("orders/new") is None

    run(story())


def test_counts_tell_what_is_where(tmp_path: Path) -> None:
    async def story() -> None:
        async with administered(tmp_path) as (rig, admin):
            rig.put("active", "locked", "deferred", "dead")
            queue, now_ms = rig.namespace.find("q"), rig.namespace.clock.now_ms()
            first, second, third = queue.take(3, now_ms)
            queue.defer(first.token, now_ms)
            queue.dead_letter(second.token, now_ms, reason="r")
            assert third.token
            runtime = await admin.get_queue_runtime_properties("q")
            assert runtime.active_message_count == 3  # the locked and the deferred one, too
            assert runtime.dead_letter_message_count == 1
            assert runtime.scheduled_message_count == 0
            assert runtime.total_message_count == 4
            assert (runtime.size_in_bytes or 0) > 20

    run(story())


def test_mistakes_are_the_errors_that_the_service_gives(tmp_path: Path) -> None:
    async def story() -> None:
        async with administered(tmp_path) as (_, admin):
            with pytest.raises(ResourceExistsError, match="already"):
                await admin.create_queue("q")
            with pytest.raises(ResourceNotFoundError):
                await admin.get_queue("missing")
            with pytest.raises(ResourceNotFoundError):
                await admin.delete_queue("missing")
            with pytest.raises(HttpResponseError, match="5 minutes"):
                await admin.create_queue("long", lock_duration=timedelta(minutes=6))
            with pytest.raises(HttpResponseError, match="ForwardTo is not emulated"):
                await admin.create_queue("forward", forward_to="q")
            with pytest.raises(HttpResponseError, match="topics are not emulated"):
                await admin.create_topic("topic")
            with pytest.raises(HttpResponseError, match="no name"):
                await admin.create_queue("-q")
            changed = await admin.get_queue("q")
            changed.requires_session = True
            with pytest.raises(HttpResponseError, match="create it anew"):
                await admin.update_queue(changed)

    run(story())


def test_a_wrong_key_may_do_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with administered(tmp_path, key="wrong") as (rig, admin):
            for asked in (admin.get_queue("q"), admin.create_queue("new"), admin.delete_queue("q")):
                with pytest.raises(ClientAuthenticationError):
                    await asked
            assert rig.namespace.get("q")

    run(story())


def test_many_queues_are_listed_page_by_page(tmp_path: Path) -> None:
    async def story() -> None:
        queues = {f"q{number:03}": QueueSettings() for number in range(205)}
        async with administered(tmp_path, queues=queues) as (_, admin):
            assert [one.name async for one in admin.list_queues()] == list(queues)

    run(story())


def test_the_namespace_says_what_it_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with administered(tmp_path) as (_, admin):
            assert (await admin.get_namespace_properties()).messaging_sku == "Standard"

    run(story())


def test_who_is_attached_to_a_queue_hears_that_it_is_deleted(tmp_path: Path) -> None:
    async def story() -> None:
        async with administered(tmp_path) as (_, admin), emulator() as rig, rig.client() as client:
            assert admin
            async with client.get_queue_receiver("q") as receiver:
                receiving = asyncio.ensure_future(receiver.receive_messages(1, max_wait_time=10))
                await asyncio.sleep(0.1)
                queue = rig.namespace.find("q")
                rig.namespace.delete(queue)
                rig.server.gone(queue)
                with pytest.raises(MessagingEntityNotFoundError):
                    await receiving

    run(story())


# ---- what only an emulator can be told


def test_the_controls_move_the_clock_and_detach_and_cut_and_are_busy() -> None:
    async def story() -> None:
        async with emulator() as rig, rig.client() as client, client.get_queue_sender("q"):
            before = rig.namespace.clock.now_ms()
            assert await rig.control("clock", forward_seconds=3600) == (200, {})
            assert rig.namespace.clock.now_ms() >= before + 3_600_000
            assert await rig.control("busy", seconds=5) == (200, {})
            with pytest.raises(Exception, match="server-busy"):
                rig.namespace.check_busy()
            assert await rig.control("detach", queue="q") == (200, {"links": 1})
            assert await rig.control("cut") == (200, {"connections": 1})

    run(story())


@pytest.mark.parametrize(
    ("name", "said", "status", "expected"),
    [
        ("nothing", {}, 404, "no control"),
        ("clock", {}, 400, "forward_seconds"),
        ("clock", {"forward_seconds": "x"}, 400, "float"),
    ],
)
def test_a_control_says_what_it_takes(name: str, said: dict[str, Any], status: int, expected: str) -> None:
    async def story() -> None:
        async with emulator() as rig:
            got, answer = await rig.control(name, **said)
            assert got == status
            assert expected in answer

    run(story())


def test_a_page_in_a_browser_cannot_control_it() -> None:
    def post(port: int) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/$emulator/cut", b"{}", {"Content-Type": "text/plain"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        with refused.value as error:
            return error.code

    async def story() -> None:
        async with emulator() as rig:
            assert await asyncio.to_thread(post, rig.server.admin_port) == 400

    run(story())


# ---- durations


@given(st.integers(0, FOREVER_MS))
def test_a_duration_comes_back_as_it_went(duration_ms: int) -> None:
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(("text", "duration_ms"), [("PT1M", 60_000), ("P1DT1H", 90_000_000), ("PT0.5S", 500)])
def test_durations_are_read_as_others_write_them(text: str, duration_ms: int) -> None:
    assert parse_duration(text) == duration_ms


@pytest.mark.parametrize("text", ["", "P", "PT", "1M", "PT1X", "-PT1S"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
