"""``leveler run --processes``: real workers under a real supervisor. They are killed, orphaned, told to stop, and their
number follows the backlog. What happened stands in a ledger of the handlers and in the lines that all of them write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leveler import Leveler, Processes
from leveler.cli.processes import Words, recipe
from leveler.supervisor.scaling import ScalingPolicy
from leveler.supervisor.supervisor import Supervisor
from tests.containers.port import free_ports

#: A message that says "wait" is done when there is a file ``go``.
WORKER = """
import asyncio
import os
from pathlib import Path

from leveler import Context, Leveler

app = Leveler()
ledger = open("ledger", "a", buffering=1)

@app.consumer("orders", concurrency=1)
async def handle(order: dict[str, str], ctx: Context) -> None:
    ledger.write(f"started {os.getpid()} {order['id']} {ctx.attempt}\\n")
    print("handles", order["id"], "in two\\nlines")
    while order.get("do") == "wait" and not Path("go").exists():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    ledger.write(f"completed {os.getpid()} {order['id']} {ctx.attempt}\\n")
"""

#: For whom a minute is a moment: the figures of the last second count, and a downstream is believed at once.
QUICK = """
from leveler.monitor import lately, useful
useful.CALM_SECONDS = 0.0
lately._SPAN_SECONDS, lately._APART_SECONDS = 1.0, 0.1
"""

SETTINGS = "broker: sqlite:///orders.db\nqueues: {orders: {lease: 2s}}\n"

#: In which a story that hangs has failed.
_PATIENCE_SECONDS = 120.0


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("LEVELER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("leveler.yaml").write_text(SETTINGS)
    Path("worker.py").write_text(WORKER)


def until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def send(*ids: str, do: str = "pass") -> None:
    async def story() -> None:
        async with Leveler() as app:
            await app.send_many("orders", [{"id": id, "do": do} for id in ids])

    asyncio.run(story())


def ledger(what: str) -> list[tuple[int, str, int]]:
    """Process, message and attempt."""
    lines = Path("ledger").read_text().splitlines() if Path("ledger").exists() else []
    words = [line.split() for line in lines]
    return [(int(pid), id, int(attempt)) for word, pid, id, attempt in words if word == what]


class Run:
    """A supervisor, and all that it and its workers have written so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def said(self, pattern: str) -> list[str]:
        """What the pattern's group found in each line, in order."""
        return [match[1] for line in self.lines if (match := re.search(pattern, line))]

    def until_said(self, pattern: str, times: int = 1) -> list[str]:
        until(lambda: len(self.said(pattern)) >= times or not self._reading.is_alive())
        found = self.said(pattern)
        assert len(found) >= times, f"{pattern} was not said: {self.lines}"
        return found

    def pids(self) -> list[int]:
        """Of the workers, as they were started."""
        return [int(pid) for pid in self.said(r"leveler: worker \d+: process (\d+)$")]

    def end(self) -> int:
        """Its exit code, when all who write here have ended."""
        code = self.process.wait(_PATIENCE_SECONDS)
        self.close()
        assert not self._reading.is_alive(), "somebody is left"
        return code

    def close(self) -> None:
        self._reading.join(_PATIENCE_SECONDS)


