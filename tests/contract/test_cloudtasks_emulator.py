"""The emulator, asked by google-cloud-tasks' own client: each test is a fact about the real service."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import ClientSession, web
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.tasks_v2 import Queue, Task
from leveler_cloudtasks.emulator import Served

from leveler.clock import SystemClock
from leveler.testing import VirtualClock
from tests.contract.cloudtasks_scene import PARENT, QUEUE, Scene, code_of, scene, working

Play = Callable[[Scene], Awaitable[None]]


def played(**options: Any) -> Callable[[Play], Callable[[], None]]:
    """A test that is played on a scene of its own."""

    def made(play: Play) -> Callable[[], None]:
        async def main() -> None:
            async with scene(**options) as s:
                await play(s)

        def test() -> None:
            asyncio.run(main())

        test.__doc__ = play.__doc__
        return test

    return made


def later(clock: Any, seconds: float) -> Any:
    return clock.now() + timedelta(seconds=seconds)


# ---- queues


@played()
async def test_a_queue_gets_the_defaults_of_the_service(s: Scene) -> None:
    await s.queue()
    queue = await s.client.get_queue(name=QUEUE)
    limits, retry = queue.rate_limits, queue.retry_config
    assert (limits.max_dispatches_per_second, limits.max_burst_size, limits.max_concurrent_dispatches) == (
        500,
        100,
        1000,
    )
    assert (retry.max_attempts, retry.max_doublings) == (100, 16)
    assert (retry.min_backoff.total_seconds(), retry.max_backoff.total_seconds()) == (0.1, 3600)
    assert queue.state == Queue.State.RUNNING


@played()
async def test_a_queue_is_updated_by_its_mask_alone(s: Scene) -> None:
    await s.queue(retry_config={"max_attempts": 3})
    changed = {"name": QUEUE, "rate_limits": {"max_dispatches_per_second": 7}, "retry_config": {"max_attempts": 9}}
    queue = await s.client.update_queue(queue=changed, update_mask={"paths": ["rate_limits.max_dispatches_per_second"]})
    assert queue.rate_limits.max_dispatches_per_second == 7
    assert queue.rate_limits.max_concurrent_dispatches == 1000
    assert queue.retry_config.max_attempts == 3
    assert (await s.client.get_queue(name=QUEUE)) == queue
    assert await code_of(s.client.update_queue(queue=changed, update_mask={"paths": ["colour"]})) == "INVALID_ARGUMENT"


@played()
async def test_updating_a_queue_that_is_not_there_makes_it(s: Scene) -> None:
    await s.client.update_queue(queue={"name": QUEUE, "retry_config": {"max_attempts": -1}})
    assert (await s.client.get_queue(name=QUEUE)).retry_config.max_attempts == -1


@played()
async def test_backoffs_are_cut_to_whole_seconds(s: Scene) -> None:
    made = await s.client.create_queue(
        parent=PARENT, queue={"name": QUEUE, "retry_config": {"min_backoff": timedelta(seconds=2.9)}}
    )
    assert made.retry_config.min_backoff.total_seconds() == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"rate_limits": {"max_dispatches_per_second": 501}},
        {"rate_limits": {"max_concurrent_dispatches": 5001}},
        {"retry_config": {"max_attempts": -2}},
        {"retry_config": {"min_backoff": timedelta(seconds=9), "max_backoff": timedelta(seconds=3)}},
        {"name": f"{PARENT}/queues/under_score"},
        {"name": f"{PARENT}/queues/{'x' * 101}"},
        {"name": "projects/p-1/locations/there/queues/q"},
    ],
)
def test_a_queue_out_of_range_is_invalid(fields: dict[str, Any]) -> None:
    @played()
    async def test(s: Scene) -> None:
        queue = {"name": QUEUE, **fields}
        assert await code_of(s.client.create_queue(parent=PARENT, queue=queue)) == "INVALID_ARGUMENT"

    test()


@played()
async def test_what_is_not_there_is_not_found(s: Scene) -> None:
    task = f"{QUEUE}/tasks/t"
    assert await code_of(s.client.get_queue(name=QUEUE)) == "NOT_FOUND"
    assert await code_of(s.client.delete_queue(name=QUEUE)) == "NOT_FOUND"
    assert await code_of(s.client.pause_queue(name=QUEUE)) == "NOT_FOUND"
    assert await code_of(s.send()) == "NOT_FOUND"
    await s.queue()
    assert await code_of(s.client.get_task(name=task)) == "NOT_FOUND"
    assert await code_of(s.client.delete_task(name=task)) == "NOT_FOUND"
    assert await code_of(s.client.run_task(name=task)) == "NOT_FOUND"
    assert await code_of(s.queue()) == "ALREADY_EXISTS"


def test_the_name_of_a_deleted_queue_is_blocked_for_seven_days() -> None:
    clock = VirtualClock()

    @played(clock=clock)
    async def test(s: Scene) -> None:
        await s.queue()
        await s.client.delete_queue(name=QUEUE)
        await clock.advance(6.9 * 86400)
        assert await code_of(s.queue()) == "FAILED_PRECONDITION"
        await clock.advance(0.2 * 86400)
        assert await code_of(s.queue()) == "OK"

    test()


@played()
async def test_queues_and_tasks_are_listed_page_by_page(s: Scene) -> None:
    for number in range(5):
        await s.queue(f"{PARENT}/queues/q-{number}")
    await s.client.create_queue(
        parent="projects/p-2/locations/here", queue={"name": "projects/p-2/locations/here/queues/q"}
    )
    first = await s.client.list_queues(request={"parent": PARENT, "page_size": 2})
    pages = [[queue.name[-3:] for queue in page.queues] async for page in first.pages]
    assert pages == [["q-0", "q-1"], ["q-2", "q-3"], ["q-4"]]
    queue = f"{PARENT}/queues/q-0"
    await s.client.pause_queue(name=queue)
    sent = {(await s.send(queue)).name for _ in range(5)}
    listed = await s.client.list_tasks(request={"parent": queue, "page_size": 2})
    sizes = [len(page.tasks) async for page in listed.pages]
    assert sizes == [2, 2, 1]
    assert {task.name async for task in await s.client.list_tasks(parent=queue)} == sent


@played()
async def test_a_paused_queue_dispatches_nothing_until_it_is_resumed(s: Scene) -> None:
    await s.queue()
    assert (await s.client.pause_queue(name=QUEUE)).state == Queue.State.PAUSED
    await s.send()
    await asyncio.sleep(0.1)
    assert s.worker.calls == []
    assert (await s.client.resume_queue(name=QUEUE)).state == Queue.State.RUNNING
    await s.wait(1)


@played()
async def test_purging_removes_every_task(s: Scene) -> None:
    await s.queue()
    await s.client.pause_queue(name=QUEUE)
    for _ in range(3):
        await s.send()
    assert (await s.client.purge_queue(name=QUEUE)).purge_time
    await s.gone()


# ---- tasks


@played()
async def test_the_request_has_the_headers_of_the_service(s: Scene) -> None:
    await s.queue()
    task = await s.send(
        request={"headers": {"X-Mine": "1", "User-Agent": "me", "X-Google-A": "x", "X-CloudTasks-TaskName": "y"}}
    )
    [call] = await s.wait()
    got = {name: value for name, value in call.headers.items() if name not in ("host", "x-cloudtasks-tasketa")}
    assert got == {
        "x-mine": "1",
        "user-agent": "Google-Cloud-Tasks",
        "content-length": "2",
        "x-cloudtasks-queuename": "orders",  # the short id, not the path
        "x-cloudtasks-taskname": task.name.rpartition("/")[2],
        "x-cloudtasks-taskretrycount": "0",
        "x-cloudtasks-taskexecutioncount": "0",
    }
    assert abs(float(call.headers["x-cloudtasks-tasketa"]) - time.time()) < 5
    assert (call.method, call.path, call.body) == ("POST", "/work", b"{}")


@played()
async def test_retries_count_all_failures_and_executions_all_but_those_of_the_server(s: Scene) -> None:
    await s.queue(retry_config={"max_doublings": 1, "max_backoff": timedelta(seconds=0.1)})
    s.worker.answers = [500, 429, 503, 404, 200]
    await s.send()
    calls = await s.wait(5)
    names = ("taskretrycount", "taskexecutioncount", "taskpreviousresponse", "taskretryreason")
    told = [tuple(call.headers.get(f"x-cloudtasks-{name}", "") for name in names) for call in calls]
    assert told == [
        ("0", "0", "", ""),
        ("1", "0", "500", "INTERNAL"),
        ("2", "1", "429", "RESOURCE_EXHAUSTED"),
        ("3", "1", "503", "UNAVAILABLE"),
        ("4", "2", "404", "NOT_FOUND"),
    ]
    await s.gone()


@played()
async def test_a_worker_that_is_not_there_counts_as_a_retry_and_not_as_an_execution(s: Scene) -> None:
    await s.queue()
    task = await s.send(request={"url": "http://127.0.0.1:9/"})
    async with asyncio.timeout(5):
        while (seen := await s.client.get_task(name=task.name)).dispatch_count < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert seen.response_count == 0
    assert seen.first_attempt.dispatch_time


@played()
async def test_a_task_can_be_seen_with_its_body_and_without(s: Scene) -> None:
    await s.queue()
    await s.client.pause_queue(name=QUEUE)
    task = await s.send(request={"body": b"secret"})
    assert task.http_request.body == b""
    assert task.view == Task.View.BASIC
    full = await s.client.get_task(request={"name": task.name, "response_view": Task.View.FULL})
    assert full.http_request.body == b"secret"
    assert full.dispatch_deadline == timedelta(minutes=10)


@played()
async def test_a_task_waits_for_its_time(s: Scene) -> None:
    await s.queue()
    clock = SystemClock()
    begun = clock.monotonic()
    await s.send(schedule_time=later(clock, 0.5))
    [call] = await s.wait()
    assert 0.45 <= call.at - begun <= 2.0
    assert abs(float(call.headers["x-cloudtasks-tasketa"]) - time.time()) < 2.0


def test_a_task_waits_for_days_and_not_for_more_than_thirty() -> None:
    clock = VirtualClock()

    @played(clock=clock)
    async def test(s: Scene) -> None:
        await s.queue()
        assert await code_of(s.send(schedule_time=later(clock, 30 * 86400 + 60))) == "INVALID_ARGUMENT"
        await s.send(schedule_time=later(clock, 29.5 * 86400))
        await clock.advance(29.4 * 86400)
        await asyncio.sleep(0.05)
        assert s.worker.calls == []
        await clock.advance(0.2 * 86400)
        await s.wait(1)

    test()


@played(speed=3600.0)
async def test_a_clock_that_is_sped_up_makes_an_hour_a_second(s: Scene) -> None:
    await s.queue()
    begun = time.monotonic()
    await s.send(schedule_time=later(SystemClock(), 3600))
    [call] = await s.wait()
    assert 0.8 <= call.at - begun <= 3.0


@played()
async def test_a_named_task_exists_once(s: Scene) -> None:
    await s.queue()
    await s.client.pause_queue(name=QUEUE)
    name = f"{QUEUE}/tasks/only-one"
    assert (await s.send(name=name)).name == name
    assert await code_of(s.send(name=name)) == "ALREADY_EXISTS"


@pytest.mark.parametrize("how", ["done", "deleted"])
def test_the_name_of_a_task_is_remembered_for_an_hour(how: str) -> None:
    clock = VirtualClock()

    @played(clock=clock)
    async def test(s: Scene) -> None:
        name = f"{QUEUE}/tasks/again"
        await s.queue()
        if how == "deleted":
            await s.client.pause_queue(name=QUEUE)
        await s.send(name=name)
        await (s.client.delete_task(name=name) if how == "deleted" else s.gone())
        await clock.advance(3500)
        assert await code_of(s.client.get_task(name=name)) == "NOT_FOUND"
        assert await code_of(s.send(name=name)) == "ALREADY_EXISTS"
        await clock.advance(200)
        assert await code_of(s.send(name=name)) == "OK"

    test()


@played()
async def test_a_task_can_be_deleted_while_it_waits(s: Scene) -> None:
    await s.queue()
    task = await s.send(schedule_time=later(SystemClock(), 0.3))
    await s.client.delete_task(name=task.name)
    await asyncio.sleep(0.5)
    assert s.worker.calls == []


@played()
async def test_a_task_can_be_run_now_even_in_a_paused_queue(s: Scene) -> None:
    await s.queue()
    await s.client.pause_queue(name=QUEUE)
    task = await s.send(schedule_time=later(SystemClock(), 3600))
    ran = await s.client.run_task(name=task.name)
    assert ran.dispatch_count == 1
    await s.wait(1)
    await s.gone()


def _pair(name: str, **request: Any) -> Any:
    return pytest.param(request, id=name)


@pytest.mark.parametrize(
    "request_",
    [
        _pair("no url", url=""),
        _pair("another scheme", url="ftp://host/"),
        _pair("a long url", url="http://host/" + "x" * 2083),
        _pair("a body with GET", http_method="GET"),
        _pair("large headers", headers={f"x-{number}": "v" * 1000 for number in range(82)}),
        _pair("a large body", body=b"x" * (1024 * 1024)),
    ],
)
def test_a_request_out_of_range_is_invalid(request_: dict[str, Any]) -> None:
    @played()
    async def test(s: Scene) -> None:
        await s.queue()
        assert await code_of(s.send(request=request_)) == "INVALID_ARGUMENT"

    test()


@played()
async def test_a_task_is_as_large_as_one_mebibyte(s: Scene) -> None:
    await s.queue()
    await s.send(request={"body": b"x" * (1024 * 1024 - 500)})
    [call] = await s.wait()
    assert len(call.body) == 1024 * 1024 - 500


@pytest.mark.parametrize(
    ("seconds", "code"), [(14.9, "INVALID_ARGUMENT"), (15, "OK"), (1800, "OK"), (1801, "INVALID_ARGUMENT")]
)
def test_a_dispatch_deadline_is_15_seconds_to_30_minutes(seconds: float, code: str) -> None:
    @played()
    async def test(s: Scene) -> None:
        await s.queue()
        await s.client.pause_queue(name=QUEUE)
        assert await code_of(s.send(dispatch_deadline=timedelta(seconds=seconds))) == code

    test()


@played(speed=30.0)
async def test_a_worker_that_is_late_is_cut_off_and_called_again(s: Scene) -> None:
    await s.queue()
    s.worker.answers = [lambda: asyncio.sleep(30)]
    await s.send(dispatch_deadline=timedelta(seconds=15))
    first, second = await s.wait(2)
    assert 0.45 <= second.at - first.at <= 3.0  # 15 s, thirty times faster
    assert second.headers["x-cloudtasks-taskretrycount"] == "1"
    assert second.headers["x-cloudtasks-taskexecutioncount"] == "0"
    assert second.headers["x-cloudtasks-taskretryreason"] == "DEADLINE_EXCEEDED"


# ---- retries and limits


@played()
async def test_a_task_is_deleted_after_its_last_attempt(s: Scene) -> None:
    await s.queue(retry_config={"max_attempts": 3})
    s.worker.answers = [500] * 10
    await s.send()
    await s.wait(3)
    await s.gone()
    assert len(s.worker.calls) == 3


@played(speed=20.0)
async def test_attempts_and_duration_must_both_be_over(s: Scene) -> None:
    """Three attempts are over within a second; the duration of 10 s is not."""
    retry = {"max_attempts": 3, "max_retry_duration": timedelta(seconds=10), "max_backoff": timedelta(seconds=1)}
    await s.queue(retry_config=retry)
    s.worker.answers = [500] * 100
    await s.send()
    await s.gone()
    assert (s.worker.calls[-1].at - s.worker.calls[0].at) * 20 >= 9
    assert len(s.worker.calls) > 3


@played(speed=50.0)
async def test_waits_are_doubled_then_grow_by_steps_up_to_the_most(s: Scene) -> None:
    retry = {"min_backoff": timedelta(seconds=5), "max_backoff": timedelta(seconds=35), "max_doublings": 1}
    await s.queue(retry_config=retry)
    s.worker.answers = [500] * 6
    await s.send()
    calls = await s.wait(6)
    waits = [(after.at - before.at) * 50 for before, after in itertools.pairwise(calls)]
    for found, due in zip(waits, [5, 10, 20, 30, 35], strict=True):
        assert due - 0.5 <= found <= due + 15, waits  # 15 s are 0.3 s here


@played()
async def test_a_task_may_have_a_retry_config_of_its_own(s: Scene) -> None:
    await s.queue(retry_config={"max_attempts": 5})
    s.worker.answers = [500] * 5
    await s.send(retry_config={"max_attempts": 1, "min_backoff": timedelta(0), "max_backoff": timedelta(0)})
    await s.gone()
    assert len(s.worker.calls) == 1


@played(speed=20.0)
async def test_retry_after_is_heeded(s: Scene) -> None:
    await s.queue()
    s.worker.answers = [web.Response(status=503, headers={"Retry-After": "10"})]
    await s.send()
    first, second = await s.wait(2)
    assert (second.at - first.at) * 20 >= 9.5


@played()
async def test_the_rate_is_a_token_bucket(s: Scene) -> None:
    """A burst of ten, which the service chooses, then twenty a second."""
    await s.queue(rate_limits={"max_dispatches_per_second": 20})
    assert (await s.client.get_queue(name=QUEUE)).rate_limits.max_burst_size == 10
    await asyncio.gather(*(s.send() for _ in range(20)))
    calls = await s.wait(20)
    assert calls[9].at - calls[0].at < 0.4
    assert 0.4 <= calls[19].at - calls[0].at <= 2.0


@played()
async def test_no_more_run_at_once_than_the_queue_allows(s: Scene) -> None:
    await s.queue(rate_limits={"max_concurrent_dispatches": 3})
    s.worker.answers = [lambda: asyncio.sleep(0.05) for _ in range(12)]
    await asyncio.gather(*(s.send() for _ in range(12)))
    await s.wait(12)
    await s.gone()
    assert s.worker.most_running == 3


@played()
async def test_listing_and_running_are_for_people_and_have_quotas(s: Scene) -> None:
    await s.queue()
    codes = [await code_of(s.client.run_task(name=f"{QUEUE}/tasks/none")) for _ in range(62)]
    assert codes[:60] == ["NOT_FOUND"] * 60
    assert "RESOURCE_EXHAUSTED" in codes[60:]


# ---- batches


@played()
async def test_a_batch_of_tasks_is_created_as_one_operation(s: Scene) -> None:
    await s.queue()
    await s.client.pause_queue(name=QUEUE)
    taken = f"{QUEUE}/tasks/taken"
    await s.send(name=taken)
    http = {"url": f"{s.worker.url}/work"}
    requests = [{"parent": QUEUE, "task": {"http_request": http}} for _ in range(3)]
    requests.append({"parent": QUEUE, "task": {"http_request": http, "name": taken}})
    batch = {"parent": QUEUE, "requests": requests, "request_id": "once"}
    operation = await s.client.batch_create_tasks(request=batch)
    assert len((await operation.result()).tasks) == 3
    assert {index: status.code for index, status in operation.metadata.failed_requests.items()} == {3: 6}
    await (await s.client.batch_create_tasks(request=batch)).result()  # the same operation, not done again
    assert len([task async for task in await s.client.list_tasks(parent=QUEUE)]) == 4
    too_many = {"parent": QUEUE, "requests": requests * 26}
    assert await code_of(s.client.batch_create_tasks(request=too_many)) == "INVALID_ARGUMENT"


@played()
async def test_a_batch_of_tasks_is_deleted_as_one_operation(s: Scene) -> None:
    await s.queue()
    await s.client.pause_queue(name=QUEUE)
    names = [(await s.send()).name for _ in range(3)]
    operation = await s.client.batch_delete_tasks(request={"parent": QUEUE, "names": [*names, f"{QUEUE}/tasks/none"]})
    await operation.result()
    assert {index: status.code for index, status in operation.metadata.failed_requests.items()} == {3: 5}
    await s.gone()


@played()
async def test_a_batch_of_which_nothing_succeeds_is_aborted(s: Scene) -> None:
    await s.queue()
    operation = await s.client.batch_delete_tasks(request={"parent": QUEUE, "names": [f"{QUEUE}/tasks/none"]})
    with pytest.raises(GoogleAPICallError, match="None of the requests succeeded"):
        await operation.result()


# ---- who calls


async def _keys(served: Served) -> Any:
    async with ClientSession() as session, session.get(served.keys) as response:
        return await response.json()


@played()
async def test_a_token_says_who_calls_whom_and_can_be_checked(s: Scene) -> None:
    await s.queue()
    await s.send(request={"oidc_token": {"service_account_email": "me@p-1.iam.gserviceaccount.com"}})
    await s.send(request={"oidc_token": {"service_account_email": "me@p-1", "audience": "https://aud"}})
    keys = jwt.PyJWKSet.from_dict(await _keys(s.served))
    audiences = {}
    for call in await s.wait(2):
        scheme, _, token = call.headers["authorization"].partition(" ")
        assert scheme == "Bearer"
        key = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key, algorithms=["RS256"], options={"verify_aud": False})
        assert (claims["iss"], claims["email_verified"]) == ("https://accounts.google.com", True)
        assert claims["exp"] - claims["iat"] == 3600
        audiences[claims["email"]] = claims["aud"]
    assert audiences == {"me@p-1.iam.gserviceaccount.com": f"{s.worker.url}/work", "me@p-1": "https://aud"}


# ---- as a program


@contextmanager
def program(*words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """``leveler emulate cloudtasks`` in a process of its own, and what it says when it is ready."""
    command = [sys.executable, "-m", "leveler", "emulate", "cloudtasks", "--port", "0", "--keys-port", "0", "--json"]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def _ask(said: dict[str, str], play: Play) -> None:
    async def main() -> None:
        served = Served(said["address"], said["keys"], None)  # type: ignore[arg-type]
        async with working(served) as (client, worker):
            await play(Scene(client, worker, served, SystemClock()))

    asyncio.run(main())


def test_it_starts_says_where_it_is_and_ends_with_code_0_at_a_signal() -> None:
    with program() as (process, said):
        assert said["url"].startswith(f"cloudtasks://local/here?emulator={said['address']}")
        assert said["address"].startswith("127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_port_that_somebody_else_has_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with program() as (_, said):
        taken = said["address"].rpartition(":")[2]
        second = [sys.executable, "-m", "leveler", "emulate", "cloudtasks", "--port", taken, "--keys-port", "0"]
        assert subprocess.run(second, check=False, timeout=20).returncode == 2
    assert "choose another --port" in capfd.readouterr().err


def test_what_it_holds_survives_its_own_sudden_death(tmp_path: Path) -> None:
    """Names that are remembered, settings and states: all as they were."""
    file = ["--file", str(tmp_path / "state.db")]
    done = f"{QUEUE}/tasks/done"

    async def before(s: Scene) -> None:
        await s.queue(retry_config={"max_backoff": timedelta(seconds=1)})
        await s.queue(f"{PARENT}/queues/paused")
        await s.client.pause_queue(name=f"{PARENT}/queues/paused")
        await s.queue(f"{PARENT}/queues/deleted")
        await s.client.delete_queue(name=f"{PARENT}/queues/deleted")
        await s.send(name=done)
        await s.gone()

    async def after(s: Scene) -> None:
        assert (await s.client.get_queue(name=QUEUE)).retry_config.max_backoff == timedelta(seconds=1)
        assert (await s.client.get_queue(name=f"{PARENT}/queues/paused")).state == Queue.State.PAUSED
        assert await code_of(s.queue(f"{PARENT}/queues/deleted")) == "FAILED_PRECONDITION"
        assert await code_of(s.send(name=done)) == "ALREADY_EXISTS"

    with program(*file) as (process, said):
        _ask(said, before)
        process.kill()
        process.wait()
    with program(*file) as (process, said):
        _ask(said, after)


def test_what_ran_when_it_died_is_dispatched_again_and_counted(tmp_path: Path) -> None:
    file = ["--file", str(tmp_path / "state.db")]

    async def main() -> None:
        worker_calls: list[dict[str, str]] = []
        with program(*file) as (process, said):
            served = Served(said["address"], said["keys"], None)  # type: ignore[arg-type]
            async with working(served) as (client, worker):
                s = Scene(client, worker, served, SystemClock())
                worker.answers = [404, lambda: asyncio.sleep(20)]
                await s.queue()
                await s.send()
                await s.wait(2)
                process.kill()
                process.wait()
                with program(*file):
                    worker_calls = [call.headers for call in await s.wait(3)]
        counts = [(h["x-cloudtasks-taskretrycount"], h["x-cloudtasks-taskexecutioncount"]) for h in worker_calls]
        assert counts == [("0", "0"), ("1", "1"), ("2", "1")]

    asyncio.run(main())


def test_two_emulators_do_not_share_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = ["--file", str(tmp_path / "state.db")]
    with program(*file):
        second = [sys.executable, "-m", "leveler", "emulate", "cloudtasks", "--port", "0", "--keys-port", "0", *file]
        assert subprocess.run(second, check=False, timeout=20).returncode == 2
    assert "cannot be used" in capfd.readouterr().err
