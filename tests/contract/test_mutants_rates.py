"""Planted bugs in keeping the rates of a fleet: each is caught by the cases that are named for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from leveler_memory import MemoryAdapter

from leveler.errors import Unsupported
from leveler.schedule import Ask, Mark, Stretch
from tests.contract.test_mutants_adapter import QueuesDieWithTheirConnection


class ClaimsNoRates(MemoryAdapter):
    keeps_rates = False


class ClaimsRatesItDoesNotKeep(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        raise Unsupported("no rates here")


class BeginsAStretchLate(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        stretch = await super().reserve(rate, ask)
        return stretch._replace(wait_seconds=stretch.wait_seconds + 1.5)


class GivesLessThanWasAskedFor(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        return (await super().reserve(rate, ask))._replace(starts=1)


class GivesAStretchToTwo(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        before = dict(self._rates)
        stretch = await super().reserve(rate, ask)
        if ask.holder == "worker-1":
            self._rates = before
        return stretch


class LeavesTimeOut(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        stretch = await super().reserve(rate, ask)
        mark = self._rates[rate]
        self._rates[rate] = Mark(mark.due + 2.0, mark.length_seconds + 2.0)
        return stretch


class SavesIdleTimeUp(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        return await super().reserve(rate, ask._replace(late_seconds=60.0))


class ReservesWhatIsFarAway(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        return await super().reserve(rate, ask._replace(ahead_seconds=3600.0))


class SendsAwayForTooLong(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        stretch = await super().reserve(rate, ask)
        return stretch if stretch.starts else stretch._replace(wait_seconds=stretch.wait_seconds + 5.0)


class HasOneScheduleForAll(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        return await super().reserve("all", ask)


class CountsEveryAsk(MemoryAdapter):
    asked = 0

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        self.asked += 1
        return await super().reserve(rate, ask._replace(holder=f"{ask.holder} {self.asked}"))


class CountsNobody(MemoryAdapter):
    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        return (await super().reserve(rate, ask))._replace(workers=0)


class CountsTheDead(MemoryAdapter):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.seen: dict[str, set[str]] = {}

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        stretch = await super().reserve(rate, ask)
        self.seen.setdefault(rate, set()).add(ask.holder)
        return stretch._replace(workers=len(self.seen[rate]))


MUTANTS: Mapping[type, Sequence[str]] = {
    ClaimsNoRates: ["rates-rates_are_as_claimed"],
    ClaimsRatesItDoesNotKeep: ["rates-rates_are_as_claimed"],
    BeginsAStretchLate: ["rates-the_first_stretch_is_due_at_once", "rates-idle_time_is_not_saved_up"],
    GivesLessThanWasAskedFor: ["rates-the_first_stretch_is_due_at_once", "rates-rates_are_as_claimed"],
    GivesAStretchToTwo: ["rates-stretches_follow_each_other"],
    LeavesTimeOut: ["rates-stretches_follow_each_other"],
    SavesIdleTimeUp: ["rates-idle_time_is_not_saved_up"],
    ReservesWhatIsFarAway: ["rates-what_is_far_away_is_not_reserved"],
    SendsAwayForTooLong: ["rates-what_is_far_away_is_not_reserved"],
    HasOneScheduleForAll: ["rates-each_name_is_a_schedule_of_its_own"],
    CountsEveryAsk: ["rates-whoever_asks_is_counted"],
    CountsNobody: ["rates-whoever_asks_is_counted", "rates-the_first_stretch_is_due_at_once"],
    CountsTheDead: ["rates-whoever_asks_no_more_is_not_counted_for_long"],
    QueuesDieWithTheirConnection: ["rates-two_connections_share_a_rate", "rates-a_rate_outlives_the_connection"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
