"""The buffer: first in, first out; of each key in an ordered queue one at a time, and nobody overtakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from leveler.adapter import Delivery, Receiver
from leveler.consumer.buffer import Buffer
from leveler.consumer.held import ARRIVED, BUFFERED, RUNNING, SETTLING, Held
from leveler.message import Message
from leveler.testing.clock import quiet

NOBODY = cast(Receiver, None)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 10))


def held(name: str) -> Held:
    """A delivery whose key is the letter that its name begins with; a name that begins with a dash has none."""
    key = None if name.startswith("-") else name[0]
    return Held(
        Delivery(Message(id=name, body=b"", time=datetime(2030, 1, 1, tzinfo=UTC), key=key), 1, 30.0, None), NOBODY
    )


def names(some: list[Held]) -> list[str]:
    return [one.delivery.message.id for one in some]


class Bench:
    """A buffer and what was put into it, by name."""

    def __init__(self, *, ordered: bool = False) -> None:
        self.room = 0
        self.buffer = Buffer(ordered=ordered, on_taken=self._taken)
        self.all: dict[str, Held] = {}

    def arrive(self, text: str, *, put: bool = True) -> None:
        some = [held(name) for name in text.split()]
        self.all.update({one.delivery.message.id: one for one in some})
        self.buffer.line_up(some)
        if put:
            self.buffer.put(some)

    async def take(self, most: int = 100) -> list[str]:
        taken = await self.buffer.take(lambda: most)
        for one in taken:
            one.state = RUNNING
        return names(taken)

    def follow(self, name: str, *, done: bool = True) -> list[str]:
        self.all[name].state = SETTLING
        return names(self.buffer.follow(self.all[name], done=done))

    def _taken(self) -> None:
        self.room += 1


# Any queue.


def test_what_came_first_is_taken_first_and_no_more_than_asked_for() -> None:
    async def story() -> None:
        bench = Bench()
        bench.arrive("a1 a2 b1")
        bench.arrive("a3 -1")
        assert len(bench.buffer) == 5
        assert [await bench.take(1), await bench.take(3), await bench.take(3)] == [["a1"], ["a2", "b1", "a3"], ["-1"]]
        assert (len(bench.buffer), bench.room) == (0, 3)

    run(story)


def test_what_is_put_first_overtakes_everything() -> None:
    async def story() -> None:
        bench = Bench()
        bench.arrive("a1 a2")
        bench.buffer.put_first([held("-parked")])
        assert await bench.take() == ["-parked", "a1", "a2"]

    run(story)


def test_what_was_put_is_buffered_and_what_only_arrived_is_not() -> None:
    bench = Bench(ordered=True)
    bench.arrive("a1")
    bench.arrive("a2", put=False)
    assert (bench.all["a1"].state, bench.all["a2"].state) == (BUFFERED, ARRIVED)


def test_what_is_dropped_is_never_taken() -> None:
    async def story() -> None:
        bench = Bench()
        bench.arrive("a1 a2 a3")
        bench.buffer.drop(bench.all["a2"])
        bench.buffer.drop(held("z1"))  # one that was never here
        assert await bench.take() == ["a1", "a3"]

    run(story)


def test_a_worker_waits_for_the_next_delivery() -> None:
    async def story() -> None:
        bench = Bench()
        worker = asyncio.create_task(bench.take())
        await quiet()
        assert not worker.done()
        bench.arrive("a1")
        assert await worker == ["a1"]

    run(story)


def test_one_worker_at_a_time_is_woken_and_wakes_the_next_only_if_it_leaves_something() -> None:
    async def story() -> None:
        bench = Bench()
        greedy = [asyncio.create_task(bench.take(10)) for _ in range(3)]
        await quiet()
        loop, waits = asyncio.get_running_loop(), list[object]()
        make = loop.create_future
        loop.create_future = lambda: waits.append(None) or make()  # type: ignore[method-assign, func-returns-value]
        bench.arrive("a1 a2")
        bench.arrive("a3")
        await quiet()
        assert not waits  # nobody was woken for nothing and had to wait again
        assert [worker.done() for worker in greedy] == [True, False, False]
        assert greedy[0].result() == ["a1", "a2", "a3"]

        modest = [asyncio.create_task(bench.take(1)) for _ in range(2)]
        await quiet()
        bench.arrive(" ".join(f"b{number}" for number in range(25)))
        await quiet()
        assert [len(worker.result()) for worker in (*greedy[1:], *modest)] == [10, 10, 1, 1]
        assert len(bench.buffer) == 3

    run(story)


def test_a_worker_that_is_cancelled_while_it_waits_costs_nobody_his_delivery() -> None:
    async def story() -> None:
        bench = Bench()
        first, second = (asyncio.create_task(bench.take(1)) for _ in range(2))
        await quiet()
        first.cancel()
        await quiet()
        bench.arrive("a1")
        assert await second == ["a1"]

    run(story)


def test_workers_go_home_when_it_is_closed_and_empty() -> None:
    async def story() -> None:
        bench = Bench()
        waiting = [asyncio.create_task(bench.take()) for _ in range(3)]
        await quiet()
        bench.buffer.close()
        assert await asyncio.gather(*waiting) == [[], [], []]
        bench.arrive("a1")
        assert [await bench.take(), await bench.take()] == [["a1"], []]

    run(story)


# Ordered queues.


def test_of_each_key_only_the_first_may_start_and_what_has_no_key_waits_for_nobody() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1 a2 b1 -1 a3 b2 -2")
        assert len(bench.buffer) == 4
        assert await bench.take() == ["a1", "b1", "-1", "-2"]

    run(story)


def test_keys_mean_nothing_where_the_queue_is_not_ordered() -> None:
    async def story() -> None:
        bench = Bench()
        bench.arrive("a1 a2")
        assert await bench.take() == ["a1", "a2"]
        assert bench.follow("a1", done=False) == []

    run(story)


def test_the_next_of_a_key_starts_when_the_first_is_done() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1 a2 a3")
        for name in ("a1", "a2", "a3"):
            assert await bench.take() == [name]
            assert len(bench.buffer) == 0
            assert bench.follow(name) == []
        bench.arrive("a4")  # its lane is new
        assert await bench.take() == ["a4"]

    run(story)


def test_what_comes_later_stands_behind_the_one_that_runs() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1")
        assert await bench.take() == ["a1"]
        bench.arrive("a2 b1")
        assert await bench.take() == ["b1"]
        bench.follow("a1")
        assert await bench.take() == ["a2"]

    run(story)


def test_those_behind_one_that_comes_back_must_leave_with_it() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1 a2 b1 a3 b2")
        assert await bench.take() == ["a1", "b1"]
        assert bench.follow("a1", done=False) == ["a2", "a3"]
        assert len(bench.buffer) == 0
        bench.follow("b1")
        bench.arrive("a1 a2")  # they are back
        assert await bench.take() == ["b2", "a1"]

    run(story)


def test_one_that_leaves_from_the_middle_takes_those_behind_it_and_not_those_before() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1 a2 a3")
        assert await bench.take() == ["a1"]
        assert bench.follow("a2", done=False) == ["a3"]
        bench.follow("a1")
        assert len(bench.buffer) == 0

    run(story)


def test_one_that_dies_in_the_middle_lets_those_behind_it_close_up() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1 a2 a3")
        assert await bench.take() == ["a1"]
        assert bench.follow("a2", done=True) == []
        assert len(bench.buffer) == 0
        bench.follow("a1")
        assert await bench.take() == ["a3"]

    run(story)


def test_one_that_dies_behind_a_first_that_still_waits_for_a_worker_does_not_start_that_twice() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1 a2")
        bench.follow("a2", done=True)
        assert await bench.take() == ["a1"]

    run(story)


def test_of_those_behind_only_what_nobody_has_started_must_leave() -> None:
    bench = Bench(ordered=True)
    bench.arrive("a1 a2 a3")
    bench.all["a2"].state = SETTLING
    assert bench.follow("a1", done=False) == ["a3"]


def test_one_that_left_already_is_followed_by_nobody() -> None:
    bench = Bench(ordered=True)
    bench.arrive("a1 a2 a3")
    assert bench.follow("a1", done=False) == ["a2", "a3"]
    assert [bench.follow(name, done=done) for name in ("a1", "a2") for done in (True, False)] == [[], [], [], []]


def test_a_key_is_blocked_by_one_that_arrived_and_may_not_start_yet() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1", put=False)  # parked, or alone in quarantine
        bench.arrive("a2 b1")
        assert await bench.take() == ["b1"]
        bench.buffer.put_first([bench.all["a1"]])
        assert await bench.take() == ["a1"]
        bench.follow("a1")
        assert await bench.take() == ["a2"]

    run(story)


def test_the_next_of_a_key_that_may_not_start_yet_is_not_started_by_the_end_of_the_first() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1")
        bench.arrive("a2", put=False)
        assert await bench.take() == ["a1"]
        bench.follow("a1")
        assert len(bench.buffer) == 0
        bench.buffer.put([bench.all["a2"]])
        assert await bench.take() == ["a2"]

    run(story)


def test_emptying_gives_everything_that_nobody_has_started_each_key_in_its_order() -> None:
    async def story() -> None:
        bench = Bench(ordered=True)
        bench.arrive("a1 b1 a2 b2 a3 -1")
        assert await bench.take(1) == ["a1"]
        unstarted = names(bench.buffer.empty())
        assert sorted(unstarted) == ["-1", "a2", "a3", "b1", "b2"]
        assert [name for name in unstarted if name[0] == "a"] == ["a2", "a3"]
        assert [name for name in unstarted if name[0] == "b"] == ["b1", "b2"]
        assert len(bench.buffer) == 0

    run(story)


@given(keys=st.lists(st.sampled_from("abc-"), max_size=30), batch=st.integers(1, 5), choice=st.randoms())
def test_whatever_the_pace_of_the_workers_every_delivery_is_taken_once_and_each_key_in_order(
    keys: list[str], batch: int, choice: Any
) -> None:
    async def story() -> None:
        bench, taken, running = Bench(ordered=True), list[str](), list[str]()
        expected = [f"{key}{number}" for number, key in enumerate(keys)]
        for start in range(0, len(expected), 4):
            bench.arrive(" ".join(expected[start : start + 4]))
        while len(taken) < len(expected):
            if len(bench.buffer) and (not running or choice.random() < 0.5):
                some = await bench.take(batch)
                assert not {name[0] for name in some if name[0] != "-"} & {name[0] for name in running}
                taken += some
                running += some
            else:
                bench.follow(running.pop(choice.randrange(len(running))))
        assert sorted(taken) == sorted(expected)
        for key in "abc-":
            assert [name for name in taken if name[0] == key] == [name for name in expected if name[0] == key]

    run(story)
