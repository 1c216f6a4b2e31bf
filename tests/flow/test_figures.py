"""A worker in a process of its own, and what its endpoint says about it: exactly what it did."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from leveler import ConsumerSettings, Leveler, LimitSettings, Throttled
from leveler.monitor import server
from leveler.monitor.address import Address
from leveler.monitor.endpoint import Endpoint
from leveler.monitor.figures import AppFigures
from leveler.monitor.useful import CALM_SECONDS, Useful
from leveler.monitor.watcher import Unreadable, Watcher
from leveler.testing import TestApp
from tests.containers.port import free_ports

#: What each message makes its handler do is in the message; what it did stands in a ledger of its own.
WORKER = """
import asyncio
import os
from collections import Counter

from leveler import Leveler, Reject, Retry, Snooze

app = Leveler()
ledger = open("ledger", "a", buffering=1)
seen = Counter()

@app.consumer("orders", concurrency=4)
async def handle(order: dict[str, str]) -> None:
    do, id = order["do"], order["id"]
    ledger.write(f"started {id}\\n")
    seen[id] += 1
    if do == "wait":
        await asyncio.sleep(0.002)
    if do == "forward":
        await app.send("mails", {"id": id})
        ledger.write(f"sent {id}\\n")
    if do == "reject":
        ledger.write(f"dead {id}\\n")
        raise Reject("never")
    if do == "fail" or (do == "retry" and seen[id] < 3):
        last = do == "fail" and seen[id] == 3
        ledger.write(f"{'dead' if last else 'retried'} {id}\\n")
        raise Retry(after=0.01)
    if do == "snooze" and seen[id] == 1:
        ledger.write(f"returned {id}\\n")
        raise Snooze(0.01)
    ledger.write(f"completed {id}\\n")

@app.consumer("mails")
def deliver(mail: dict[str, str]) -> None:
    ledger.write(f"delivered {mail['id']}\\n")
"""

SETTINGS = """
broker: sqlite:///orders.db
queues:
  orders: {retry: {max_attempts: 3, floor: 1ms}}
