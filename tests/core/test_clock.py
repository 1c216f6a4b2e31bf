"""Virtual time stands still until it is told to move, and then everything happens in order."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from leveler.clock import Clock, SystemClock
from leveler.testing import VirtualClock
from leveler.testing.clock import quiet


def run(story: Callable[[VirtualClock], Coroutine[object, object, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(VirtualClock()), 10))


def test_both_times_stand_still_until_told() -> None:
    clock = VirtualClock()
    assert (clock.monotonic(), clock.now()) == (0.0, datetime(2030, 1, 1, tzinfo=UTC))
    assert (clock.monotonic(), clock.now()) == (0.0, datetime(2030, 1, 1, tzinfo=UTC))


def test_both_times_move_together() -> None:
    async def story(clock: VirtualClock) -> None:
        await clock.advance(90.5)
        assert clock.monotonic() == 90.5
        assert clock.now() == datetime(2030, 1, 1, 0, 1, 30, 500_000, tzinfo=UTC)

    run(story)


def test_it_starts_when_it_is_told_to() -> None:
    start = datetime(1999, 12, 31, tzinfo=UTC)
    assert VirtualClock(start).now() == start


def test_a_jump_moves_the_wall_clock_alone_and_fires_nothing() -> None:
    async def story(clock: VirtualClock) -> None:
        fired: list[float] = []
        clock.call_later(10, lambda: fired.append(clock.monotonic()))
        clock.jump(-3600)
        clock.jump(7200)
        await quiet()
        assert (clock.monotonic(), fired) == (0.0, [])
        assert clock.now() == datetime(2030, 1, 1, 1, tzinfo=UTC)
        await clock.advance(10)
        assert fired == [10.0]

    run(story)


def test_calls_are_made_at_their_time_and_in_order_whatever_order_they_were_made_in() -> None:
    async def story(clock: VirtualClock) -> None:
        calls: list[tuple[str, float]] = []

        def note(name: str) -> None:
            calls.append((name, clock.monotonic()))

        for name, delay in (("third", 3.0), ("first", 1.0), ("second", 2.0), ("also second", 2.0), ("late", 9.0)):
            clock.call_later(delay, partial(note, name))
        await clock.advance(5)
        assert calls == [("first", 1.0), ("second", 2.0), ("also second", 2.0), ("third", 3.0)]
        assert clock.next_due() == 4.0

    run(story)


def test_a_call_is_made_in_the_context_in_which_it_was_asked_for() -> None:
    async def story(clock: VirtualClock) -> None:
        name = contextvars.ContextVar("name", default="nobody")
        called: list[str] = []
        contextvars.copy_context().run(
            lambda: (name.set("first"), clock.call_later(1, lambda: called.append(name.get())))
        )
        clock.call_later(2, lambda: called.append(name.get()))
        await clock.advance(2)
        assert called == ["first", "nobody"]

    run(story)


def test_the_next_call_can_be_made_by_whoever_keeps_the_time() -> None:
    clock = VirtualClock()
    calls: list[float] = []
    for delay in (3.0, 1.0):
        clock.call_later(delay, lambda: calls.append(clock.monotonic()))
    clock.call_later(2, lambda: calls.append(-1.0)).cancel()
    assert [clock.fire_next(), clock.fire_next(), clock.fire_next()] == [True, True, False]
    assert calls == [1.0, 3.0]


def test_a_call_that_is_due_exactly_at_the_end_is_made() -> None:
    async def story(clock: VirtualClock) -> None:
        calls: list[float] = []
        for _ in range(10):
            clock.call_later(0.1, lambda: calls.append(clock.monotonic()))
            await clock.advance(0.1)
        assert len(calls) == 10

    run(story)


def test_a_cancelled_call_is_not_made_and_not_waited_for() -> None:
    async def story(clock: VirtualClock) -> None:
        calls: list[int] = []
        cancelled = clock.call_later(1, lambda: calls.append(1))
        clock.call_later(2, lambda: calls.append(2))
        cancelled.cancel()
        assert clock.next_due() == 2.0
        await clock.advance(2)
        cancelled.cancel()
        assert calls == [2]
        assert clock.next_due() is None

    run(story)


def test_a_call_may_set_off_others_within_the_same_advance() -> None:
    async def story(clock: VirtualClock) -> None:
        ticks: list[float] = []

        def tick() -> None:
            ticks.append(clock.monotonic())
            clock.call_later(1, tick)

        clock.call_later(1, tick)
        await clock.advance(3.5)
        assert ticks == [1.0, 2.0, 3.0]

    run(story)


def test_a_negative_delay_is_due_at_once_and_never_in_the_past() -> None:
    async def story(clock: VirtualClock) -> None:
        times: list[float] = []
        await clock.advance(5)
        clock.call_later(0, lambda: times.append(-1))
        clock.call_later(-3, lambda: times.append(clock.monotonic()))
        assert clock.next_due() == 0.0
        await clock.advance(0)
        assert times == [-1, 5.0]

    run(story)


def test_sleepers_wake_at_their_own_times() -> None:
    async def story(clock: VirtualClock) -> None:
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await clock.sleep(nap)
                woken.append((name, clock.monotonic()))

        tasks = [asyncio.create_task(sleeper("a", 1, 1, 1)), asyncio.create_task(sleeper("b", 1.5, 1.5))]
        await clock.advance(2)
        assert woken == [("a", 1.0), ("b", 1.5), ("a", 2.0)]
        await clock.advance(1)
        assert sorted(woken[3:]) == [("a", 3.0), ("b", 3.0)]
        await asyncio.gather(*tasks)

    run(story)


def test_a_task_that_was_made_just_before_the_advance_sleeps_from_its_start() -> None:
    async def story(clock: VirtualClock) -> None:
        task = asyncio.create_task(clock.sleep(5))
        await clock.advance(5)
        assert task.done()

    run(story)


def test_everything_that_a_call_sets_off_is_over_before_time_goes_on() -> None:
    async def story(clock: VirtualClock) -> None:
        seen: list[float] = []

        async def chain(links: int) -> None:
            for _ in range(links):
                await asyncio.sleep(0)
            seen.append(clock.monotonic())

        tasks: list[asyncio.Task[None]] = []
        clock.call_later(1, lambda: tasks.append(asyncio.create_task(chain(50))))
        clock.call_later(1.001, lambda: seen.append(-1))
        await clock.advance(10)
        assert seen == [1.0, -1]
        await asyncio.gather(*tasks)

    run(story)


def test_a_cancelled_sleeper_leaves_no_timer_behind() -> None:
    async def story(clock: VirtualClock) -> None:
        task = asyncio.create_task(clock.sleep(60))
        await quiet()
        assert clock.next_due() == 60.0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert clock.next_due() is None

    run(story)


def test_quiet_waits_for_all_that_can_go_on_and_for_nothing_else() -> None:
    async def story(clock: VirtualClock) -> None:
        steps: list[int] = []
        forever = asyncio.Event()

        async def work() -> None:
            for step in range(100):
                await asyncio.sleep(0)
                steps.append(step)
            await forever.wait()

        task = asyncio.create_task(work())
        await quiet()
        assert len(steps) == 100
        assert not task.done()
        task.cancel()

    run(story)


@pytest.mark.parametrize("make", [VirtualClock, SystemClock])
def test_both_clocks_keep_the_protocol(make: Callable[[], Clock]) -> None:
    async def story() -> None:
        clock = make()
        assert clock.now().utcoffset() == timedelta(0)
        before = clock.monotonic()
        called = asyncio.Event()
        timer = clock.call_later(0.001, called.set)
        cancelled = clock.call_later(0.0005, lambda: pytest.fail("it was cancelled"))
        cancelled.cancel()
        await asyncio.wait_for(_both(clock, called.wait()), 5)
        timer.cancel()
        assert clock.monotonic() > before

    asyncio.run(story())


async def _both(clock: Clock, waiting: Awaitable[object]) -> None:
    if isinstance(clock, VirtualClock):
        await clock.advance(1)
    await waiting
