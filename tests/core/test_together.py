"""Single sends of one moment share a call, and each gets an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from leveler.errors import BrokerUnavailable, LevelerError, QueueFull
from leveler.message import Message
from leveler.testing.clock import quiet
from leveler.together import Together


def message(id: str) -> Message:
    return Message(id=id, body=b"", time=datetime(2030, 1, 1, tzinfo=UTC))


class Bench:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.failed: dict[str, LevelerError] = {}
        self.broken: BaseException | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.together = Together(self._deliver)

    async def _deliver(self, messages: Sequence[Message]) -> Mapping[int, LevelerError]:
        self.calls.append([one.id for one in messages])
        await self.answers.wait()
        if self.broken is not None:
            raise self.broken
        return {index: self.failed[one.id] for index, one in enumerate(messages) if one.id in self.failed}

    async def send(self, *ids: str) -> list[BaseException | None]:
        return await asyncio.gather(*(self.together.send(message(id)) for id in ids), return_exceptions=True)


def run(story: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def scene() -> None:
        await story(Bench())

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_what_is_sent_in_one_turn_goes_in_one_call_in_the_order_of_sending() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.send("1", "2", "3") == [None] * 3
        await bench.together.send(message("4"))
        assert bench.calls == [["1", "2", "3"], ["4"]]

    run(story)


def test_each_one_hears_its_own_error_and_no_other() -> None:
    async def story(bench: Bench) -> None:
        bench.failed = {"2": QueueFull("full")}
        assert await bench.send("1", "2", "3") == [None, bench.failed["2"], None]

    run(story)


def test_what_comes_while_a_call_is_under_way_does_not_wait_for_it() -> None:
    async def story(bench: Bench) -> None:
        bench.answers.clear()
        first = asyncio.create_task(bench.together.send(message("1")))
        await quiet()
        second = asyncio.create_task(bench.together.send(message("2")))
        await quiet()
        assert (bench.calls, first.done(), second.done()) == ([["1"], ["2"]], False, False)
        bench.answers.set()
        await asyncio.gather(first, second)

    run(story)


def test_who_does_not_wait_any_more_costs_the_others_nothing() -> None:
    async def story(bench: Bench) -> None:
        bench.answers.clear()
        first, second = (asyncio.create_task(bench.together.send(message(id))) for id in "12")
        await quiet()
        first.cancel()
        await quiet()
        bench.answers.set()
        await second
        assert bench.calls == [["1", "2"]]

    run(story)


def test_an_id_that_is_sent_again_at_once_goes_in_a_call_of_its_own() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.send("1", "2", "1", "3") == [None] * 4
        assert bench.calls == [["1", "2"], ["1", "3"]]

    run(story)


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), ZeroDivisionError()])
def test_a_call_that_fails_fails_all_of_its_own(error: Exception) -> None:
    async def story(bench: Bench) -> None:
        bench.broken = error
        assert await bench.send("1", "2") == [error, error]

    run(story)
