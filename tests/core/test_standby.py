"""Standing by: what is done when limits shut, and when they open again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from leveler.consumer.limits import Breaker, BreakerPolicy, FixedConcurrency, Gate, Limits, Refusal, Verdict
from leveler.consumer.limits.gate import SHORT_PAUSE_SECONDS
from leveler.consumer.standby import Standby
from leveler.testing import VirtualClock


def run(story: Callable[[VirtualClock], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(VirtualClock()), 10))


class Bench:
    """A consumer that notes what it is told, at a gate with a breaker."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.breaker = Breaker(BreakerPolicy(min_runs=5), random.Random(0))
        self.gate = Gate("bank", [self.breaker, FixedConcurrency(8)], clock)
        self.limits = Limits([self.gate], {"bank": self.gate})
        self.told: list[str] = []
        self.turns: list[tuple[float, bool]] = []
        self.flow = asyncio.Event()
        self.flow.set()
        self._tasks: list[asyncio.Task[None]] = []
        self.standby = Standby(
            clock,
            self.limits,
            pause=lambda: self.told.append("pause"),
            resume=lambda: self.told.append("resume"),
            stop=self._stop,
            give_back=lambda: self.told.append("give back"),
            start=lambda work: self._tasks.append(asyncio.create_task(work)),
            on_turned=lambda seconds, probing: self.turns.append((seconds, probing)),
        )
        self.limits.listen(lambda: None, self.standby.look)

    async def _stop(self) -> None:
        self.told.append("stop")
        await self.flow.wait()

    async def fail(self, runs: int) -> None:
        assert self.gate.try_start(runs)
        for _ in range(runs):
            self.limits.release(1, 0.0, Verdict.FAILURE)
        await self.clock.advance(0)

    def take(self) -> list[str]:
        told, self.told = self.told, []
        return told


def test_a_breaker_that_opens_stops_the_flow_and_sends_back_what_came_meanwhile_too() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        await bench.fail(5)
        assert bench.take() == ["pause", "give back", "stop", "give back"]
        assert bench.standby.stands

    run(story)


def test_a_probe_is_let_in_alone_and_decides() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        await bench.fail(5)
        bench.take()
        await clock.advance(1.0)
        assert bench.take() == ["resume"]
        assert bench.turns[-1] == (0.0, True)
        assert bench.limits.credit(0.1) == 1
        assert bench.gate.try_start(1)
        await clock.advance(0)
        assert bench.take() == ["pause", "give back", "stop", "give back"]
        assert bench.limits.credit(0.1) == 0
        bench.limits.release(1, 0.0, Verdict.SUCCESS)
        assert bench.take() == ["resume"]
        assert bench.turns[-1] == (0.0, False)
        assert bench.limits.credit(0.1) == 8

    run(story)


def test_a_probe_that_does_not_start_after_all_leaves_the_place_to_another() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        await bench.fail(5)
        await clock.advance(1.0)
        assert bench.gate.try_start(1)
        bench.take()
        bench.limits.take_back(1)
        await clock.advance(0)
        assert not bench.standby.stands
        assert bench.limits.credit(0.1) == 1

    run(story)


def test_what_has_gone_on_meanwhile_is_not_sent_back() -> None:
    """The flow takes long to stop, and by then the downstream is back."""

    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.flow.clear()
        await bench.fail(5)
        await clock.advance(1.0)
        assert bench.take() == ["pause", "give back", "stop", "resume"]
        bench.flow.set()
        await clock.advance(0)
        assert bench.take() == []

    run(story)


def test_a_long_pause_is_stood_by_and_a_short_one_waited_for() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        bench.limits.pause(SHORT_PAUSE_SECONDS, None)
        assert bench.take() == []
        bench.limits.pause(30.0, None)
        await clock.advance(28.9)
        assert bench.take() == ["pause", "give back", "stop", "give back"]
        await clock.advance(0.2)
        assert bench.take() == ["resume"]  # so that all are ready when it ends
        assert bench.limits.wait() > 0.5

    run(story)


def test_a_refusal_is_told_to_the_downstream_that_is_named_and_to_nobody_else() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        mail = Gate("mail", [Breaker(BreakerPolicy(min_runs=2), random.Random(0))], clock)
        limits = Limits([bench.gate], {"bank": bench.gate, "mail": mail})
        for _ in range(20):
            assert limits.try_acquire(1)
            limits.release(1, 0.1, Verdict.OVERLOAD, Refusal("mail", 5.0))
        assert bench.gate.down_seconds() is None
        assert bench.gate.wait() == 0.0
        assert mail.down_seconds() is not None
        assert mail.wait() == 5.0

    run(story)


def test_a_downstream_that_nobody_knows_is_taken_for_the_nearest() -> None:
    async def story(clock: VirtualClock) -> None:
        bench = Bench(clock)
        assert bench.limits.try_acquire(1)
        bench.limits.release(1, 0.1, Verdict.OVERLOAD, Refusal("?", 5.0))
        assert bench.gate.wait() == 5.0

    run(story)
