"""Series: quick handlers follow each other at once, and nobody waits behind one that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leveler.adapter import Delivery, Receiver
from leveler.consumer.handler import Handler, Runner, forget_cancellations
from leveler.consumer.held import RUNNING, STOPPED, Held
from leveler.consumer.series import SLICE_SECONDS, Series, Stride
from leveler.message import Message
from leveler.testing import VirtualClock


async def nothing(value: object) -> None: ...


RUNNER: Runner = Handler(nothing).bind((), cast(Any, None), "orders", None)


def worker() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())


class SteppingClock(VirtualClock):
    """Time passes while code runs."""

    def monotonic(self) -> float:
        return self.passed

    passed = 100.0


class Bench:
    """A worker with a batch, and what its series told."""

    def __init__(self, count: int) -> None:
        self.clock = SteppingClock()
        self.stride = Stride()
        #: What was left to others, when the series broke off.
        self.left: list[str] = []
        #: How many runs the limits have heard of, and how long each took.
        self.ran: list[tuple[int, float]] = []
        self.all = [self._held(f"{number}") for number in range(count)]

    async def carry(self, *steps: Step) -> list[str]:
        """Carry the batch; each step runs one of it."""
        self.batch = list(self.all)
        self.series = Series(self.batch, self.clock, self.stride, on_break=self._on_break, on_ran=self._on_ran)
        carried = []
        for held in self.series:
            carried.append(held.delivery.message.id)
            held.state = RUNNING
            self.series.run_ended(held, await steps[len(carried) - 1](self))
        return carried

    def _held(self, name: str) -> Held:
        message = Message(id=name, body=b"", time=datetime(2030, 1, 1, tzinfo=UTC))
        held = Held(Delivery(message, 1, 30.0, None), cast(Receiver, None))
        held.handler, held.value = RUNNER, name
        return held

    def _on_break(self, rest: Sequence[Held]) -> None:
        assert self.left == []
        self.left = [held.delivery.message.id for held in rest]

    def _on_ran(self, runs: int, seconds: float) -> None:
        self.ran.append((runs, round(seconds, 6)))


#: What one run does; whether it completes its message.
Step = Callable[[Bench], Coroutine[Any, Any, bool]]


def run(count: int, story: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(Bench(count)), 10))


async def quick(bench: Bench) -> bool:
    bench.clock.passed += 0.001
    return True


async def long(bench: Bench) -> bool:
    bench.clock.passed += SLICE_SECONDS
    return True


async def failing(bench: Bench) -> bool:
    bench.clock.passed += 0.5
    return False


async def waiting(bench: Bench) -> bool:
    await asyncio.sleep(0)
    bench.clock.passed += 2
    return True


def test_quick_ones_follow_each_other_and_the_limits_hear_of_all_of_them_together() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.carry(quick, quick, quick) == ["0", "1", "2"]
        assert (bench.left, bench.ran) == ([], [(3, 0.001)])
        assert [round(held.run_seconds, 6) for held in bench.all] == [0.001] * 3
        assert [held.value for held in bench.all] == [None] * 3

    run(3, story)


def test_what_stands_behind_one_that_waits_is_left_to_others_at_once() -> None:
    async def story(bench: Bench) -> None:
        async def look(bench: Bench) -> bool:
            await asyncio.sleep(0)
            assert (bench.left, bench.ran) == (["2", "3"], [(1, 0.001)])
            assert (bench.all[1].state, bench.series.runs, bench.series.carries) == (RUNNING, True, True)
            assert bench.batch == [bench.all[1]]  # it may run for long, and keeps nothing else
            assert (bench.all[1].started_at, bench.all[1].task) == (100.001, worker())
            bench.clock.passed += 2
            return True

        assert await bench.carry(quick, look) == ["0", "1"]
        assert bench.ran == [(1, 0.001), (1, 2.0)]

    run(4, story)


def test_one_that_fails_breaks_off_before_its_end_is_judged() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.carry(quick, failing) == ["0", "1"]
        assert (bench.left, bench.ran) == (["2"], [(1, 0.001)])
        assert bench.all[1].run_seconds == 0.5

    run(3, story)


def test_nobody_keeps_the_loop_longer_than_a_slice() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.carry(quick, long) == ["0", "1"]
        assert bench.left == ["2", "3"]
        await asyncio.sleep(0)  # the turn that would have come had one waited
        assert (bench.all[1].started_at, bench.stride.length) == (None, 1)
        assert sum(runs for runs, _ in bench.ran) == 2

    run(4, story)


def test_the_stride_grows_while_handlers_do_not_wait_and_is_one_when_they_do() -> None:
    async def story(bench: Bench) -> None:
        for length in (2, 4, 8):
            bench.left = []
            await bench.carry(quick, quick)
            assert bench.stride.length == length
        bench.left = []
        await bench.carry(quick, waiting)
        assert bench.stride.length == 1

    run(2, story)


def test_the_stride_has_an_end() -> None:
    stride = Stride()
    for _ in range(100):
        stride.lengthen()
    assert 100 < stride.length < 1000


def test_one_that_was_cut_before_anybody_knew_that_it_waits_is_cancelled_all_the_same() -> None:
    async def story(bench: Bench) -> None:
        async def cut(bench: Bench) -> bool:
            bench.all[0].interrupt(STOPPED)  # before the loop's next turn, in which the series hears that it waits
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                return True
            return False

        assert await bench.carry(cut) == ["0"]

    run(1, story)


def test_a_cancellation_that_a_handler_leaves_behind_does_not_meet_the_next_one() -> None:
    async def story(bench: Bench) -> None:
        async def cancels_itself(bench: Bench) -> bool:
            worker().cancel()
            return True

        assert await bench.carry(quick, cancels_itself) == ["0", "1"]
        assert bench.left == ["2"]
        await forget_cancellations(worker())
        await asyncio.sleep(0)
        assert worker().cancelling() == 0

    run(3, story)


@given(st.integers(1, 40), st.lists(st.sampled_from([quick, long, failing, waiting]), min_size=40, max_size=40))
def test_each_one_is_carried_or_left_and_every_good_run_is_told(count: int, steps: list[Step]) -> None:
    async def story(bench: Bench) -> None:
        carried = await bench.carry(*steps)
        assert carried + bench.left == [held.delivery.message.id for held in bench.all]
        assert sum(runs for runs, _ in bench.ran) == sum(step is not failing for step in steps[: len(carried)])
        ended = sum(runs * seconds for runs, seconds in bench.ran)
        failed = sum(0.5 for step in steps[: len(carried)] if step is failing)
        assert ended + failed == pytest.approx(bench.clock.passed - 100, abs=1e-4)

    run(count, story)
