"""The adapter against the emulator: queues, counts, dead letters, and applications that use it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession
from google.cloud.tasks_v2 import Queue, Task
from leveler_cloudtasks import CloudTasksAdapter, CloudTasksOptions

from leveler import ConsumerSettings, Context, Leveler, LimitSettings, QueueSettings, RetryPolicy
from leveler.adapter import Abandon, DeadLetter, QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import AccessDenied, BatchError, BrokerUnavailable, ConfigError, QueueNotFound, SendUnknown
from leveler.message import Death, Message
from tests.containers.port import free_ports
from tests.contract.cloudtasks_process import emulated
from tests.contract.cloudtasks_scene import Scene, scene

LIVE = "projects/local/locations/here/queues/orders"
DEAD = f"{LIVE}-dead"
SPEC = QueueSpec(name="orders", lease_seconds=2.0)


class Stage(NamedTuple):
    """The emulator, and an adapter for it that listens only when something is consumed."""

    scene: Scene
    adapter: CloudTasksAdapter
    url: str

    async def queue(self, name: str = LIVE) -> Any:
        return await self.scene.client.get_queue(name=name)

    async def send(self, count: int = 1, **fields: Any) -> list[Message]:
        now = SystemClock().now()
        messages = [Message(id=f"m-{number}", body=b"{}", time=now, **fields) for number in range(count)]
        await self.adapter.sender(SPEC).send(messages)
        return messages

    async def dead(self, count: int) -> None:
        """So many dead letters."""
        receiver = self.adapter.receiver(SPEC, capacity=count)
        await receiver.receive(1, 0)
        await self.send(count)
        got: list[Any] = []
        while len(got) < count:
            got += await receiver.receive(count, 5.0)
        await receiver.dead_letter([DeadLetter(one, Death(reason="rejected")) for one in got])
        await receiver.close()


@asynccontextmanager
async def stage(**options: Any) -> AsyncIterator[Stage]:
    async with scene(shortest_deadline=2.0, quotas=False) as s:
        url = f"cloudtasks://local/here?emulator={s.served.address}&shortest_lease=2&longest_backoff=1"
        url += f"&endpoint=http://127.0.0.1:{free_ports()}"
        url += "".join(f"&{name}={value}" for name, value in options.items())
        async with find(url, clock=SystemClock(), deadline_seconds=5.0) as adapter:
            assert isinstance(adapter, CloudTasksAdapter)
            yield Stage(s, adapter, url)


def played(**options: Any) -> Callable[[Callable[[Stage], Awaitable[None]]], Callable[[], None]]:
    def made(play: Callable[[Stage], Awaitable[None]]) -> Callable[[], None]:
        async def main() -> None:
            async with stage(**options) as s:
                await play(s)

        return lambda: asyncio.run(main())

    return made


# ---- queues


@played()
async def _declared(s: Stage) -> None:
    await s.adapter.declare(SPEC)
    live, dead = await s.queue(), await s.queue(DEAD)
    assert live.retry_config.max_attempts == -1
    assert live.retry_config.max_backoff == timedelta(seconds=1)
    assert (live.state, dead.state) == (Queue.State.RUNNING, Queue.State.PAUSED)


def test_a_queue_never_gives_up_by_itself_and_the_dead_are_not_dispatched() -> None:
    _declared()


@played()
async def _reconciled(s: Stage) -> None:
    for queue in ({"name": LIVE, "retry_config": {"max_attempts": 5}}, {"name": DEAD}):
        await s.scene.client.create_queue(parent=LIVE.partition("/queues")[0], queue=queue)
    verify = QueueSpec(name="orders", lease_seconds=2.0, declare="verify")
    with pytest.raises(ConfigError, match=r"max_attempts is 5.*more than 8"):
        await s.adapter.declare(verify)
    assert (await s.queue()).retry_config.max_attempts == 5
    await s.adapter.declare(SPEC)
    assert (await s.queue()).retry_config.max_attempts == -1
    await s.scene.client.resume_queue(name=DEAD)
    with pytest.raises(ConfigError, match="not paused"):
        await s.adapter.declare(verify)
    await s.adapter.declare(SPEC)
    assert (await s.queue(DEAD)).state == Queue.State.PAUSED


def test_a_queue_that_would_lose_tasks_is_put_right_or_refused() -> None:
    _reconciled()


@played()
async def _limited(s: Stage) -> None:
    await s.adapter.declare(SPEC)
    app = Leveler(
        s.url,
        queues={"orders": QueueSettings(lease_seconds=2.0, timeout_seconds=1.0)},
        consumers={"orders": ConsumerSettings(downstream="billing", limits=LimitSettings(concurrency=20))},
        downstreams={"billing": LimitSettings(concurrency=7, rate_per_second=30.0)},
    )
    async with app:
        await app.depth("orders")
    limits = (await s.queue()).rate_limits
    assert (limits.max_concurrent_dispatches, limits.max_dispatches_per_second) == (7, 30.0)
    async with Leveler(s.url, queues={"orders": QueueSettings(lease_seconds=2.0, timeout_seconds=1.0)}) as sender:
        await sender.depth("orders")
    assert (await s.queue()).rate_limits == limits  # who only sends knows of no limits, and changes none


def test_the_limits_of_the_downstream_are_those_of_the_queue() -> None:
    _limited()


@played()
async def _paused(s: Stage) -> None:
    assert (await s.adapter.declare(SPEC)).degraded == ()
    await s.scene.client.pause_queue(name=LIVE)
    assert "paused" in (await s.adapter.declare(SPEC)).degraded[0]


def test_a_queue_that_somebody_has_paused_is_said() -> None:
    _paused()


@played()
async def _name_taken(s: Stage) -> None:
    await s.adapter.declare(SPEC)
    await s.adapter.drop(SPEC)
    with pytest.raises(ConfigError, match="7 days"):
        await s.adapter.declare(SPEC)
    with pytest.raises(QueueNotFound):
        await s.adapter.depth(SPEC)


def test_the_name_of_a_queue_that_was_dropped_is_said_to_be_taken() -> None:
    _name_taken()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lease_seconds": 1.0}, "keeps 2 s to 1800 s"),
        ({"lease_seconds": 1801.0}, "keeps 2 s to 1800 s"),
        ({"ordered": True}, "no order"),
        ({"max_depth": 5}, "max_depth"),
        ({"dedup_seconds": 3601.0}, "3600 s"),
    ],
)
def test_what_the_service_cannot_keep_is_refused(fields: dict[str, Any], said: str) -> None:
    @played()
    async def play(s: Stage) -> None:
        with pytest.raises(ConfigError, match=said):
            await s.adapter.declare(QueueSpec(**{"name": "orders", "lease_seconds": 5.0, **fields}))

    play()


def test_nobody_there_is_said_within_the_deadline() -> None:
    async def main() -> None:
        url = "cloudtasks://local/here?emulator=127.0.0.1:9"
        with pytest.raises(BrokerUnavailable):
            async with find(url, clock=SystemClock(), deadline_seconds=1.0):
                pass

    asyncio.run(main())


def test_without_credentials_access_is_denied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

    async def main() -> None:
        adapter = CloudTasksAdapter("cloudtasks://p/l", CloudTasksOptions(), clock=SystemClock(), deadline_seconds=1.0)
        with pytest.raises(AccessDenied):
            await adapter.__aenter__()

    asyncio.run(main())


@pytest.mark.parametrize("url", ["cloudtasks://project", "cloudtasks:///location", "cloudtasks://a/b/c"])
def test_a_url_names_a_project_and_a_location(url: str) -> None:
    with pytest.raises(ConfigError, match="PROJECT/LOCATION"):
        find(url, clock=SystemClock(), deadline_seconds=1.0)


# ---- sending


@played(service_account="me@p-1", audience="https://aud")
async def _task(s: Stage) -> None:
    spec = QueueSpec(name="orders", lease_seconds=7.5, dedup_seconds=60.0)
    await s.adapter.declare(spec)
    await s.scene.client.pause_queue(name=LIVE)
    now = SystemClock().now()
    message = Message(id="a/b", body=b"\x00{}", time=now, not_before=now + timedelta(hours=1))
    await s.adapter.sender(spec).send([message, message])
    [listed] = [task async for task in await s.scene.client.list_tasks(parent=LIVE)]
    task = await s.scene.client.get_task(request={"name": listed.name, "response_view": Task.View.FULL})
    assert task.dispatch_deadline == timedelta(seconds=7.5)
    assert task.http_request.url.endswith("/orders")
    assert task.http_request.body == b"\x00{}"
    oidc = task.http_request.oidc_token
    assert (oidc.service_account_email, oidc.audience) == ("me@p-1", "https://aud")
    assert abs((task.schedule_time - now).total_seconds() - 3600) < 5


def test_a_message_is_one_named_task_with_a_token_a_time_and_a_deadline() -> None:
    _task()


@played()
async def _no_answer(s: Stage) -> None:
    await s.adapter.declare(SPEC)
    spec = QueueSpec(name="gone", lease_seconds=2.0)
    message = Message(id="m", body=b"", time=SystemClock().now())
    with pytest.raises(BatchError) as none:
        await s.adapter.sender(spec).send([message])
    assert isinstance(none.value.failed[0], QueueNotFound)


def test_a_queue_that_is_not_there_takes_nothing() -> None:
    _no_answer()


def test_a_send_whose_answer_is_lost_may_have_been_queued(tmp_path: Path) -> None:
    async def main() -> None:
        with emulated("--shortest-deadline", "2") as running:
            url = f"{running.url}&endpoint=http://127.0.0.1:9"
            async with find(url, clock=SystemClock(), deadline_seconds=1.0) as adapter:
                await adapter.declare(SPEC)
                running.process.send_signal(signal.SIGSTOP)
                with pytest.raises(BatchError) as lost:
                    await adapter.sender(SPEC).send([Message(id="m", body=b"", time=SystemClock().now())])
                assert isinstance(lost.value.failed[0], SendUnknown)
                running.process.kill()
                async with asyncio.timeout(10):
                    while not await _is_refused(adapter):
                        pass

    asyncio.run(main())


async def _is_refused(adapter: Any) -> bool:
    """Whether it is known by now that nobody is there, so that nothing can have been queued."""
    with pytest.raises(BatchError) as refused:
        await adapter.sender(SPEC).send([Message(id="m", body=b"", time=SystemClock().now())])
    return isinstance(refused.value.failed[0], BrokerUnavailable)


# ---- counting


@played()
async def _outage(s: Stage) -> None:
    """While nobody listens the service goes on trying; when somebody does, that was one attempt and no more."""
    await s.adapter.declare(SPEC)
    await s.send()
    async with asyncio.timeout(10):
        while not [t async for t in await s.scene.client.list_tasks(parent=LIVE) if t.dispatch_count > 4]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    receiver = s.adapter.receiver(SPEC, capacity=1)
    for attempt in (2, 3, 4, 5):
        [delivery] = await receiver.receive(1, 10.0)
        assert delivery.attempt == attempt
        await receiver.abandon([Abandon(delivery)])
    await receiver.close()


def test_an_outage_of_the_workers_costs_one_attempt() -> None:
    _outage()


@played(listen_first="true")
async def _mixed(s: Stage) -> None:
    await s.adapter.declare(SPEC)
    await s.send()
    receiver = s.adapter.receiver(SPEC, capacity=1)
    attempt = 1
    for delay, counted in [
        (0, True),
        (0, False),
        (0, True),
        (0.1, True),
        (0, True),
        (0.1, False),
        (0, True),
        (0, False),
    ]:
        [delivery] = await receiver.receive(1, 10.0)
        assert delivery.attempt == attempt, (delay, counted)
        await receiver.abandon([Abandon(delivery, delay, counted)])
        attempt += counted
    await receiver.close()


def test_attempts_are_exact_in_any_mix_of_failures_refusals_and_copies() -> None:
    _mixed()


# ---- foreign tasks


@played(listen_first="true")
async def _foreign(s: Stage) -> None:
    """One that somebody else has made is a message, too."""
    await s.adapter.declare(SPEC)
    url = f"{s.adapter.settings.url}/orders"
    event = {"Content-Type": "application/cloudevents+json"}
    structured = b'{"specversion":"1.0","id":"e-1","source":"/s","type":"T","data":{"a":1}}'
    for headers, body in [({"Content-Type": "text/plain", "X-Tenant": "t1"}, b"hi"), (event, structured)]:
        http = {"url": url, "headers": headers, "body": body}
        await s.scene.client.create_task(
            parent=LIVE, task={"name": f"{LIVE}/tasks/t-{len(body)}", "http_request": http}
        )
    receiver = s.adapter.receiver(SPEC, capacity=5)
    got: list[Message] = []
    while len(got) < 2:
        deliveries = await receiver.receive(5, 5.0)
        got += [delivery.message for delivery in deliveries]
        await receiver.complete(deliveries)
    await receiver.close()
    told = {message.id: (message.content_type, dict(message.headers), message.body, message.type) for message in got}
    assert told == {
        "t-2": ("text/plain", {"x-tenant": "t1"}, b"hi", ""),
        "e-1": ("application/json", {}, b'{"a":1}', "T"),
    }


def test_a_task_that_somebody_else_has_made_is_a_message_too() -> None:
    _foreign()


MIB = 1024 * 1024


async def _died(s: Stage, **http: Any) -> Message:
    """The dead letter of a task of somebody else's that was given back, and then up."""
    await s.adapter.declare(SPEC)
    http["url"] = f"{s.adapter.settings.url}/orders"
    await s.scene.client.create_task(parent=LIVE, task={"http_request": http})
    receiver = s.adapter.receiver(SPEC, capacity=5)
    for attempt in (1, 2):
        [delivery] = await receiver.receive(5, 10.0)
        assert delivery.attempt == attempt
        await receiver.abandon([Abandon(delivery, 0.1 * (attempt - 1))])
    [delivery] = await receiver.receive(5, 10.0)
    assert delivery.attempt == 3
    await receiver.dead_letter([DeadLetter(delivery, Death(reason="rejected", detail="\x1b" * 2000))])
    await receiver.close()
    [letter] = await s.adapter.peek(SPEC, 5, dead=True)
    depth = await s.adapter.depth(SPEC)
    assert (depth.ready, depth.leased, depth.delayed, depth.dead) == (0, 0, 0, 1)
    return letter