@contextmanager
def running(*words: str) -> Iterator[Run]:
    command = [sys.executable, "-m", "leveler", "run", "worker", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        run = Run(process)
        try:
            yield run
        finally:
            Path("go").touch()
            process.kill()  # and its workers end by themselves
            run.close()


def status(port: int, path: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return int(answer.status)


# ---- what they do together


def test_two_share_a_queue_and_one_that_is_killed_is_replaced_and_loses_nothing() -> None:
    port = free_ports()
    with running("--processes", "2", "--listen", str(port)) as run:
        run.until_said("^(ready)$")
        assert (status(port, "/readyz"), status(port + 1, "/readyz")) == (200, 200)
        first = run.pids()
        send(*(f"before-{n}" for n in range(100)))
        until(lambda: {pid for pid, _, _ in ledger("completed")} == {*first})

        os.kill(first[1], signal.SIGKILL)
        run.until_said(r"worker (2) was killed by SIGKILL; it is started again in 0.5 s$")
        [_, _, replacement] = run.until_said(r"leveler: worker \d: process (\d+)$", 3)
        sent = 100
        while int(replacement) not in {pid for pid, _, _ in ledger("completed")}:
            send(f"after-{sent}")
            sent += 1

        until(lambda: len({id for _, id, _ in ledger("completed")}) == sent)
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 0

    runs = [id for _, id, _ in ledger("completed")]
    assert len(runs) - len({*runs}) <= 1  # its completion may not have reached the broker
    assert {pid for pid, _, _ in ledger("completed")} == {*first, int(replacement)}
    assert run.lines.count("ready") == 1
    # Whose a line is can be seen, whoever of the worker wrote it.
    ours = r"\[[12]\] |orders: sqlite|ready$|\S+ \S+ (INFO|WARNING) +leveler: (worker|stopping)"
    assert [line for line in run.lines if not re.match(ours, line)] == []
    assert {line for line in run.lines if "lines" in line} == {"[1] lines", "[2] lines"}
    assert run.said(r"^(\[\d\]) orders: \d+ completed, 0 retried, 0 dead-lettered, 0 given back, 0 left leased$") in (
        ["[1]", "[2]"],
        ["[2]", "[1]"],
    )


def both_wait(run: Run) -> None:
    run.until_said("^(ready)$")
    send("one", "two", do="wait")
    until(lambda: len({pid for pid, _, _ in ledger("started")}) == 2)


def test_what_a_terminal_or_a_process_manager_says_to_all_of_them_counts_once() -> None:
    """Counted twice it would cut what runs."""
    port = free_ports()
    with running("--processes", "2", "--listen", str(port)) as run:
        both_wait(run)
        os.killpg(run.process.pid, signal.SIGINT)  # Ctrl-C: the whole group
        run.until_said(r"(\[\d\]) .*stopping: 1 running", 2)
        for number, pid in enumerate(run.pids()):  # systemd: each process
            os.kill(pid, signal.SIGTERM)
            assert status(port + number, "/livez") == 200  # and it has come round since
        Path("go").touch()
        assert run.end() == 0
    assert len(run.said(r"^(\[\d\]) orders: 1 completed, 0 retried")) == 2
    assert run.said("(a second signal): ") == []


def test_a_second_signal_is_passed_on_and_who_was_killed_shows_in_the_exit_code() -> None:
    with running("--processes", "2") as run:
        both_wait(run)
        run.process.send_signal(signal.SIGTERM)
        run.until_said(r"(\[\d\]) .*stopping: 1 running", 2)
        os.kill(run.pids()[0], signal.SIGKILL)
        run.until_said("worker 1 (was killed by SIGKILL)$")
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 1
    assert run.said(r"^(\[2\]) .*a second signal: everything goes back at once$") == ["[2]"]
    assert run.said(r"^(\[2\]) orders: 0 completed") == ["[2]"]
    assert ledger("completed") == []


def test_workers_whose_supervisor_is_killed_finish_what_runs_and_end() -> None:
    with running("--processes", "2") as run:
        both_wait(run)
        run.process.kill()
        run.until_said(r"(\[\d\]) .*the supervisor is gone", 2)
        run.until_said(r"(\[\d\]) .*stopping: 1 running", 2)
        Path("go").touch()
        assert run.end() == -signal.SIGKILL
    assert len(run.said(r"^(\[\d\]) orders: 1 completed, 0 retried, .* 0 given back, 0 left leased$")) == 2


def test_what_a_worker_refuses_is_said_once_and_ends_it_with_2() -> None:
    """The supervisor has looked at all that it can; what the app refuses when it starts is the first worker's."""
    lifespan = """
from contextlib import asynccontextmanager
from leveler import ConfigError

@asynccontextmanager
async def refuse(app):
    raise ConfigError("no database: set SHOP_DATABASE")
    yield
"""
    Path("worker.py").write_text(lifespan + WORKER.replace("Leveler()", "Leveler(lifespan=refuse)"))
    with running("--processes", "4") as run:
        assert run.end() == 2
    assert run.said("(no database: set SHOP_DATABASE)") == ["no database: set SHOP_DATABASE"]
    assert len(run.pids()) == 1


# ---- how many


def test_a_backlog_brings_workers_and_its_end_sends_them_home_with_nothing_lost_or_counted(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    Path("worker.py").write_text(QUICK + WORKER)
    Path("leveler.yaml").write_text(f"{SETTINGS}processes: 1-3\nconsumers: {{orders: {{target_wait: 1s}}}}\n")
    caplog.set_level(logging.INFO, "leveler")
    policy = ScalingPolicy(look_seconds=0.2, rise_seconds=0.0, fall_seconds=1.0)
    made = recipe(Leveler().settings(), Words("worker", [], None, None, "info", str(tmp_path)), os.environ)
    sent: list[str] = []

    async def put(app: Leveler, count: int) -> None:
        ids = [str(len(sent) + n) for n in range(count)]
        await app.send_many("orders", [{"id": id, "do": "pass"} for id in ids])
        sent.extend(ids)

    async def story() -> None:
        ready = asyncio.Event()
        supervisor = Supervisor(Processes(min=1, max=3), made, on_ready=ready.set, scaling=policy)
        running = asyncio.create_task(supervisor.run())
        async with Leveler() as app:
            await ready.wait()
            while len({pid for pid, _, _ in ledger("completed")}) < 3:
                await put(app, 100)
                await asyncio.sleep(0.2)
            while "worker 2 has ended" not in caplog.messages:
                await put(app, 1)
                await asyncio.sleep(0.1)
            await asyncio.to_thread(until, lambda: len(ledger("completed")) == len(sent))
        supervisor.stop()
        assert await running == 0

    asyncio.run(asyncio.wait_for(story(), _PATIENCE_SECONDS))

    assert sorted(ledger("completed"), key=lambda one: int(one[1])) == sorted(
        ledger("started"), key=lambda one: int(one[1])
    )
    assert sorted(int(id) for _, id, _ in ledger("completed")) == [*range(len(sent))]
    assert {attempt for _, _, attempt in ledger("started")} == {1}
    steps = [message for message in caplog.messages if "instead of" in message]
    assert re.fullmatch(r"[23] workers instead of 1: useful are \d+ for orders", steps[0])
    assert re.fullmatch(r"1 worker instead of [23]: useful are [01] for orders for 1 s", steps[-1])
    assert "worker 1 has ended" in caplog.messages
    assert made.token is not None
    assert not any(made.token in message for message in caplog.messages)
