"""How many workers there are to be, and which to start, to stop and to start again: decided without a process.

`tests/core/test_useful.py` runs the scaling with whole fleets in virtual time.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import random
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leveler_memory.adapter import MemoryAdapter, MemoryOptions

from leveler import Leveler
from leveler.adapter import Adapter, Capabilities, QueueSpec
from leveler.cli.processes import Prefixed, Words, recipe
from leveler.clock import SystemClock
from leveler.errors import ConfigError
from leveler.events import Observers
from leveler.monitor.useful import CALM_SECONDS
from leveler.runtime import Runtime
from leveler.settings import BrokerSettings, Processes, Settings
from leveler.supervisor.crew import Crew, Hurry, Order, Phase, RestartPolicy, Start, Stop
from leveler.supervisor.line import Line
from leveler.supervisor.scaling import Scaling, ScalingPolicy
from leveler.supervisor.sharing import check_sharing
from leveler.supervisor.supervisor import Recipe, Supervisor

# ---- how many


def counts(scaling: Scaling, looks: Sequence[tuple[float, Collection[int | None]]], there: int) -> list[int]:
    """How many there are after each look."""
    found = []
    for now, useful in looks:
        there = scaling.wanted(now, useful, there=there)
        found.append(there)
    return found


def test_the_queue_that_needs_most_counts_within_the_bounds() -> None:
    assert counts(Scaling(2, 8, ScalingPolicy()), [(0, [3, 5, 0])], there=2) == [5]
    assert counts(Scaling(2, 8, ScalingPolicy()), [(0, [50])], there=2) == [8]
    assert counts(Scaling(2, 8, ScalingPolicy()), [(0, [0]), (60, [0]), (120, [0])], there=2) == [2, 2, 2]


def test_where_nobody_can_tell_as_many_stay_as_there_are() -> None:
    assert counts(Scaling(1, 8, ScalingPolicy()), [(at, [None]) for at in range(0, 600, 15)], there=3) == [3] * 40
    assert counts(Scaling(1, 8, ScalingPolicy()), [(at, []) for at in range(0, 600, 15)], there=3) == [3] * 40
    assert counts(Scaling(1, 8, ScalingPolicy()), [(at, [1, None]) for at in range(0, 600, 15)], there=3) == [3] * 40
    assert counts(Scaling(1, 8, ScalingPolicy()), [(0, [4, None])], there=3) == [4]


def test_up_at_once_and_again_only_when_the_downstream_has_had_time_to_say_something() -> None:
    looks: list[tuple[float, list[int | None]]] = [(0, [2]), (15, [3]), (CALM_SECONDS - 1, [4]), (CALM_SECONDS, [4])]
    assert counts(Scaling(1, 8, ScalingPolicy()), looks, there=1) == [2, 2, 2, 4]


def test_down_to_what_would_have_been_enough_all_the_time_for_a_minute() -> None:
    scaling = Scaling(1, 8, ScalingPolicy())
    looks: list[tuple[float, list[int | None]]]
    looks = [(0, [5]), (15, [1]), (30, [3]), (45, [1]), (60, [1]), (75, [1]), (104, [1]), (105, [1])]
    assert counts(scaling, looks, there=5) == [5, 5, 5, 5, 5, 3, 3, 1]


def test_nobody_goes_who_was_of_use_a_moment_ago_however_seldom_somebody_looks() -> None:
    assert counts(Scaling(1, 8, ScalingPolicy()), [(0, [5]), (1000, [1]), (2000, [1])], there=5) == [5, 5, 1]


@given(
    looks=st.lists(st.tuples(st.floats(0, 100), st.lists(st.none() | st.integers(0, 20), max_size=3))),
    bounds=st.tuples(st.integers(1, 10), st.integers(1, 10)).map(sorted),
)
def test_whatever_is_useful_the_bounds_hold(
    looks: list[tuple[float, list[int | None]]], bounds: tuple[int, int]
) -> None:
    least, most = bounds
    scaling, now, there = Scaling(least, most, ScalingPolicy()), 0.0, least
    for seconds, useful in looks:
        now += seconds
        there = scaling.wanted(now, useful, there=there)
        assert least <= there <= most


# ---- which


def begun(crew: Crew, now: float = 0.0) -> list[Order]:
    """Everybody who is to run is ready; the orders that it took."""
    given: list[Order] = []
    while orders := [*crew.orders(now)]:
        given += orders
        for order in orders:
            if isinstance(order, Start):
                crew.began(order.number)
                crew.ready(order.number, now)
    return given


def test_the_first_one_starts_alone_and_the_others_when_it_has_begun() -> None:
    crew = Crew(3, RestartPolicy())
    assert [*crew.orders(0)] == [Start(1)]
    assert [*crew.orders(0)] == []
    crew.began(1)
    assert [*crew.orders(0)] == [Start(2), Start(3)]
    assert [*crew.orders(0)] == []


def test_it_is_ready_once_when_the_least_are_ready_together() -> None:
    crew = Crew(2, RestartPolicy())
    begun_ones = [*crew.orders(0)]
    crew.began(1)
    crew.ready(1, 0)
    begun_ones += crew.orders(0)
    assert not crew.was_ready
    crew.ended(1, 1, 0)
    crew.began(2)
    crew.ready(2, 0)
    assert not crew.was_ready
    assert [*crew.orders(10)] == [Start(1)]
    crew.began(1)
    crew.ready(1, 10)
    assert crew.was_ready


def test_the_last_ones_go_and_come_back() -> None:
    crew = Crew(1, RestartPolicy())
    crew.wanted = 3
    assert begun(crew) == [Start(1), Start(2), Start(3)]
    crew.wanted = 1
    assert [*crew.orders(1)] == [Stop(2), Stop(3)]
    assert [*crew.orders(1)] == []
    assert crew.count(Phase.READY) == 1
    crew.wanted = 2
    assert [*crew.orders(2)] == []  # it has been told, and drains
    assert crew.ended(2, 0, 3) is None
    assert crew.ended(3, 0, 3) is None
    assert [*crew.orders(3)] == [Start(2)]


def test_who_ends_by_itself_comes_back_after_a_pause_that_grows() -> None:
    crew = Crew(1, RestartPolicy(pause_seconds=0.5, most_seconds=30.0))
    assert [*crew.orders(0)] == [Start(1)]
    now, pauses = 0.0, []
    for _ in range(10):
        pause_seconds = crew.ended(1, 1, now)
        assert pause_seconds is not None
        pauses.append(pause_seconds)
        assert crew.next_at() == now + pause_seconds
        assert [*crew.orders(now + pause_seconds - 0.001)] == []
        now += pause_seconds
        assert [*crew.orders(now)] == [Start(1)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert crew.code is None


def test_who_did_its_work_for_a_minute_comes_back_soon_however_often_it_ended_before() -> None:
    crew = Crew(1, RestartPolicy())
    begun(crew)
    assert crew.ended(1, -9, 59.9) == 0.5
    begun(crew, 100)
    assert crew.ended(1, -9, 100 + 59.9) == 1.0
    begun(crew, 200)
    assert crew.ended(1, 0, 200 + 60) == 0.5  # somebody told it to end, but not we


def test_one_that_ends_is_no_reason_for_the_others_to_stop() -> None:
    crew = Crew(2, RestartPolicy())
    begun(crew)
    assert crew.ended(2, -9, 1) == 0.5
    assert [*crew.orders(1)] == []
    assert [*crew.orders(1.5)] == [Start(2)]


# ---- how it ends


def test_what_is_wrong_at_the_start_ends_it_before_a_second_one_says_the_same() -> None:
    crew = Crew(4, RestartPolicy())
    assert [*crew.orders(0)] == [Start(1)]
    assert crew.ended(1, 2, 0) is None
    assert [*crew.orders(0)] == []
    assert crew.code == 2


def test_what_is_wrong_with_the_second_one_ends_the_first_one_too() -> None:
    crew = Crew(2, RestartPolicy())
    assert [*crew.orders(0)] == [Start(1)]
    crew.began(1)
    crew.ready(1, 0)
    assert [*crew.orders(0)] == [Start(2)]
    assert crew.ended(2, 2, 0) is None
    assert [*crew.orders(0)] == [Stop(1)]
    assert crew.code is None
    crew.ended(1, 0, 0)
    assert crew.code == 2


def test_what_goes_wrong_later_ends_nobody_who_works() -> None:
    crew = Crew(2, RestartPolicy())
    begun(crew)
    assert crew.ended(2, -9, 100) == 0.5
    assert [*crew.orders(101)] == [Start(2)]
    assert crew.ended(2, 2, 101) == 1.0  # its settings are wrong now, and those of the first one are not
    assert crew.code is None


def test_two_signals_reach_each_of_them_and_no_third_one() -> None:
    crew = Crew(2, RestartPolicy())
    begun(crew)
    crew.stop()
    assert [*crew.orders(1)] == [Stop(1), Stop(2)]
    assert [*crew.orders(1)] == []
    crew.stop()
    assert [*crew.orders(2)] == [Hurry(1), Hurry(2)]
    crew.stop()
    assert [*crew.orders(3)] == []
    assert crew.next_at() == float("inf")


def test_who_goes_already_is_not_hurried_by_the_first_signal() -> None:
    crew = Crew(1, RestartPolicy())
    crew.wanted = 2
    begun(crew)
    crew.wanted = 1
    assert [*crew.orders(1)] == [Stop(2)]
    crew.stop()
    assert [*crew.orders(1)] == [Stop(1)]
    crew.stop()
    assert [*crew.orders(1)] == [Hurry(1), Hurry(2)]


@pytest.mark.parametrize(("codes", "code"), [((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((0, 3), 1), ((-9, 0), 1)])
def test_the_worst_of_those_that_were_told_to_stop_is_its_own_exit_code(codes: tuple[int, int], code: int) -> None:
    crew = Crew(2, RestartPolicy())
    begun(crew)
    crew.ended(1, 1, 0)  # long ago, and nothing to do with the end
    begun(crew, 10)
    crew.stop()
    assert [*crew.orders(11)] == [Stop(1), Stop(2)]
    crew.ended(1, codes[0], 12)
    assert crew.code is None
    crew.ended(2, codes[1], 12)
    assert crew.code == code


def test_who_is_stopped_before_it_held_anything_leaves_nothing() -> None:
    crew = Crew(1, RestartPolicy())
    assert [*crew.orders(0)] == [Start(1)]
    crew.stop()
    assert [*crew.orders(0)] == [Stop(1)]
    assert crew.is_told(1)
    crew.ended(1, -15, 0)
    assert crew.code == 0


def test_who_waits_to_be_started_again_does_not_hold_up_the_end() -> None:
    crew = Crew(1, RestartPolicy())
    begun(crew)
    crew.ended(1, 1, 0)
    crew.stop()
    assert [*crew.orders(100)] == []
    assert crew.code == 0


# ---- how one is started

WORDS = Words("shop:app", ["orders"], None, None, "info", "/srv/shop")
MANY = Processes(min=1, max=3)


def test_workers_show_their_figures_at_one_port_after_the_other() -> None:
    made = recipe(Settings(processes=3, listen="0.0.0.0:9464", listen_token="t" * 16), WORDS, {"HOME": "/"})
    listens = [words[words.index("--listen") + 1] for words in map(made.command, (1, 2, 3))]
    assert listens == ["0.0.0.0:9464", "0.0.0.0:9465", "0.0.0.0:9466"]
    assert (made.token, made.environment, made.folder) == ("t" * 16, {"HOME": "/"}, "/srv/shop")


def test_any_port_that_is_free_is_so_for_each_of_them() -> None:
    made = recipe(Settings(processes=MANY, listen="127.0.0.1:0"), WORDS, {})
    assert "127.0.0.1:0" in made.command(3)
    assert (made.token, made.environment) == (None, {})


def test_where_nobody_asked_for_figures_only_the_supervisor_can_read_them() -> None:
    made = recipe(Settings(processes=MANY), WORDS, {"LEVELER_LISTEN_TOKEN": "of somebody else"})
    other = recipe(Settings(processes=MANY), WORDS, {})
    assert "127.0.0.1:0" in made.command(1)
    assert made.token is not None
    assert len(made.token) >= 32
    assert made.environment == {"LEVELER_LISTEN_TOKEN": made.token}
    assert made.token != other.token
    assert made.token not in repr(made)
    assert not any(made.token in word for word in made.command(1))


def test_a_fixed_number_that_shows_nothing_shows_nothing() -> None:
    made = recipe(Settings(processes=3), WORDS, {})
    assert "--listen" not in made.command(1)
    assert (made.token, made.environment) == (None, {})


def test_each_worker_is_told_what_the_supervisor_was_told() -> None:
    words = recipe(Settings(processes=3), WORDS, {}).command(2)[4:]
    assert words == ["run", "shop:app", "--processes", "1", "--only", "orders", "--log-level", "info"]


@pytest.mark.parametrize("words", ["", "7", "x:y", "1:987654", "1:-1", "1:2:3"])
def test_nobody_but_a_supervisor_says_whose_worker_this_is(words: str) -> None:
    with pytest.raises(ConfigError, match="--processes instead"):
        Line.of(words)


# ---- what several processes cannot share


async def look(adapter: Adapter, processes: int = 2) -> None:
    settings = Settings(processes=processes, brokers={"default": BrokerSettings(adapter=adapter)})
    app = Leveler(settings=settings)

    @app.consumer("orders")
    async def handle(order: dict[str, str]) -> None:
        raise AssertionError("nobody is to be handled")

    runtime = Runtime(
        app.settings(),
        app.handlers,
        clock=SystemClock(),
        rng=random.Random(1),
        observers=Observers(),
        middleware=(),
        source="/test",
    )
    await check_sharing(runtime, ["orders"])


class Elsewhere(MemoryAdapter):
    """As if it were somewhere else."""

    push = False

    async def declare(self, queue: QueueSpec) -> Capabilities:
        return replace(await super().declare(queue), scope="network", push=self.push)


class Called(Elsewhere):
    push = True


def memory(kind: type[MemoryAdapter] = MemoryAdapter) -> MemoryAdapter:
    return kind("memory://", MemoryOptions(), clock=SystemClock(), deadline_seconds=5.0)


def test_a_broker_that_lives_in_one_process_is_refused_by_name() -> None:
    said = "processes is 2, and queue 'orders' is on broker 'default' .*, which lives in one process"
    with pytest.raises(ConfigError, match=said):
        asyncio.run(look(memory()))


def test_a_broker_that_calls_its_workers_is_refused_by_name() -> None:
    said = (
        "processes is 2, and queue 'orders' is on broker 'default' .*, which calls its workers at an address where only"
    )
    with pytest.raises(ConfigError, match=said):
        asyncio.run(look(memory(Called)))


def test_a_broker_that_several_share_is_not() -> None:
    asyncio.run(look(memory(Elsewhere)))


# ---- a worker's lines


class Written(io.BytesIO):
    """What was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, data: Any, /) -> int:
        self.pieces.append(bytes(data).decode())
        return super().write(data)