@pytest.mark.parametrize(
    "http",
    [
        {"body": b"z" * (MIB - 40_000)},
        {"body": b"z" * (MIB - 3000)},
        {"body": b"z" * (MIB - 120)},
        {"body": b"{}", "headers": {"X-Big": '"%' * 15_000}},
        {"body": b"", "http_method": 2},
        {"body": b"patched", "http_method": 6},
    ],
    ids=["large", "larger", "as large as can be", "headers that grow", "GET", "PATCH"],
)
def test_a_task_of_whatever_kind_dies_with_its_body(http: dict[str, Any]) -> None:
    """There was no room for a copy or for a dead letter, or nobody took its method: it was tried for ever."""

    @played(listen_first="true")
    async def play(s: Stage) -> None:
        assert (await _died(s, **http)).body == http["body"]

    play()


@played(listen_first="true")
async def _cramped(s: Stage) -> None:
    await _died(s, body=b"z" * (MIB - 120))
    await s.dead(1)
    receiver = s.adapter.receiver(SPEC, capacity=5, dead=True)
    [delivery] = await receiver.receive(5, 0.0)
    assert delivery.message.id == "m-0"
    await receiver.complete([delivery])
    await receiver.close()
    assert await s.adapter.purge(SPEC, dead=True) == 1


