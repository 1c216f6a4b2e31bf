"""Run cases against a target. Needs no test framework: ``leveler contract URL`` is this."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable

from leveler.errors import ConfigError
from leveler.testing.contract.case import Case, Gated
from leveler.testing.contract.cases import cases
from leveler.testing.contract.report import Report, Result
from leveler.testing.contract.rig import Rig
from leveler.testing.contract.target import Target


async def run(
    target: Target, *, only: str = "", jobs: int = 1, on_result: Callable[[Result], object] | None = None
) -> Report:
    """Run every case whose id contains `only`.

    Args:
        target: the adapter, and how to reach its broker.
        only: part of a case's id, such as a topic.
        jobs: how many cases may run side by side; on a real broker most of a case is waiting.
        on_result: told of each result as it comes.
    """
    turn = asyncio.Semaphore(jobs)

    async def one(case: Case) -> Result:
        async with turn:
            result = await run_case(case, target)
        if on_result is not None:
            on_result(result)
        return result

    return Report(target.name, await asyncio.gather(*map(one, cases(only))))


async def run_case(case: Case, target: Target) -> Result:
    """Run one case on connections and a queue of its own. Raises nothing: what went wrong is in the result.

    Raises:
        ConfigError: assertions are switched off, so no case could fail.
    """
    if not __debug__:
        raise ConfigError("the contract suite checks by assertions: run python without -O and PYTHONOPTIMIZE")
    started = time.perf_counter()
    try:
        await _play(case, target)
    except Gated as gate:
        return Result(case, "gated", gate.why, time.perf_counter() - started)
    except Exception as error:
        return Result(case, "failed", _why(error, target), time.perf_counter() - started, error)
    return Result(case, "passed", "", time.perf_counter() - started)


async def _play(case: Case, target: Target) -> None:
    rig = Rig(target)
    try:
        async with asyncio.timeout(target.cap_seconds):
            await _start(rig, case)
            for need in case.needs:
                rig.need(need)
            await case.play(rig)
    except BaseException:
        await _stop_quietly(rig)  # what went wrong first is what matters
        raise
    async with asyncio.timeout(target.cap_seconds):
        await rig.stop()


async def _start(rig: Rig, case: Case) -> None:
    """Declare the case's queue. One that the adapter refuses is gated if a plain queue does not claim the need."""
    await rig.connect()
    try:
        await rig.declare(**case.spec)
    except ConfigError:
        if not case.spec:
            raise
        await rig.declare()
        for need in case.needs:
            rig.need(need)
        raise


async def _stop_quietly(rig: Rig) -> None:
    try:
        async with asyncio.timeout(rig.target.cap_seconds):
            await rig.stop()
    except Exception:
        return


def _why(error: Exception, target: Target) -> str:
    """What was wrong and where, in one line, even of an assertion that says nothing."""
    if isinstance(error, TimeoutError):
        return f"it hangs: not over after {target.cap_seconds:g} s"
    where = traceback.extract_tb(error.__traceback__)[-1]
    what = str(error) or where.line or ""
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return f"{kind}{what} ({where.filename.rpartition('/')[2]}:{where.lineno})"
