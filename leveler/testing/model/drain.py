"""The end of a run: everything is taken and completed, and nothing may be missing."""

from __future__ import annotations

from typing import Final

from leveler.testing.model.bench import Bench
from leveler.testing.model.item import Hands
from leveler.testing.model.violation import check

_CREDIT: Final = 100

#: Rounds of nothing but waiting, before what has not come by then is called lost.
_ROUNDS: Final = 200


async def drain(bench: Bench, leaving: list[Hands], crashed: list[Hands]) -> None:
    """After it, whatever was accepted has been delivered: else it is lost. What comes besides is a phantom.

    Args:
        leaving: receivers to be closed first.
        crashed: receivers that nobody closes, as long as their leases end by themselves.
    """
    bench.note("-- everything is drained")
    for hands in leaving:
        await bench.close(hands)
    if bench.rig.can.lease != "timed" or not bench.reference.terms.strict:
        for hands in crashed:
            await bench.close(hands)
    await bench.asking.settle_down()
    for dead in (False, True):
        await _empty(bench, dead=dead)
    await _check_silence(bench)


async def _empty(bench: Bench, *, dead: bool) -> None:
    hands = bench.open("the drain of the dead" if dead else "the drain", _CREDIT, dead=dead)
    idle = 0
    while left := [item for item in bench.reference.lost() if item.dead == dead]:
        before = len(hands.holds)
        await bench.receive(hands, min(_CREDIT, bench.rig.can.max_batch), _wait(bench))
        await _answered(bench, hands)
        if holds := hands.holds[before:]:
            await bench.complete(hands, holds)
            continue
        idle += 1
        check(idle < _ROUNDS, f"lost: {', '.join(map(str, left))}")
        due = bench.reference.next_due(bench.now)
        await bench.elapse(0.1 if due is None else due + 0.01 - bench.now)
    await bench.close(hands)


async def _check_silence(bench: Bench) -> None:
    """What was settled does not come back, not when its lease would have ended either."""
    await bench.elapse(bench.rig.lease + 0.01)
    for dead in (False, True):
        hands = bench.open("the last", _CREDIT, dead=dead)
        await bench.receive(hands, 1, _wait(bench))
        await _answered(bench, hands)
        await bench.close(hands)
    if bench.rig.can.depth != "none" and not bench.reference.items:
        await bench.rig.depth_is(ready=0, leased=0, delayed=0, dead=0)


async def _answered(bench: Bench, hands: Hands) -> None:
    while bench.asking.is_asking(hands):
        await bench.elapse(0.1)


def _wait(bench: Bench) -> float:
    """A broker that is exact has it at once."""
    return 0.0 if bench.reference.terms.strict else bench.rig.patience