def test_a_dead_letter_without_room_to_be_taken_keeps_no_other_from_it() -> None:
    _cramped()


# ---- dead letters


@played(listen_first="true")
async def _contested(s: Stage) -> None:
    await s.adapter.declare(SPEC)
    await s.dead(8)
    receivers = [s.adapter.receiver(SPEC, capacity=8, dead=True) for _ in range(4)]
    taken = await asyncio.gather(*(receiver.receive(8, 0.0) for receiver in receivers))
    ids = [delivery.message.id for deliveries in taken for delivery in deliveries]
    assert sorted(ids) == sorted({*ids}), "two hold one dead letter"
    for receiver, deliveries in zip(receivers, taken, strict=True):
        await receiver.complete(deliveries)
    rest = await receivers[0].receive(8, 0.0)
    await receivers[0].complete(rest)
    assert len(ids) + len(rest) == 8


def test_of_many_who_want_a_dead_letter_one_gets_it() -> None:
    _contested()


@played(listen_first="true")
async def _left_over(s: Stage) -> None:
    """Whoever took it died between making its next task and removing the last."""
    await s.adapter.declare(SPEC)
    await s.dead(1)
    [task] = [task async for task in await s.scene.client.list_tasks(parent=DEAD)]
    full = await s.scene.client.get_task(request={"name": task.name, "response_view": Task.View.FULL})
    assert full.name.endswith("-0")
    second = {"name": f"{full.name[:-1]}1", "http_request": full.http_request}
    await s.scene.client.create_task(parent=DEAD, task=second)
    receiver = s.adapter.receiver(SPEC, capacity=5, dead=True)
    [delivery] = await receiver.receive(5, 0.0)
    await receiver.complete([delivery])
    assert await receiver.receive(5, 0.0) == []
    assert (await s.adapter.depth(SPEC)).dead == 0


