"""Planted bugs in receiving: each is caught by the cases that are named for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from leveler_memory.leases import Owner
from leveler_memory.queue import MemoryQueue
from leveler_memory.receiver import MemoryReceiver

from leveler.adapter import INFINITE, Delivery


class GivesMoreThanAsked(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        return await super().receive(credit + 1, wait_seconds)


class NeverWaits(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        return await super().receive(credit, 0.0)


class WaitsForEver(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        return await super().receive(credit, 1000.0)


class SleepsWhileItWaits(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        if found := await super().receive(credit, 0.0):
            return found
        await self._clock.sleep(wait_seconds)
        return await super().receive(credit, 0.0)


class WaitsForTheWholeCredit(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = list(await super().receive(credit, wait_seconds))
        if 0 < len(got) < credit:
            await self._clock.sleep(10.0)
        return got


class FallsAsleepOverAnEmptyQueue(MemoryReceiver):
    asleep = False

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = [] if self.asleep else await super().receive(credit, wait_seconds)
        self.asleep = not got
        return got


class ReturnsOneInFive(MemoryReceiver):
    """The others are lost on the way, but their leases hold them."""

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = await super().receive(credit, wait_seconds)
        return got[:5]


class FetchesAheadAndLosesIt(MemoryReceiver):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fetched: list[Delivery] = []

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        if not self.fetched:
            self.fetched = list(await super().receive(credit + 5, wait_seconds))
        got, self.fetched = self.fetched[:credit], self.fetched[credit:]
        return got


class StartsCountingAtZero(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = await super().receive(credit, wait_seconds)
        for delivery in got:
            delivery.attempt -= 1
        return got


class ClaimsThatLeasesNeverEnd(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = await super().receive(credit, wait_seconds)
        for delivery in got:
            delivery.leased_until = INFINITE
        return got


class HoardsWhatOthersCouldTake(MemoryReceiver):
    def __init__(self, *args: Any, capacity: int) -> None:
        super().__init__(*args, capacity=capacity + 10)
        self.hoard: list[Delivery] = []

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = self.hoard or await super().receive(credit + 10, wait_seconds)
        self.hoard = list(got[credit:])
        return got[:credit]


class TakesSomeInTheMomentOfStopping(MemoryReceiver):
    async def hold(self, limit: int) -> None:
        queue, now = self._begin()
        if not limit:
            queue.take(self._asked, self.owner, now)
        await super().hold(limit)


class BlocksReceiveWhileItSettles(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        if self._asked:
            await asyncio.Event().wait()
        await super().complete(deliveries)


class ForgetsHowManyBytesItMayBring(MemoryReceiver):
    def bound_bytes(self, most: int) -> None:
        """Never heard of it."""


class DoesNotTellTheReceiveUnderWay(MemoryReceiver):
    def bound_bytes(self, most: int) -> None:
        self._most_bytes = most


class LetsLargeOnesWaitForEver(MemoryQueue):
    def take_within(self, most_bytes: float, count: int, owner: Owner, now: float) -> list[Delivery]:
        return super().take_within(most_bytes, count, owner, now) if most_bytes >= 50 else []


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    GivesMoreThanAsked: ["receive-no_more_comes_than_was_asked_for"],
    NeverWaits: ["receive-an_empty_queue_is_waited_at_and_not_asked_all_the_time"],
    WaitsForEver: [
        "receive-an_empty_queue_answers_with_nothing_when_the_wait_is_over",
        "receive-without_a_wait_it_answers_at_once",
    ],
    SleepsWhileItWaits: ["receive-a_waiting_receive_wakes_when_a_message_comes"],
    WaitsForTheWholeCredit: ["receive-it_does_not_wait_for_more_than_the_first"],
    FallsAsleepOverAnEmptyQueue: ["receive-a_receiver_that_was_there_first_gets_what_comes_later"],
    ReturnsOneInFive: ["receive-a_backlog_comes_out_whole"],
    FetchesAheadAndLosesIt: [
        "flow-what_was_fetched_and_not_handed_out_goes_to_others_at_once",
        "close-what_was_not_handed_out_goes_to_others_at_once",
    ],
    StartsCountingAtZero: ["receive-a_first_delivery_is_attempt_one"],
    ClaimsThatLeasesNeverEnd: ["receive-a_timed_lease_has_an_end", "claims-a_lease_is_as_claimed"],
    HoardsWhatOthersCouldTake: [
        "receive-several_receivers_share_a_queue",
        "flow-what_is_above_the_capacity_is_for_others",
    ],
    TakesSomeInTheMomentOfStopping: ["flow-nothing_is_lost_in_a_receive_that_is_stopped"],
    BlocksReceiveWhileItSettles: ["receive-receive_runs_beside_settlements"],
    ForgetsHowManyBytesItMayBring: ["receive-no_more_bytes_come_than_were_allowed"],
    DoesNotTellTheReceiveUnderWay: ["receive-a_receive_that_waits_for_room_hears_that_there_is_some"],
    LetsLargeOnesWaitForEver: ["receive-what_is_larger_than_was_allowed_comes_alone"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
