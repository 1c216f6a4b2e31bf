"""Quarantine: what may end its process starts alone in it, and takes nobody along."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from leveler import ConsumerSettings, Context, Leveler, LimitSettings
from leveler.errors import BrokerUnavailable, ReceiverLost
from leveler.events import Quarantined
from leveler.testing import TestApp
from tests.flow.conftest import QUEUE, Stage
from tests.flow.process import crash, in_broker, leased, send_tried

OTHER = "refunds"


def two_consumers(stage: Stage, orders: Callable[..., Any], refunds: Callable[..., Any]) -> Leveler:
    limits = ConsumerSettings(limits=LimitSettings(concurrency=8))
    app = Leveler(
        queues={QUEUE: stage.queue(attempts=3), OTHER: stage.queue(attempts=3)},
        consumers={QUEUE: limits, OTHER: limits},
    )
    app.consumer(QUEUE)(orders)
    app.consumer(OTHER)(refunds)
    return app


async def test_a_suspect_starts_alone_and_its_neighbours_go_on_afterwards(stage: Stage) -> None:
    running: set[object] = set()
    beside: list[set[object]] = []

    async def handle(order: object) -> None:
        running.add(order)
        if order == "suspect":
            beside.append(set(running))
            assert leased(t) == 1
        await t.clock.sleep(1)
        if order == "suspect":
            beside.append(set(running))
            assert leased(t) == 1
        running.discard(order)

    async with stage.run(stage.app(handle, attempts=3, concurrency=8)) as t:
        await t.send_many(QUEUE, range(20))
        await t.advance(0.5)
        suspect = await send_tried(t, "suspect", attempts=3)
        await t.send_many(QUEUE, range(20, 40))
        await t.advance(200)
        await t.drain()
        assert beside == [{"suspect"}, {"suspect"}]
        assert [event.message.id for event in t.events if isinstance(event, Quarantined)] == [suspect.id]
        assert Counter(event.message.id for event in t.completed).most_common(1)[0][1] == 1
        assert len(t.completed) == 41
        assert (t.dead, t.lost) == ([], [])


async def test_several_suspects_start_one_after_the_other(stage: Stage) -> None:
    at_once: list[int] = []

    async def handle(order: int) -> None:
        at_once.append(leased(t))
        await t.clock.sleep(1)
        at_once.append(leased(t))

    async with stage.run(stage.app(handle, attempts=3, concurrency=8)) as t:
        for number in range(3):
            await send_tried(t, number, attempts=3)
        await t.advance(200)
        await t.drain()
        assert len(t.completed) == 3
        assert at_once == [1] * 6
        assert (t.dead, t.lost) == ([], [])


async def test_a_suspect_silences_the_other_consumers_of_its_process(stage: Stage) -> None:
    running: set[str] = set()
    beside: list[tuple[str, set[str], int]] = []

    async def handle(order: str, ctx: Context) -> None:
        running.add(order)
        for _ in range(2):
            if order.startswith("suspect"):
                # Where giving back counts, what waits to start is kept instead.
                held = 1 if stage.can().uncounted == "none" else leased(t) + leased(t, OTHER)
                beside.append((order, set(running), held))
            await t.clock.sleep(0.5)
        running.discard(order)

    async with stage.run(two_consumers(stage, handle, handle)) as t:
        for queue in (QUEUE, OTHER):
            await t.send_many(queue, [f"{queue} {number}" for number in range(12)])
            await t.advance(0.2)
            await send_tried(t, f"suspect of {queue}", attempts=3, queue=queue)
            await t.send_many(queue, [f"{queue} {number}" for number in range(12, 24)])
        await t.advance(200)
        await t.drain()
        assert sorted(beside) == [
            (f"suspect of {queue}", {f"suspect of {queue}"}, 1) for queue in (QUEUE, OTHER) for _ in range(2)
        ]
        assert len(t.completed) == 50
        assert (t.dead, t.lost) == ([], [])


async def test_what_waits_while_suspects_run_alone_loses_no_attempt(stage: Stage) -> None:
    """However many they are. It waits for a downstream that another consumer keeps busy."""
    names = (QUEUE, OTHER, "letters")

    async def suspicious(order: str) -> None:
        await t.clock.sleep(1)

    async def busy(order: str, ctx: Context) -> None:
        assert ctx.attempt == 1
        await t.clock.sleep(3)

    app = Leveler(
        queues={name: stage.queue(attempts=3) for name in names},
        consumers={name: ConsumerSettings(downstream="billing") for name in names[1:]},
        downstreams={"billing": LimitSettings(concurrency=1)},
    )
    app.consumer(QUEUE)(suspicious)
    for name in names[1:]:
        app.consumer(name)(busy)
    async with stage.run(app) as t:
        for name in names[1:]:
            await t.send_many(name, ["x"] * 20)
        await t.advance(1)
        for _ in range(20):
            await send_tried(t, "suspect", attempts=3)
        await t.advance(600)
        assert (t.dead, t.lost, t.retried) == ([], [], [])
        assert len(t.completed) == 60


@pytest.mark.parametrize("hurried", [False, True])
async def test_a_stop_while_a_suspect_runs_alone_gives_back_what_waits(stage: Stage, hurried: bool) -> None:
    started: list[str] = []

    async def suspicious(order: str) -> None:
        started.append(order)
        await t.clock.sleep(3)

    async def slow(order: str, ctx: Context) -> None:
        started.append(order)

    app = Leveler(
        queues={QUEUE: stage.queue(attempts=3), OTHER: stage.queue(attempts=3)},
        consumers={OTHER: ConsumerSettings(limits=LimitSettings(rate_per_second=0.1))},
    )
    app.consumer(QUEUE)(suspicious)
    app.consumer(OTHER)(slow)
    async with stage.run(app) as t:
        await t.send_many(OTHER, ["x"] * 5)
        await t.advance(1)
        for number in range(5):
            await send_tried(t, f"suspect {number}", attempts=3)
        await t.advance(1)
        assert started == ["x", "suspect 0"]
        assert await t.stop(0.5 if hurried else 30.0) == 0
        assert started == ["x", "suspect 0"]
        assert leased(t) + leased(t, OTHER) == 0
        assert in_broker(t)[0] == (5 if hurried else 4)
        assert in_broker(t, OTHER)[0] == 4


async def test_a_suspect_that_only_fails_is_dead_lettered_as_exhausted_and_not_as_a_killer(stage: Stage) -> None:
    async def handle(order: str) -> None:
        raise ValueError

    async with stage.run(stage.app(handle, attempts=3)) as t:
        await send_tried(t, "suspect", attempts=3)
        await t.advance(100)
        [event] = t.dead
        assert (event.death.reason, event.death.attempts) == ("exhausted", 4)


async def test_one_that_was_delivered_too_often_is_dead_lettered_unstarted(stage: Stage) -> None:
    async def handle(order: str) -> None:
        raise AssertionError("never started")

    async with stage.run(stage.app(handle, attempts=3)) as t:
        solos = 3 if stage.can().solos == "marked" else 0
        await send_tried(t, "killer", attempts=6, solos=solos, headers={"tenant": "acme"})
        await t.advance(100)
        assert t.started == []
        [dead] = await (await t.dead_letters(QUEUE)).browse()
        assert dead.death is not None
        assert (dead.death.reason, dead.death.attempts) == ("crash-loop", 7)
        assert (dead.body, dict(dead.headers)) == (b"killer", {"tenant": "acme"})


async def test_what_was_delivered_often_and_never_started_is_no_killer(stage: Stage) -> None:
    """Connections that are lost, with all that was fetched over them, count deliveries and no starts."""
    stage.need(stage.can().solos == "marked", "marks")

    async def handle(order: str) -> None: ...

    async with stage.run(stage.app(handle, attempts=3)) as t:
        for number in range(10):
            await send_tried(t, number, attempts=50)
        await t.advance(100)
        assert (len(t.completed), t.dead, t.lost) == (10, [], [])
        assert t.faults.sizes("mark_solo") == [1] * 10


async def test_a_start_alone_that_cannot_be_marked_is_none(stage: Stage) -> None:
    stage.need(stage.can().solos == "marked", "marks")

    async def handle(order: str, ctx: Context) -> None:
        solos.append(ctx.message.solos)

    solos: list[int] = []
    async with stage.run(stage.app(handle, attempts=3)) as t:
        t.faults.fail("mark_solo", BrokerUnavailable("busy"), times=2)
        t.faults.fail("mark_solo", ReceiverLost("reset"), nth=3)
        await send_tried(t, "suspect", attempts=3)
        await t.advance(5)
        assert (solos, len(t.completed), len(t.lost)) == ([0], 1, 1)


@pytest.mark.parametrize("ordered", [False, True], ids=["unordered", "ordered"])
async def test_a_killer_among_63_neighbours_is_the_only_dead_letter(stage: Stage, ordered: bool) -> None:
    if ordered:
        stage.need(stage.can().ordering, "order")
    killed = asyncio.Event()
    completed: set[int] = set()
    processes = 0

    async def handle(order: int) -> None:
        if order == 13:
            killed.set()
            await asyncio.Event().wait()
        await t.clock.sleep(1)

    async def live_until_killed() -> bool:
        """Whether it was killed, rather than ran out of work."""
        for _ in range(1000):
            await t.advance(0.5)
            if killed.is_set():
                await crash(t)
                return True
            if in_broker(t) == (0, 0, 0):
                return False
        raise AssertionError(f"never done: {in_broker(t)}, {len(completed)} completed")

    def app() -> Leveler:
        return stage.app(handle, attempts=5, concurrency=64, ordered=ordered)

    first = t = stage.run(app())
    again = True
    while again:
        async with t:
            if not processes:
                for number in range(64):
                    await t.send(QUEUE, number, key=f"customer-{number % 16}" if ordered else None)
            again = await live_until_killed()
            completed |= {int(event.message.body) for event in t.completed}
            processes += 1
            killed.clear()
            dead = [] if again else await (await t.dead_letters(QUEUE)).browse()
        t = stage.after(first, app())
    assert [(letter.body, letter.death.reason) for letter in dead if letter.death] == [(b"13", "crash-loop")]
    assert completed == set(range(64)) - {13}
    assert processes == 9  # five starts among others, three alone, and the one that gives it up


async def test_a_stop_lets_a_suspect_that_runs_alone_end(stage: Stage) -> None:
    async def handle(order: object) -> None:
        await t.clock.sleep(5)

    async with stage.run(stage.app(handle, attempts=3, concurrency=4)) as t:
        suspect = await send_tried(t, "suspect", attempts=3)
        await t.advance(1)
        await t.send_many(QUEUE, range(5))
        await t.advance(1)
        assert await t.stop(10) == 0
        assert [event.message.id for event in t.completed] == [suspect.id]
        assert in_broker(t) == (5, 0, 0)
    assert len(t.started) == 1


async def test_a_stop_cuts_a_suspect_that_does_not_end(stage: Stage) -> None:
    async def handle(order: object) -> None:
        await t.clock.sleep(15)

    async with stage.run(stage.app(handle, attempts=3)) as t:
        await send_tried(t, "suspect", attempts=3)
        await t.advance(1)
        assert await t.stop(5) == 0
        assert [event.attempt for event in t.retried] == [4]
        assert in_broker(t) == (1, 0, 0)


async def test_a_stop_gives_back_a_suspect_that_waits_for_the_others_to_end(stage: Stage) -> None:
    async def handle(order: object) -> None:
        await t.clock.sleep(10)

    async with stage.run(stage.app(handle, attempts=3, concurrency=4)) as t:
        await t.send_many(QUEUE, range(3))
        await t.advance(1)
        suspect = await send_tried(t, "suspect", attempts=3)
        await t.advance(1)
        assert [event.message.id for event in t.events if isinstance(event, Quarantined)] == [suspect.id]
        assert await t.stop(30) == 0
        assert len(t.completed) == 3
        assert [event.message.id for event in t.returned] == [suspect.id]
        assert in_broker(t) == (1, 0, 0)

    async def look(order: object, ctx: Context) -> None:
        attempts.append(ctx.attempt)

    attempts: list[int] = []
    async with stage.after(t, stage.app(look, attempts=3)) as later:
        await later.advance(100)
        # Where giving back always counts it is one more, and still below what is given up unstarted.
        assert attempts == [5 if stage.can().uncounted == "none" else 4]


async def test_each_process_has_a_quarantine_of_its_own(stage: Stage) -> None:
    running: Counter[str] = Counter()

    def app(name: str) -> Leveler:
        async def handle(order: object) -> None:
            running[name] += 1
            await t.clock.sleep(3)

        return stage.app(handle, attempts=3, concurrency=1)

    async with stage.run(app("first")) as t:
        await send_tried(t, "suspect", attempts=3)
        await t.advance(1)
        other: TestApp = stage.after(t, app("second"))
        async with other:
            await other.send(QUEUE, "neighbour")
            await other.advance(1)
            assert running == {"first": 1, "second": 1}
            await other.advance(10)
        assert len(t.completed) + len(other.completed) == 2