def test_a_dead_letter_whose_taker_died_half_way_is_there_once() -> None:
    _left_over()


# ---- applications

EXAMPLES = Path(__file__).parents[2] / "contrib" / "examples"
LEASES = {"LEVELER_QUEUES__ORDERS__LEASE": "20s", "LEVELER_QUEUES__ORDERS__TIMEOUT": "10s"}


def test_the_handlers_of_the_examples_run_unchanged(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "handlers.py", tmp_path)
    with emulated() as running:
        url = f"{running.url}&endpoint=http://127.0.0.1:{free_ports()}&listen_first=true"
        command = [sys.executable, "-m", "leveler", "run", "handlers:app", "--log-level", "error"]
        environment = {**os.environ, **LEASES, "LEVELER_BROKER": url}
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            lines = [worker.stdout.readline()]
            while "order 5, attempt 2" not in lines[-1]:
                assert lines[-1], lines
                lines.append(worker.stdout.readline())
            worker.send_signal(signal.SIGTERM)
            out, _ = worker.communicate(timeout=20)
        assert worker.returncode == 0
        assert "9 orders, 427.50 in all" in out
        words = [sys.executable, "-m", "leveler", "dead"]
        said = subprocess.run([*words, "list", "orders"], env=environment, capture_output=True, text=True, check=True)
        assert "a negative total" in said.stdout
        subprocess.run([*words, "replay", "orders"], env=environment, check=True, capture_output=True)
        said = subprocess.run([*words, "list", "orders"], env=environment, capture_output=True, text=True, check=True)
        assert "a negative total" not in said.stdout


