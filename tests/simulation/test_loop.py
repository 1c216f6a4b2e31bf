"""The ground that the simulation stands on: what dies leaves nothing behind, what stands still goes on later."""

from __future__ import annotations

import asyncio

import pytest

from leveler.testing import VirtualClock
from tests.simulation.loop import Restless, Stalled, VirtualLoop
from tests.simulation.process import Process


class Ground:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.loop = VirtualLoop(self.clock)
        self.process = Process("one", self.loop, self.clock)
        self.seen: list[str] = []

    def see(self, what: str) -> None:
        self.seen.append(f"{what} at {self.clock.monotonic():g}")

    async def work(self) -> None:
        try:
            for _ in range(3):
                await asyncio.sleep(1)
                self.see("worked")
        finally:
            if self.process.alive:
                self.see("cleaned up")


def test_time_passes_by_itself_and_takes_none() -> None:
    ground = Ground()
    ground.loop.run(asyncio.wait_for(ground.work(), 86_400))
    assert ground.seen == ["worked at 1", "worked at 2", "worked at 3", "cleaned up at 3"]


def test_what_has_died_is_never_called_again_and_cleans_nothing_up() -> None:
    ground = Ground()

    async def story() -> None:
        ground.process.start(ground.work())
        ground.process.clock.call_later(2.5, lambda: ground.see("a timer"))
        await asyncio.sleep(1.5)
        ground.process.die()
        await asyncio.sleep(10)

    ground.loop.run(story())
    assert ground.seen == ["worked at 1"]
    assert ground.loop.unheard == []


def test_a_process_dies_at_the_very_step_that_was_chosen() -> None:
    for step, worked in ((1, 0), (2, 0), (3, 1), (5, 2)):
        ground = Ground()

        async def story(ground: Ground = ground) -> None:
            ground.process.start(ground.work())
            await asyncio.sleep(10)

        ground.process.at_step(step, ground.process.die)
        ground.loop.run(story())
        assert (ground.process.steps, len(ground.seen)) == (step, worked)


def test_what_stands_still_goes_on_with_what_it_has_missed() -> None:
    ground = Ground()

    async def story() -> None:
        ground.process.start(ground.work())
        ground.process.clock.call_later(2, lambda: ground.see("a timer"))
        await asyncio.sleep(1.5)
        ground.process.freeze(5)
        await asyncio.sleep(20)

    ground.loop.run(story())
    assert sorted(ground.seen) == sorted(
        ["worked at 1", "worked at 6.5", "a timer at 6.5", "worked at 7.5", "cleaned up at 7.5"]
    )


def test_a_timer_that_is_cancelled_while_its_process_stands_still_is_not_called() -> None:
    ground = Ground()

    async def story() -> None:
        timer = ground.process.clock.call_later(2, lambda: ground.see("a timer"))
        ground.process.freeze(5)
        await asyncio.sleep(3)
        timer.cancel()
        await asyncio.sleep(10)

    ground.loop.run(story())
    assert ground.seen == []


def test_a_run_in_which_nothing_can_happen_any_more_is_told_apart() -> None:
    ground = Ground()

    async def story() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled):
        ground.loop.run(story())


def test_a_run_that_never_comes_to_rest_is_told_apart() -> None:
    ground = Ground()

    async def story() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(Restless):
        ground.loop.run(story())
