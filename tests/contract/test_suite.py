"""The suite itself: what it does with an adapter's answers, whatever runs it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from leveler_memory import MemoryAdapter, MemoryOptions
from leveler_memory.personality import PersonalityName

from leveler.adapter import Adapter, Capabilities, QueueSpec
from leveler.clock import Clock
from leveler.errors import BatchError, BrokerError, ConfigError, LeaseLost, LevelerError
from leveler.testing import VirtualClock
from leveler.testing.contract import Case, Gated, Rig, Target, UrlTarget, cases, errors_of, run, run_case
from leveler.testing.contract.case import Need, case
from leveler.testing.contract.needs import EXTEND, ORDERING


class Memory(Target):
    name = "memory"
    lease_seconds = 20.0
    cap_seconds = 0.2

    def __init__(self, personality: PersonalityName = "plain", kind: type[MemoryAdapter] = MemoryAdapter) -> None:
        self.options = MemoryOptions(personality=personality)
        self.kind = kind
        #: Every queue name that was declared and not dropped.
        self.there: set[str] = set()

    def clock(self) -> Clock:
        return VirtualClock()

    def adapter(self, clock: Clock) -> Adapter:
        adapter = self.kind("memory://", self.options, clock=clock, deadline_seconds=5.0)
        adapter._queues = _Names(self.there)
        return adapter


class _Names(dict[str, Any]):
    def __init__(self, there: set[str]) -> None:
        super().__init__()
        self.there = there

    def __setitem__(self, name: str, queue: Any) -> None:
        self.there.add(name)
        super().__setitem__(name, queue)

    def pop(self, name: str, *default: Any) -> Any:
        self.there.discard(name)
        return super().pop(name, *default)


class FailsToDrop(MemoryAdapter):
    async def drop(self, queue: QueueSpec) -> None:
        raise BrokerError("drop failed")


class Hangs(MemoryAdapter):
    async def declare(self, queue: QueueSpec) -> Capabilities:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def playing(play: Callable[[Rig], Awaitable[None]], *needs: Need, **spec: Any) -> Case:
    return Case("here", "case", "a promise", play, needs, spec)


async def passes(t: Rig) -> None:
    await t.fill()


async def fails(t: Rig) -> None:
    assert await t.adapter.purge(t.queue) == 7


def test_a_case_that_passes_leaves_no_queue_behind() -> None:
    target = Memory()
    assert asyncio.run(run_case(playing(passes), target)).verdict == "passed"
    assert target.there == set()


def test_a_case_that_fails_leaves_no_queue_behind_and_says_where() -> None:
    target = Memory()
    result = asyncio.run(run_case(playing(fails), target))
    assert (result.verdict, target.there) == ("failed", set())
    assert "test_suite.py:" in result.why


def test_a_case_is_gated_by_the_first_need_that_is_not_claimed() -> None:
    result = asyncio.run(run_case(playing(passes, EXTEND, ORDERING), Memory("push")))
    assert (result.verdict, result.why) == ("gated", "extend")


def test_a_case_may_find_out_on_its_way_that_it_does_not_apply() -> None:
    async def finds_out(t: Rig) -> None:
        raise Gated("something")

    result = asyncio.run(run_case(playing(finds_out), Memory()))
    assert (result.verdict, result.why) == ("gated", "something")


def test_a_queue_that_is_refused_gates_what_is_not_claimed() -> None:
    result = asyncio.run(run_case(playing(passes, ORDERING, ordered=True), Memory("sqs")))
    assert (result.verdict, result.why) == ("gated", "ordering")


def test_a_queue_that_is_refused_although_it_is_claimed_fails() -> None:
    class RefusesOrder(MemoryAdapter):
        async def declare(self, queue: QueueSpec) -> Capabilities:
            if queue.ordered:
                raise ConfigError("no order here")
            return await super().declare(queue)

    result = asyncio.run(run_case(playing(passes, ORDERING, ordered=True), Memory(kind=RefusesOrder)))
    assert result.verdict == "failed"
    assert "no order here" in result.why


def test_a_plain_queue_that_is_refused_fails() -> None:
    result = asyncio.run(run_case(playing(passes), _with_lease(1.0)))
    assert result.verdict == "failed"
    assert "5 to 300" in result.why


def test_a_case_that_hangs_fails() -> None:
    result = asyncio.run(run_case(playing(passes), Memory(kind=Hangs)))
    assert result.verdict == "failed"
    assert "hangs" in result.why


def test_a_verb_that_never_answers_in_virtual_time_fails() -> None:
    async def waits(t: Rig) -> None:
        await t.pace.until(t.clock.sleep(1e9))

    result = asyncio.run(run_case(playing(waits), Memory()))
    assert result.verdict == "failed"


def test_an_adapter_that_cannot_clean_up_fails_a_case_that_passed() -> None:
    result = asyncio.run(run_case(playing(passes), Memory(kind=FailsToDrop)))
    assert (result.verdict, "drop failed" in result.why) == ("failed", True)


def test_what_went_wrong_first_is_what_is_told() -> None:
    result = asyncio.run(run_case(playing(fails), Memory(kind=FailsToDrop)))
    assert "drop failed" not in result.why


def test_a_foreign_error_names_its_class() -> None:
    async def breaks(t: Rig) -> None:
        raise OSError("the disk is gone")

    assert "OSError: the disk is gone" in asyncio.run(run_case(playing(breaks), Memory())).why


def test_a_run_tells_of_each_result_and_counts_them() -> None:
    seen: list[str] = []
    report = asyncio.run(
        run(Memory("sqs"), only="peek-", jobs=4, on_result=lambda result: seen.append(result.case.topic))
    )
    assert seen == ["peek"] * 7
    assert report.as_data()["gated"] == {"peek": 7}
    assert not report.ok, "a run in which nothing passed says nothing good"


def test_a_report_is_a_table_and_the_reasons_and_data() -> None:
    report = asyncio.run(run(Memory(kind=FailsToDrop), only="depth-purging"))
    text = report.as_text()
    assert re.search(r"depth +0 +0 +3", text)
    assert "FAILED depth-purging_removes_what_waits" in text
    assert "drop failed" in text
    assert json.loads(json.dumps(report.as_data()))["counts"] == {"failed": 3}


def test_every_case_says_which_promise_it_checks() -> None:
    with pytest.raises(TypeError, match="docstring"):

        @case()
        async def says_nothing(t: Rig) -> None: ...


def test_every_case_is_the_one_to_notice_some_planted_bug() -> None:
    tables = "".join(path.read_text() for path in Path(__file__).parent.glob("test_mutants_*.py"))
    named = set(re.findall(r'"([a-z]+-[a-z0-9_]+)"', tables))
    assert {one.id for one in cases()} - named == set()
    assert len(cases()) == len({one.id for one in cases()}) >= 85


def test_errors_are_told_by_item_however_they_are_raised() -> None:
    lost = LeaseLost("late")

    async def partly(items: Sequence[str]) -> None:
        raise BatchError({1: lost})

    async def wholly(items: Sequence[str]) -> None:
        raise lost

    async def strangely(items: Sequence[str]) -> None:
        raise BatchError({5: lost})

    async def told(verb: Callable[[Sequence[str]], Awaitable[None]]) -> Mapping[int, LevelerError]:
        return await errors_of(verb, ["a", "b"])

    assert asyncio.run(told(partly)) == {1: lost}
    assert asyncio.run(told(wholly)) == {0: lost, 1: lost}
    with pytest.raises(AssertionError, match=r"\[5\]"):
        asyncio.run(told(strangely))


def test_a_url_is_a_target_in_real_time_and_keeps_its_secrets() -> None:
    report = asyncio.run(run(UrlTarget("memory://"), only="queues-declaring_twice"))
    assert report.ok
    assert "hunter2" not in UrlTarget("amqp://me:hunter2@host/").name


def test_the_suite_runs_without_pytest_and_refuses_to_run_without_assertions() -> None:
    program = (
        "import asyncio, sys\n"
        "from leveler.errors import ConfigError\n"
        "from leveler.testing.contract import UrlTarget, run\n"
        "assert 'pytest' not in sys.modules\n"
        "try:\n"
        "    print(asyncio.run(run(UrlTarget('memory://'), only='peek-peeking_leases')).ok)\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    assert _python("-c", program).strip() == "True"
    assert "without -O" in _python("-O", "-c", program)


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def _with_lease(seconds: float) -> Target:
    target = Memory("servicebus")
    target.lease_seconds = seconds
    return target
