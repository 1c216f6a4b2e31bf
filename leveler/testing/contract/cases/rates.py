"""Rates: a schedule that all of a fleet share, where the adapter keeps such. Each name is a schedule of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from leveler.adapter import Adapter
from leveler.errors import Unsupported
from leveler.schedule import Ask, Stretch
from leveler.testing.contract.case import case
from leveler.testing.contract.needs import RATES, SHARED
from leveler.testing.contract.rig import Rig

#: How late a stretch may be. Far more than a call takes, so that a slow answer is not taken for saved-up time.
_LATE_SECONDS: Final = 1.0
#: Further ahead than anything that a case reserves without being asked to wait.
_AHEAD_SECONDS: Final = 60.0
#: Long enough for a case that counts, and short enough to be waited for.
_PRESENT_SECONDS: Final = 5.0
#: A clock that counts in microseconds rounds.
_ROUNDING_SECONDS: Final = 1e-3


def _rate() -> str:
    """A name that nobody has used."""
    return f"downstreams.contract-{uuid.uuid4().hex[:12]}"


def _ask(starts: int = 4, *, holder: str = "worker-1", interval: float = 0.5, ahead: float = _AHEAD_SECONDS) -> Ask:
    return Ask(holder, starts, interval, ahead, _LATE_SECONDS, _PRESENT_SECONDS)


async def _timed(t: Rig, adapter: Adapter, rate: str, ask: Ask) -> tuple[float, float, Stretch]:
    """When the stretch begins on the clock of the case, at the earliest and at the latest, and the answer."""
    asked = t.clock.monotonic()
    stretch = await adapter.reserve(rate, ask)
    answered = t.clock.monotonic()
    return asked + stretch.wait_seconds, answered + stretch.wait_seconds, stretch


def _check_apart(found: Sequence[tuple[float, float, Stretch]], interval: float) -> None:
    """No stretch begins before the one before it is over."""
    for (before, _, stretch), (_, after, _) in pairwise(found):
        assert after >= before + stretch.starts * interval - _ROUNDING_SECONDS, "two stretches overlap"


@case()
async def rates_are_as_claimed(t: Rig) -> None:
    """`Adapter.keeps_rates`: False means `Unsupported`."""
    try:
        stretch = await t.pace.until(t.adapter.reserve(_rate(), _ask()))
    except Unsupported:
        assert not t.adapter.keeps_rates, "rates are claimed and unsupported"
    else:
        assert t.adapter.keeps_rates, "reserving works and is not claimed"
        assert stretch.starts == 4


@case(RATES)
async def the_first_stretch_is_due_at_once(t: Rig) -> None:
    """Nobody has started anything: it may begin, and it is whole."""
    stretch = await t.pace.until(t.adapter.reserve(_rate(), _ask(3)))
    assert (stretch.starts, stretch.workers) == (3, 1)
    assert -_LATE_SECONDS - _ROUNDING_SECONDS <= stretch.wait_seconds <= 0


@case(RATES)
async def stretches_follow_each_other(t: Rig) -> None:
    """Each begins where the one before ends, whoever asks."""
    rate = _rate()
    asks = [_ask(starts, holder=f"worker-{starts % 2}") for starts in range(1, 6)]
    found = [await t.pace.until(_timed(t, t.adapter, rate, ask)) for ask in asks]
    _check_apart(found, 0.5)
    first, last = found[0][0], found[-1][1]
    assert last - first <= (1 + 2 + 3 + 4) * 0.5 + t.patience, "time is left out between two stretches"


@case(RATES, SHARED)
async def two_connections_share_a_rate(t: Rig) -> None:
    """As two processes do, and at the same moment."""
    rate, second = _rate(), await t.second()
    asks = [
        _timed(t, (t.adapter, second)[number % 2], rate, _ask(2, holder=f"worker-{number % 2}", interval=0.25))
        for number in range(20)
    ]
    found = await t.pace.until(asyncio.gather(*asks))
    # They were answered side by side, so that only all of them together say how long they take.
    whole = max(latest for _, latest, _ in found) - min(earliest for earliest, _, _ in found)
    assert whole >= 19 * 2 * 0.25 - _ROUNDING_SECONDS, "some stretch was given to two"
    assert {stretch.starts for _, _, stretch in found} == {2}


@case(RATES)
async def idle_time_is_not_saved_up(t: Rig) -> None:
    """After a pause the next stretch began `late_seconds` ago, and no earlier."""
    rate = _rate()
    await t.pace.until(t.adapter.reserve(rate, _ask(1)))
    await t.elapse(0.5 + 2 * _LATE_SECONDS)
    stretch = await t.pace.until(t.adapter.reserve(rate, _ask(1)))
    assert -_LATE_SECONDS - _ROUNDING_SECONDS <= stretch.wait_seconds <= 0


@case(RATES)
async def what_is_far_away_is_not_reserved(t: Rig) -> None:
    """`ahead_seconds`: nothing is reserved, the answer says when to ask again, and then it is."""
    rate = _rate()
    await t.pace.until(t.adapter.reserve(rate, _ask(8, interval=0.5)))
    # Asking takes nothing away.
    answers = [await t.pace.until(t.adapter.reserve(rate, _ask(1, ahead=1.0))) for _ in range(3)]
    assert [stretch.starts for stretch in answers] == [0, 0, 0], "what is far away was reserved"
    assert all(0 < stretch.wait_seconds <= 8 * 0.5 - 1.0 for stretch in answers)
    await t.elapse(answers[-1].wait_seconds + 0.01)
    stretch = await t.pace.until(t.adapter.reserve(rate, _ask(1, ahead=1.0)))
    assert stretch.starts == 1
    assert stretch.wait_seconds <= 1.0 + _ROUNDING_SECONDS


@case(RATES)
async def each_name_is_a_schedule_of_its_own(t: Rig) -> None:
    """What is reserved of one rate takes nothing from another, and who asks for one is not counted at another."""
    first, second = _rate(), _rate()
    await t.pace.until(t.adapter.reserve(first, _ask(100, holder="worker-1")))
    stretch = await t.pace.until(t.adapter.reserve(second, _ask(1, holder="worker-2")))
    assert (stretch.starts, stretch.workers) == (1, 1)
    assert stretch.wait_seconds <= 0


@case(RATES)
async def whoever_asks_is_counted(t: Rig) -> None:
    """`Stretch.workers`: each holder once, the one who asks included."""
    rate = _rate()
    for holder, count in (("worker-1", 1), ("worker-2", 2), ("worker-1", 2), ("worker-3", 3), ("worker-2", 3)):
        stretch = await t.pace.until(t.adapter.reserve(rate, _ask(1, holder=holder, ahead=0.1)))
        assert stretch.workers == count


@case(RATES)
async def whoever_asks_no_more_is_not_counted_for_long(t: Rig) -> None:
    """A worker that died is forgotten, and the others share what was its own."""
    rate = _rate()
    await t.pace.until(t.adapter.reserve(rate, _ask(1, holder="worker-1")))
    await t.elapse(_PRESENT_SECONDS + 0.5)
    stretch = await t.pace.until(t.adapter.reserve(rate, _ask(1, holder="worker-2")))
    assert stretch.workers == 1


@case(RATES, SHARED)
async def a_rate_outlives_the_connection(t: Rig) -> None:
    """A client that starts anew does not start the schedule anew."""
    rate = _rate()
    async with t.target.adapter(t.clock) as before:
        await t.pace.until(before.reserve(rate, _ask(20, interval=0.5)))
    async with t.target.adapter(t.clock) as after:
        stretch = await t.pace.until(after.reserve(rate, _ask(1)))
    assert stretch.wait_seconds >= 20 * 0.5 - _LATE_SECONDS - t.patience, "what was reserved is forgotten"