"""

WAYS = ("pass", "wait", "forward", "reject", "fail", "retry", "snooze")
EACH = 40
UNDECODABLE = 5


class Process(NamedTuple):
    """A worker and its endpoint."""

    worker: subprocess.Popen[str]
    url: str

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        return get(f"{self.url}{path}", **headers)

    def figures(self) -> Any:
        status, text = self.get("/figures")
        assert status == 200
        return json.loads(text)


def get(url: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("leveler.yaml").write_text(SETTINGS)
    Path("worker.py").write_text(WORKER)


@contextmanager
def working(*words: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "leveler", "run", "worker", "--listen", "127.0.0.1:0", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stderr is not None
            for line in worker.stderr:
                if found := re.search(r"figures at (\S+)/figures", line):
                    yield Process(worker, found[1])
                    return
            raise AssertionError("it shows no figures")
        finally:
            worker.kill()


def until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def send() -> None:
    """So many messages of each way, mixed, and some that nobody can read."""

    async def story() -> None:
        async with Leveler() as app:
            values = [{"id": f"{way}-{n}", "do": way} for n in range(EACH) for way in WAYS]
            await app.send_many("orders", values)
            await app.send_many("orders", [b"no order"] * UNDECODABLE)

    asyncio.run(story())


def ledger() -> Counter[str]:
    return Counter(line.split()[0] for line in Path("ledger").read_text().splitlines())


def at_rest(figures: Any) -> bool:
    depths = [queue["depth"] for queue in figures["queues"].values()]
    held = [queue["consumer"]["held"] for queue in figures["queues"].values()]
    return (
        figures["ready"]
        and not any(depth["ready"] or depth["leased"] or depth["delayed"] for depth in depths)
        and not any(held)
    )


def test_fault_free_the_counters_equal_the_ledger_exactly() -> None:
    send()
    with working() as process:
        until(lambda: at_rest(process.figures()))
        figures, metrics, did = process.figures(), process.get("/metrics")[1], ledger()

    orders, mails = figures["queues"]["orders"], figures["queues"]["mails"]
    counts, ran = orders["consumer"]["counts"], EACH * len(WAYS)
    assert did["started"] == ran + 2 * 2 * EACH + EACH  # two more runs where it fails, one where it snoozes
    assert counts.pop("run_seconds") > 0.002 * EACH
    assert counts == {
        "received": did["started"] + UNDECODABLE,
        "started": did["started"],
        "completed": did["completed"],
        "retried": did["retried"],
        "returned": did["returned"],
        "dead_lettered": did["dead"] + UNDECODABLE,
        **dict.fromkeys(("returned_counted", "lost", "settlements_failed", "stuck", "receivers_lost"), 0),
    }
    assert mails["sent"] == did["sent"] == did["delivered"] == mails["consumer"]["counts"]["completed"] == EACH
    assert orders["depth"]["dead"] == did["dead"] + UNDECODABLE
    assert all(f'leveler_{name}_messages_total{{queue="orders"}} {float(counts[name])}' in metrics for name in (
        "received", "started", "completed", "retried", "dead_lettered"
    ))  # fmt: skip
    assert f'leveler_sent_messages_total{{queue="mails"}} {float(EACH)}' in metrics
    assert orders["consumer"]["workers"]["needed"] == 0.0
    assert 'leveler_needed_workers{queue="orders"} 0.0' in metrics
    assert 'leveler_borne_workers{queue="orders"} 1.0' in metrics
    assert f'leveler_queue_messages{{queue="orders",state="dead"}} {float(did["dead"] + UNDECODABLE)}' in metrics


def test_a_worker_is_ready_until_its_stop_and_lives_until_its_end() -> None:
    source = WORKER.replace("asyncio.sleep(0.002)", "asyncio.Event().wait()")
    Path("worker.py").write_text(source)
    asyncio.run(send_one("wait"))
    with working() as process:
        until(lambda: ledger()["started"] == 1 if Path("ledger").exists() else False)
        assert process.get("/readyz") == (200, "ready\n")
        assert process.figures()["queues"]["orders"]["consumer"]["running"] == 1

        process.worker.send_signal(signal.SIGTERM)
        until(lambda: process.get("/readyz")[0] == 503)

        assert process.get("/livez") == (200, "alive\n")
        process.worker.send_signal(signal.SIGTERM)
        assert process.worker.wait(20) == 0


async def send_one(way: str) -> None:
    async with Leveler() as app:
        await app.send("orders", {"id": way, "do": way})


def test_nothing_listens_unless_it_is_told_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = leveler("run", "worker", "--listen", f"127.0.0.1:{port}")
    assert ran.returncode == 2
    assert f"listen is 127.0.0.1:{port}: " in ran.stderr
    assert "port 0" in ran.stderr


def test_other_hosts_need_a_token() -> None:
    ran = leveler("run", "worker", "--listen", "0.0.0.0:0")
    assert ran.returncode == 2
    assert "--listen: other hosts could read it: give a listen_token" in ran.stderr


def leveler(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leveler", *words], capture_output=True, text=True, timeout=30, check=False
    )


# ---- leveler top


def test_top_shows_a_worker_once_for_programs_and_for_people() -> None:
    asyncio.run(send_one("reject"))
    with working() as process:
        until(lambda: at_rest(process.figures()))
        port = process.url.rpartition(":")[2]

        data = leveler("top", port, "--once", "--every", "0.2s", "--json")
        text = leveler("top", port, "--once", "--every", "0.2s")

    shown = json.loads(data.stdout)
    assert shown["workers"] == {process.url: {"process": f"{socket.gethostname()}:{process.worker.pid}", "ready": True}}
    assert shown["queues"]["orders"]["counts"]["dead_lettered"] == shown["queues"]["orders"]["depth"]["dead"] == 1
    assert shown["queues"]["orders"]["completing_per_second"] == 0.0
    assert shown["limits"]["consumers.orders"]["concurrency"] == 4
    assert shown["queues"]["orders"]["useful_workers"] == 1  # it was busy in the last minute
    assert (data.returncode, text.returncode, text.stderr) == (0, 0, "")
    assert "orders" in text.stdout
    assert "ready" in text.stdout


def test_top_goes_on_until_it_is_interrupted() -> None:
    with working() as process:
        command = [sys.executable, "-m", "leveler", "top", process.url, "--every", "0.5s", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
            watching.send_signal(signal.SIGINT)
            assert watching.wait(20) == 0
    assert [list(look["workers"]) for look in looks] == [[process.url]] * 2


def test_top_says_which_worker_does_not_answer_and_shows_the_others() -> None:
    port = free_ports()
    with working() as process:
        ran = leveler("top", f"127.0.0.1:{port}", process.url, "--once", "--every", "0.1s", "--json")

    shown = json.loads(ran.stdout)
    assert ran.returncode == 1
    assert list(shown["workers"]) == [process.url]
    assert "does not answer" in shown["unreadable"][f"http://127.0.0.1:{port}"]


def test_top_needs_to_know_which_worker() -> None:
    ran = leveler("top", "--once")
    assert ran.returncode == 2
    assert "127.0.0.1:9464" in ran.stderr


def test_top_looks_where_the_settings_say_that_workers_listen() -> None:
    port = free_ports()
    Path("leveler.yaml").write_text(f"{SETTINGS}listen: 127.0.0.1:{port}\nlisten_token: {'t' * 16}\n")
    command = [sys.executable, "-m", "leveler", "run", "worker"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
        try:
            assert worker.stdout is not None
            assert "ready\n" in iter(worker.stdout.readline, "")
            assert get(f"http://127.0.0.1:{port}/figures")[0] == 401
            ran = leveler("top", "--once", "--every", "0.1s", "--json")
        finally:
            worker.kill()
    assert ran.returncode == 0, ran.stdout
    assert list(json.loads(ran.stdout)["workers"]) == [f"http://127.0.0.1:{port}"]


# ---- the endpoint by itself


async def nothing_to_show() -> AppFigures:
    return AppFigures(process="host:1", up_seconds=1.0, ready=True)


async def ask(url: str, path: str, **headers: str) -> tuple[int, str]:
    return await asyncio.to_thread(get, f"{url}{path}", **headers)


async def test_every_answer_is_for_who_may_have_it() -> None:
    endpoint = Endpoint(Address("127.0.0.1", 0), "t" * 16, figures=nothing_to_show, ready=lambda: False)
    async with endpoint:
        assert (await ask(endpoint.url, "/figures"))[0] == 401
        status, text = await ask(endpoint.url, "/figures?x=1", Authorization=f"Bearer {'t' * 16}")
        assert (status, json.loads(text)["process"]) == (200, "host:1")
        assert await ask(endpoint.url, "/readyz") == (503, "not ready\n")
        assert (await ask(endpoint.url, "/livez", Host="rebound.example"))[0] == 403
        assert (await ask(endpoint.url, "/nowhere", Authorization=f"Bearer {'t' * 16}"))[0] == 404
        found = await asyncio.to_thread(Watcher([endpoint.url], "t" * 16).look)
        assert found == {endpoint.url: await nothing_to_show()}
        refused = (await asyncio.to_thread(Watcher([endpoint.url], None).look))[endpoint.url]
        assert isinstance(refused, Unreadable)
        assert "401" in refused.why


async def test_without_the_client_library_metrics_say_what_to_install_and_the_figures_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with Endpoint(Address("127.0.0.1", 0), None, figures=nothing_to_show, ready=lambda: True) as endpoint:
        status, text = await ask(endpoint.url, "/metrics")
        assert (status, "pip install 'leveler-mq[metrics]'" in text) == (501, True)
        assert (await ask(endpoint.url, "/figures"))[0] == 200


async def test_what_the_handlers_count_themselves_is_among_the_metrics() -> None:
    prometheus = pytest.importorskip("prometheus_client")
    own = prometheus.Counter("charges_of_a_test", "By a handler.")
    own.inc(3)
    async with Endpoint(Address("127.0.0.1", 0), None, figures=nothing_to_show, ready=lambda: True) as endpoint:
        plain = await ask(endpoint.url, "/metrics")
        open_metrics = await ask(endpoint.url, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    prometheus.REGISTRY.unregister(own)
    assert "charges_of_a_test_total 3.0" in plain[1]
    assert open_metrics[1].endswith("# EOF\n")


async def test_slow_readers_take_no_more_than_their_places() -> None:
    async with Endpoint(Address("127.0.0.1", 0), None, figures=nothing_to_show, ready=lambda: True) as endpoint:
        host, port = endpoint.url.removeprefix("http://").split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(40)]
        closed = [reader for reader, _ in idle[16:]]
        assert await asyncio.gather(*(reader.read() for reader in closed)) == [b""] * 24
        for _, writer in idle:
            writer.close()
        await until_answered(endpoint.url)


async def test_who_asks_byte_by_byte_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CLIENT_SECONDS", 0.3)
    async with Endpoint(Address("127.0.0.1", 0), None, figures=nothing_to_show, ready=lambda: True) as endpoint:
        host, port = endpoint.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /livez HTTP/1.1\r\nHost: ")
        async with asyncio.timeout(20):
            while not reader.at_eof():  # each byte comes in time
                writer.write(b"x")
                with suppress(TimeoutError, ConnectionError):
                    await asyncio.wait_for(reader.read(), 0.05)
        writer.close()


async def until_answered(url: str) -> None:
    """The threads notice one by one that nobody is there any more."""
    for _ in range(200):
        try:
            if (await ask(url, "/livez"))[0] == 200:
                return
        except OSError:
            await asyncio.sleep(0.02)
    raise AssertionError("it does not answer")


async def test_an_app_tells_the_same_figures_itself() -> None:
    app = Leveler()

    @app.consumer("orders", concurrency=3)
    async def handle(order: dict[str, str]) -> None: ...

    async with TestApp(app) as t:
        await t.send_many("orders", [{}, {}])
        await t.drain()
        figures = await app.figures()

    orders = figures.queues["orders"]
    assert orders.consumer is not None
    assert (orders.sent, orders.consumer.counts.completed, orders.consumer.limits) == (
        2,
        2,
        {"concurrency": 3, "running": 0, "waiting": 0, "paused_seconds": 0.0},
    )


async def test_an_app_tells_how_many_workers_would_be_useful() -> None:
    app = Leveler(
        consumers={"orders": ConsumerSettings(downstream="bank", target_wait_seconds=10.0)},
        downstreams={"bank": LimitSettings(concurrency=2)},
    )

    refused: list[object] = []

    async def said() -> Useful:
        consumer = (await app.figures()).queues["orders"].consumer
        assert consumer is not None
        return consumer.workers

    @app.consumer("orders")
    async def handle(order: dict[str, str]) -> None:
        await t.clock.sleep(1.0)
        if order.pop("is", "") == "refused" and not refused:
            refused.append(order)
            raise Throttled(after=600.0)

    async with TestApp(app) as t:
        await t.send_many("orders", [{}] * 121)
        await t.advance(0.5)
        assert await said() == Useful(needed=None, busy=1.0, borne=1.0)  # no run has ended yet

        await t.advance(1.0)
        busy = (await said()).busy
        assert (await said()).needed == pytest.approx(119 / 20)  # 2 places, 1 s, 10 s
        assert 0.6 <= busy <= 1.0

        await t.advance(65.0)  # now it is empty
        await said()
        await t.advance(60.0)
        assert await said() == Useful(needed=0.0, busy=0.0, borne=2.0)

        await t.send("orders", {"is": "refused"})
        await t.advance(2.0)
        assert (await said()).borne == 1.0
        await t.advance(599.0 + CALM_SECONDS - 2)
        assert (await said()).borne == 1.0
        await t.advance(3.0)
        assert (await said()).borne == 2.0