def test_a_fastapi_service_handles_the_same_tasks(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "fastapi_tasks.py", tmp_path)
    port = free_ports()

    async def order() -> int:
        async with ClientSession() as session:
            for _ in range(200):
                try:
                    async with session.post(
                        f"http://127.0.0.1:{port}/orders", json={"id": "42", "total": 9.5}
                    ) as answer:
                        return answer.status
                except OSError:
                    await asyncio.sleep(0.05)
        return 0

    with emulated() as running:
        environment = {**os.environ, **LEASES, "EMULATOR": running.address}
        environment["ENDPOINT"] = f"http://127.0.0.1:{port}/tasks"
        command = [sys.executable, "-m", "uvicorn", "fastapi_tasks:api", "--port", str(port), "--log-level", "error"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as service:
            try:
                assert service.stdout is not None
                assert asyncio.run(order()) == 202
                assert service.stdout.readline() == "charged 9.50 for order 42\n"
                service.send_signal(signal.SIGTERM)
                assert service.wait(20) in (0, -signal.SIGTERM)
            finally:
                service.kill()


@played(listen_first="true")
async def _retried(s: Stage) -> None:
    """An app of ours, from the first try to the dead letter, with a retry that is a scheduled copy."""
    attempts: list[int] = []
    app = Leveler(
        s.url,
        queues={
            "orders": QueueSettings(
                lease_seconds=2.0,
                timeout_seconds=1.0,
                retry=RetryPolicy(max_attempts=3, initial_seconds=0.1, cap_seconds=0.2),
            )
        },
    )

    @app.consumer("orders")
    async def handle(order: dict[str, int], ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("no")

    async with app.working():
        await app.send("orders", {"a": 1})
        async with asyncio.timeout(20):
            while not (await app.depth("orders")).dead:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert attempts == [1, 2, 3]


def test_a_message_that_always_fails_starts_exactly_as_often_as_it_may() -> None:
    _retried()
