"""Sending from code without an event loop: from threads, after a fork, and not after the end."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from leveler import Leveler
from leveler.blocking import Blocking
from leveler.errors import InvalidMessage, LevelerError, NotStarted, SendUnknown

QUEUE = "orders"


@pytest.fixture
def app(tmp_path: Path) -> Leveler:
    """On a broker that several processes share."""
    return Leveler(f"sqlite:///{tmp_path}/queues.db")


async def ready(app: Leveler) -> int | None:
    async with app:
        return (await app.depth(QUEUE)).ready


def in_a_child(work: Callable[[], object]) -> int:
    """The exit code of a forked process that does `work`: 0 if it ends well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what is tested
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_several_threads_send_through_one_loop(app: Leveler) -> None:
    ids: list[str] = []

    def send(out: Blocking, thread: int) -> None:
        ids.extend(out.send(QUEUE, [thread, number]).id for number in range(10))

    with app.blocking() as out:
        threads = [threading.Thread(target=send, args=(out, thread)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(out.send_many(QUEUE, range(5))) == 5
    assert len(set(ids)) == 40
    assert asyncio.run(ready(app)) == 45


def test_a_forked_child_sends_over_connections_of_its_own_and_so_does_its_parent(app: Leveler) -> None:
    with app.blocking() as out:
        out.send(QUEUE, "before")
        assert in_a_child(lambda: out.send(QUEUE, "from the child")) == 0
        out.send(QUEUE, "after")
    assert asyncio.run(ready(app)) == 3


def test_a_child_that_closes_leaves_its_parent_open(app: Leveler) -> None:
    def work() -> None:
        out.send(QUEUE, "from the child")
        out.close()
        with pytest.raises(NotStarted):
            out.send(QUEUE, "too late")

    with app.blocking() as out:
        out.send(QUEUE, "before")
        assert in_a_child(work) == 0
        out.send(QUEUE, "after")
    assert asyncio.run(ready(app)) == 3


def test_nothing_is_sent_before_the_start_or_after_the_end(app: Leveler) -> None:
    out = app.blocking()
    with pytest.raises(NotStarted, match=r"with app\.blocking\(\)"):
        out.send(QUEUE, "too early")
    with out:
        out.send(QUEUE, "in time")
    with pytest.raises(NotStarted):
        out.send(QUEUE, "too late")
    with pytest.raises(NotStarted):
        out.send_many(QUEUE, ["too late"])
    out.close()
    assert asyncio.run(ready(app)) == 1


def test_a_thread_that_sends_while_another_closes_ends(app: Leveler) -> None:
    sending = threading.Event()
    ends: list[BaseException] = []
    sent: list[str] = []

    def send(out: Blocking) -> None:
        try:
            while True:
                sent.append(out.send(QUEUE, 1).id)
                sending.set()
        except BaseException as error:
            ends.append(error)

    with app.blocking() as out:
        thread = threading.Thread(target=send, args=(out,))
        thread.start()
        assert sending.wait(10)
    thread.join(10)
    assert not thread.is_alive()
    [end] = ends
    assert isinstance(end, NotStarted | SendUnknown)  # it came too late, or nobody heard the answer
    waiting = asyncio.run(ready(app))
    assert waiting is not None
    assert len(sent) <= waiting <= len(sent) + 1  # of the last one nobody was told


def test_what_send_refuses_is_raised_here_and_changes_nothing(app: Leveler) -> None:
    with app.blocking() as out:
        with pytest.raises(InvalidMessage):
            out.send("no legal name!", 1)
        out.send(QUEUE, 1)
    assert asyncio.run(ready(app)) == 1


def test_a_broker_that_is_not_there_is_said_at_the_start() -> None:
    with pytest.raises(LevelerError), Leveler().blocking():
        raise AssertionError("never started")
