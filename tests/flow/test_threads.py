"""``def`` handlers run in threads: they stop nobody, and nobody can stop them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Awaitable

import pytest

from leveler import Context
from leveler.events import HandlerStuck
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage, until


def running(t: TestApp) -> int:
    return t.app.health().consumers[QUEUE].running


async def test_a_def_handler_runs_in_a_thread_of_its_own(stage: Stage) -> None:
    names: list[str] = []

    def handle(order: str) -> None:
        names.append(threading.current_thread().name)

    async with stage.run(stage.app(handle)) as t:
        await t.send_many(QUEUE, ["x"] * 5)
        await t.drain()
        assert len(names) == 5
        assert all(name.startswith("leveler-orders-") for name in names)
        assert len(t.completed) == 5


async def test_the_context_variables_of_the_loop_are_there(stage: Stage) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    def handle(order: str) -> None:
        seen.append(variable.get())
        variable.set("by the handler")

    variable.set("by the app")
    async with stage.run(stage.app(handle, concurrency=1)) as t:
        await t.send_many(QUEUE, ["x", "y"])
        await t.drain()
        assert seen == ["by the app", "by the app"]


async def test_a_blocking_handler_keeps_its_lease(stage: Stage) -> None:
    stage.need(stage.can().extend, "extend")
    go_on = threading.Event()

    def handle(order: str) -> None:
        go_on.wait(10)

    async with stage.run(stage.app(handle, timeout_seconds=200.0)) as t:
        await t.send(QUEUE, "x")
        await t.advance(100)
        assert (running(t), t.lost) == (1, [])
        go_on.set()
        await t.drain()
        assert [event.attempt for event in t.completed] == [1]


async def test_a_def_handler_past_its_timeout_is_told_and_reported_and_its_slot_stays_taken(stage: Stage) -> None:
    go_on, told = threading.Event(), threading.Event()
    at_once: list[int] = []

    def handle(order: str, ctx: Context) -> str:
        at_once.append(running(t))
        if order == "stuck":
            while not go_on.is_set():
                if ctx.cancelled:
                    told.set()
                go_on.wait(0.001)
        return "done all the same"

    async with stage.run(stage.app(handle, attempts=1, concurrency=1)) as t:
        try:
            await t.send(QUEUE, "stuck")
            await t.advance(1)
            await t.send(QUEUE, "next")
            await t.advance(18)
            assert not told.is_set()
            await t.advance(2)
            assert told.wait(10)
            [event] = [event for event in t.events if isinstance(event, HandlerStuck)]
            assert event.run_seconds == pytest.approx(20, abs=1.1)
            await t.advance(300)
            assert len(t.started) == 1  # the only slot is taken as long as the thread runs
        finally:
            go_on.set()
        await until(lambda: running(t) == 0)
        await t.drain()
        assert sum(isinstance(event, HandlerStuck) for event in t.events) == 1
        assert len(t.lost) == 1  # its lease was not kept any longer
        assert max(at_once) == 1
        assert "next" in {event.message.body.decode() for event in t.completed}


async def test_a_def_handler_that_ends_within_its_last_lease_counts_as_failed(stage: Stage) -> None:
    go_on = threading.Event()

    def handle(order: str) -> None:
        go_on.wait(10)

    async with stage.run(stage.app(handle, attempts=1)) as t:
        await t.send(QUEUE, "x")
        await t.advance(21)
        go_on.set()
        await until(lambda: running(t) == 0)
        await t.drain()
        assert [event.death.error_type for event in t.dead] == ["TimeoutError"]


@pytest.mark.parametrize("concurrency", [1, 4, 16])
async def test_as_many_threads_run_at_once_as_the_concurrency_and_never_more(stage: Stage, concurrency: int) -> None:
    together = threading.Barrier(concurrency, timeout=10)
    lock = threading.Lock()
    now = most = 0

    def handle(order: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1

    async with stage.run(stage.app(handle, concurrency=concurrency)) as t:
        await t.send_many(QUEUE, range(4 * concurrency))
        await t.drain()
        assert len(t.completed) == 4 * concurrency
        assert most == concurrency


async def test_the_threads_are_gone_after_the_stop(stage: Stage) -> None:
    seen: set[threading.Thread] = set()

    def handle(order: int) -> None:
        seen.add(threading.current_thread())

    async with stage.run(stage.app(handle)) as t:
        await t.send_many(QUEUE, range(10))
        await t.drain()
        assert seen
        assert all(thread.is_alive() for thread in seen)
    await until(lambda: not any(thread.is_alive() for thread in seen))


async def test_a_def_function_that_hides_an_async_one_is_awaited(stage: Stage) -> None:
    done: list[str] = []

    async def inner(order: str) -> None:
        await asyncio.sleep(0)
        done.append(order)

    def bare(order: str) -> Awaitable[None]:
        return inner(order)

    @functools.wraps(inner)
    def wrapped(order: str) -> Awaitable[None]:
        return inner(order)

    def blocking(order: str) -> None:
        done.append(order)

    @functools.wraps(blocking)
    async def outer(order: str) -> None:
        blocking(order)

    for handler in (bare, wrapped, outer, functools.partial(inner), functools.partial(blocking)):
        done.clear()
        async with stage.run(stage.app(handler)) as t:
            await t.send(QUEUE, "x")
            await t.drain()
            assert done == ["x"], handler
            assert len(t.completed) == 1


async def test_a_callable_object_is_a_handler_too(stage: Stage) -> None:
    class Counter:
        seen = 0

        async def __call__(self, order: str, ctx: Context) -> None:
            self.seen += 1

    class BlockingCounter:
        seen = 0

        def __call__(self, order: str) -> None:
            self.seen += 1

    for counter in (Counter(), BlockingCounter()):
        async with stage.run(stage.app(counter)) as t:
            await t.send(QUEUE, "x")
            await t.drain()
            assert counter.seen == 1


async def test_a_stop_does_not_wait_for_a_thread_that_never_ends(stage: Stage) -> None:
    go_on = threading.Event()

    def handle(order: str) -> None:
        go_on.wait(20)

    try:
        async with stage.run(stage.app(handle)) as t:
            await t.send(QUEUE, "x")
            await t.advance(1)
            began = t.clock.monotonic()
            left = await t.stop(drain_seconds=5.0)
            assert left == 1
            assert 5 <= t.clock.monotonic() - began <= 8
    finally:
        go_on.set()


async def test_threads_cannot_keep_the_process_from_ending(stage: Stage) -> None:
    seen: list[bool] = []

    def handle(order: str) -> None:
        seen.append(threading.current_thread().daemon)

    async with stage.run(stage.app(handle)) as t:
        await t.send(QUEUE, "x")
        await t.drain()
        assert seen == [True]