def test_each_line_of_a_worker_begins_with_its_number_however_it_is_written() -> None:
    raw = Written()
    out = Prefixed(io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace"), "[7] ")
    print("one", "two", file=out)
    print("be", end="", file=out)
    print("gun", file=out)
    print("a\n\nb", file=out)
    print("", end="", file=out)
    print("\ud800", file=out)
    assert raw.pieces == ["[7] one two\n", "[7] begun\n", "[7] a\n[7] \n[7] b\n", "[7] \\ud800\n"]
    print("?", end="", flush=True, file=out)
    assert raw.pieces[4:] == ["[7] ?"]


# ---- processes that are no workers


def supervisor(script: str, **words: Any) -> Supervisor:
    """Of processes that take no time to start; each runs `script` and ends with its supervisor."""
    made = Recipe(command=lambda number: [sys.executable, "-ISc", script], environment={}, folder="/")
    return Supervisor(Processes.of(2), made, on_ready=lambda: None, **words)


async def said(caplog: pytest.LogCaptureFixture, text: str, times: int = 1) -> None:
    caplog.set_level(logging.INFO, "leveler")
    async with asyncio.timeout(60):
        while sum(text in message for message in caplog.messages) < times:  # noqa: ASYNC110  # nobody would tell us
            await asyncio.sleep(0.01)


SLEEPS = "import time; time.sleep(600)"
ENDS_WITH_IT = "import socket, sys; socket.socket(fileno=int(sys.argv[-1].partition(':')[2])).recv(1)"


def test_who_is_told_to_stop_while_it_is_started_does() -> None:
    async def story() -> int:
        kept = supervisor(SLEEPS)
        running = asyncio.create_task(kept.run())
        await asyncio.sleep(0)  # it has been ordered, and is not there yet
        await asyncio.sleep(0)
        kept.stop()
        return await running

    assert asyncio.run(story()) == 0


def test_where_no_process_can_be_started_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> int:
        made = Recipe(command=lambda number: ["/no/such/program"], environment={}, folder="/")
        policy = RestartPolicy(pause_seconds=0.01)
        kept = Supervisor(Processes.of(2), made, on_ready=lambda: None, restart=policy)
        running = asyncio.create_task(kept.run())
        await said(caplog, "worker 1 could not be started: ", 2)
        kept.stop()
        return await running

    assert asyncio.run(story()) == 0


def test_a_supervisor_that_breaks_down_lets_its_workers_drain_first(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        running = asyncio.create_task(supervisor(ENDS_WITH_IT).run())
        await said(caplog, "worker 1: process ")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        pid = int(caplog.messages[-1].rpartition(" ")[2])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(story())
