"""Several processes on one file: nothing is held twice, and one that is killed loses nothing but its time.

Run as a script, this file is such a process.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions

from leveler.adapter import Abandon, Delivery, QueueSpec
from leveler.clock import SystemClock
from leveler.message import Message
from leveler.testing.contract import UrlTarget, run

QUEUE = QueueSpec(name="orders", lease_seconds=2.0)


@asynccontextmanager
async def opened(path: str | Path) -> AsyncIterator[SQLiteAdapter]:
    url = f"sqlite:///{path}"
    async with SQLiteAdapter(url, SQLiteOptions(), clock=SystemClock(), deadline_seconds=20.0) as adapter:
        await adapter.declare(QUEUE)
        yield adapter


# -- what a process does


async def hold(path: str) -> None:
    """Take what there is, say so, and never settle it."""
    async with opened(path) as adapter:
        for delivery in await adapter.receiver(QUEUE, capacity=1000).receive(1000, 5.0):
            print(delivery.message.id, flush=True)
        await asyncio.sleep(3600)


async def send(path: str) -> None:
    """Send for ever, several at once; say which were accepted."""
    async with opened(path) as adapter:
        sender, numbers = adapter.sender(QUEUE), itertools.count()

        async def one_after_another() -> None:
            while True:
                message = Message(id=f"m-{next(numbers)}", body=b"x" * 500, time=SystemClock().now())
                await sender.send([message])
                print(message.id, flush=True)

        await asyncio.gather(*(one_after_another() for _ in range(4)))


async def drain(path: str) -> None:
    """Complete whatever comes, until nothing has come for a while; say what it was."""
    async with opened(path) as adapter:
        receiver = adapter.receiver(replace(QUEUE, lease_seconds=60.0), capacity=100)
        while deliveries := await receiver.receive(7, 1.5):
            for delivery in deliveries:
                print(delivery.message.id, delivery.attempt, flush=True)
            await receiver.complete(deliveries)


# -- the tests


@contextmanager
def process(what: str, path: Path, *, output: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """One more process; killed without mercy in the end, if it still runs."""
    command = [sys.executable, __file__, what, str(path)]
    with subprocess.Popen(command, stdout=output, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def lines(running: subprocess.Popen[str], count: int) -> list[str]:
    assert running.stdout is not None
    return [running.stdout.readline().strip() for _ in range(count)]


def the_rest(running: subprocess.Popen[str]) -> list[str]:
    """What it still said, but for a last line that it did not finish."""
    assert running.stdout is not None
    return [line.strip() for line in running.stdout.read().splitlines(keepends=True) if line.endswith("\n")]


async def fill(path: Path, count: int) -> None:
    async with opened(path) as adapter:
        now = SystemClock().now()
        batch = [Message(id=f"m-{number}", body=b"x" * 500, time=now) for number in range(count)]
        await adapter.sender(QUEUE).send(batch)


async def everything(path: Path, within: float) -> Sequence[Delivery]:
    async with opened(path) as adapter:
        receiver, came = adapter.receiver(QUEUE, capacity=100_000), list[Delivery]()
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            came += await receiver.receive(1000, left)
        return came


def test_two_processes_share_a_queue_and_hold_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "queues.db"
    asyncio.run(fill(path, 1000))
    with process("drain", path) as first, process("drain", path) as second, process("send", path) as sender:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(the_rest(sender)))  # or its pipe fills, and it stands
        reader.start()
        both = [lines(one, 1) for one in (first, second)]  # however late one of them starts
        sender.kill()
        reader.join()
        sent = said
        shares = [
            [line.split() for line in [*begun, *the_rest(one)]]
            for begun, one in zip(both, (first, second), strict=True)
        ]
    came = Counter(number for share in shares for number, _ in share)
    # The sender counts from 0 again, so its first messages have ids that were there before.
    expected = Counter([*(f"m-{number}" for number in range(1000)), *sent])
    assert expected - came == Counter()
    assert (came - expected).total() <= 4, "what was accepted just before the kill may not have been said"
    assert {attempt for share in shares for _, attempt in share} == {"1"}


def test_what_a_killed_process_held_comes_again_as_the_second_attempt(tmp_path: Path) -> None:
    path = tmp_path / "queues.db"
    asyncio.run(fill(path, 20))
    with process("hold", path) as killed:
        held = lines(killed, 20)
        killed.kill()
        killed.wait()
        again = asyncio.run(everything(path, 3.0))
    assert sorted(one.message.id for one in again) == sorted(held)
    assert {one.attempt for one in again} == {2}


def test_what_was_accepted_survives_the_kill_of_its_sender(tmp_path: Path) -> None:
    path = tmp_path / "queues.db"
    accepted: Counter[str] = Counter()
    for _ in range(3):
        with process("send", path) as sender:
            accepted.update(lines(sender, 100))
            sender.kill()
            accepted.update(the_rest(sender))
    found = Counter(one.message.id for one in asyncio.run(everything(path, 0.5)))
    assert accepted - found == Counter()
    assert (found - accepted).total() <= 3 * 4


def test_a_receiver_that_waits_sees_what_others_send_within_50_ms(tmp_path: Path) -> None:
    async def story() -> list[float]:
        path, waits = tmp_path / "queues.db", list[float]()
        async with opened(path) as here, opened(path) as there:
            receiver = here.receiver(QUEUE, capacity=10)
            for _ in range(15):
                waiting = asyncio.ensure_future(receiver.receive(1, 5.0))
                await asyncio.sleep(0.06)
                await there.sender(QUEUE).send([Message(id="m", body=b"", time=SystemClock().now())])
                started = time.monotonic()
                await receiver.complete(await waiting)
                waits.append(time.monotonic() - started)
        return sorted(waits)

    waits = asyncio.run(story())
    assert waits[len(waits) // 2] < 0.05


@pytest.mark.parametrize("topic", ["flow", "ordering"])
def test_the_contract_holds_beside_a_busy_process(tmp_path: Path, topic: str) -> None:
    path = tmp_path / "queues.db"
    with process("send", path, output=subprocess.DEVNULL) as busy:
        before = asyncio.run(depth_once_sent_to(path))
        target = UrlTarget(f"sqlite:///{path}", lease_seconds=3.0)
        report = asyncio.run(run(target, only=f"{topic}-", jobs=4))
        assert busy.poll() is None
    assert [f"{result.case}: {result.why}" for result in report.results if result.verdict == "failed"] == []
    assert report.ok
    assert asyncio.run(depth_of(path)) > before + 20, "it was not that busy"


async def depth_once_sent_to(path: Path) -> int:
    """As soon as there is any."""
    async with opened(path) as adapter:
        receiver = adapter.receiver(replace(QUEUE, lease_seconds=60.0), capacity=1)
        [first] = await receiver.receive(1, 30.0)
        await receiver.abandon([Abandon(first, counted=False)])
        return (await adapter.depth(QUEUE)).ready or 0


async def depth_of(path: Path) -> int:
    async with opened(path) as adapter:
        return (await adapter.depth(QUEUE)).ready or 0


if __name__ == "__main__":
    asyncio.run({"hold": hold, "send": send, "drain": drain}[sys.argv[1]](sys.argv[2]))
