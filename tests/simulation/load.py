"""The load: what handlers are told to do, and how a message of each kind must end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from leveler import Context, Reject, Retry, Snooze, Throttled
from tests.simulation.ledger import CUT, EFFECT, Ledger, Run
from tests.simulation.process import Process


class Work(msgspec.Struct):
    """What the handler is to do."""

    kind: str
    #: How long it works.
    seconds: float = 0.0


#: By kind, the only reason for which it may be dead-lettered while nothing else goes wrong; "" = it must complete.
KINDS: Final[Mapping[str, str]] = {
    "good": "",
    # Longer than its lease, where that can be extended.
    "slow": "",
    # Fails twice, once with a wait of its own.
    "flaky": "",
    "snoozing": "",
    "throttled": "",
    # Needs a while to end when it is cancelled.
    "stubborn": "",
    "raising": "exhausted",
    # Never ends by itself.
    "hanging": "exhausted",
    "rejected": "rejected",
    "undecodable": "undecodable",
    "unknown": "unknown-type",
    # Ends its process.
    "killer": "crash-loop",
    # Ends the first process that runs it.
    "deadly once": "",
    # Worthless after a while: it may end either way.
    "stale": "expired",
}
#: Those whose handler is never started.
UNSTARTED: Final = frozenset({"undecodable", "unknown"})


@dataclass(frozen=True)
class Worker:
    """Where a handler finds itself."""

    process: Process
    ledger: Ledger


async def handle(work: Work, ctx: Context, worker: Worker) -> None:
    """What every handler of the simulation does, and writes down."""
    run = worker.ledger.start(worker.process.name, ctx.message, worker.process.clock.skew_seconds)
    try:
        await _work(work, ctx, worker)
    except asyncio.CancelledError:
        _finish(worker, run, CUT)
        raise
    except Exception as error:
        _finish(worker, run, type(error).__name__)
        raise
    _finish(worker, run, EFFECT)


def _finish(worker: Worker, run: Run, outcome: str) -> None:
    if worker.process.alive:  # the dead write nothing, although what they left behind is cleared away
        worker.ledger.finish(run, outcome)


async def _work(work: Work, ctx: Context, worker: Worker) -> None:
    clock = worker.process.clock
    earlier = len(worker.ledger.orders[ctx.message.id].runs) - 1
    deadly = work.kind == "killer" or (work.kind == "deadly once" and not earlier)
    if deadly:
        await clock.sleep(work.seconds)
        worker.process.die()
    if deadly or work.kind == "hanging":
        await asyncio.get_running_loop().create_future()
    if work.kind == "stubborn":
        return await _stubborn(work, worker)
    await clock.sleep(work.seconds)
    match work.kind:
        case "raising":
            raise ValueError("poison")
        case "rejected":
            raise Reject("poison")
        case "flaky" if earlier < 2:
            raise Retry(after=0.5) if earlier else ConnectionError("not yet")
        case "snoozing" if earlier < 2:
            raise Snooze(after=1.5)
        case "throttled" if earlier < 1:
            raise Throttled(after=0.8)
    return None


async def _stubborn(work: Work, worker: Worker) -> None:
    try:
        await worker.process.clock.sleep(work.seconds)
    except asyncio.CancelledError:
        await worker.process.clock.sleep(0.4)
        raise
