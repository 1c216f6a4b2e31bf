"""Planted bugs in flow and closing: each is caught by the cases that are named for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from leveler_memory.receiver import MemoryReceiver

from leveler.adapter import Delivery
from leveler.errors import BrokerError
from leveler.message import Message


class KeepsReceivingWhenStopped(MemoryReceiver):
    async def hold(self, limit: int) -> None:
        if limit:
            await super().hold(limit)


class StopsForGood(MemoryReceiver):
    async def hold(self, limit: int) -> None:
        await super().hold(min(limit, self._limit))


class StopsAfterTheWait(MemoryReceiver):
    async def hold(self, limit: int) -> None:
        self._begin()
        self._limit = min(limit, self._capacity)


class StopsAndForgetsWhatItHolds(MemoryReceiver):
    async def hold(self, limit: int) -> None:
        await super().hold(limit)
        queue, now = self._begin()
        if not limit:
            queue.surrender(self.owner, now)


class IgnoresItsCapacity(MemoryReceiver):
    def __init__(self, *args: Any, capacity: int) -> None:
        super().__init__(*args, capacity=10_000)


class NeverFreesAPlace(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await super().complete(deliveries)
        self.owner.held += len(deliveries)


class CountsOnlyWhatOneReceiveGave(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        held, self.owner.held = self.owner.held, 0
        try:
            return await super().receive(credit, wait_seconds)
        finally:
            self.owner.held += held


class ClosesOnlyOnce(MemoryReceiver):
    async def close(self) -> None:
        if self._closed:
            raise BrokerError("it is closed")
        await super().close()


class GivesEverythingBackUncountedWhenClosing(MemoryReceiver):
    async def close(self) -> None:
        if not self._closed and self._queue is not None:
            mine = self._queue.leases.owned(self.owner)
            for entry in mine:
                self._queue.give_back(entry, self._clock.monotonic(), delay_seconds=0.0, counted=False)
        await super().close()


class KeepsItsLeasesWhenTheConnectionEnds(MemoryReceiver):
    async def close(self) -> None:
        self._closed = True


class UndoesWhatItSettledWhenClosing(MemoryReceiver):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.done: list[Message] = []

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        self.done += [delivery.message for delivery in deliveries]
        await super().complete(deliveries)

    async def close(self) -> None:
        if self._queue and not self._closed:
            self._queue.send(self.done, self._clock.monotonic())
        await super().close()


class WorksOnAfterClosing(MemoryReceiver):
    async def close(self) -> None:
        if self._queue:
            self._queue.waiters.wake()


class HangsWhenClosedInTheMiddle(MemoryReceiver):
    async def close(self) -> None:
        if not self._asked:
            await super().close()


class ClosesTheOthersToo(MemoryReceiver):
    async def close(self) -> None:
        await super().close()
        if self._queue:
            for entry in list(self._queue.leases):
                self._queue.give_back(entry, self._clock.monotonic(), delay_seconds=0.0, counted=True)


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    KeepsReceivingWhenStopped: ["flow-nothing_comes_while_the_flow_is_stopped"],
    StopsForGood: ["flow-raising_the_limit_starts_the_flow_again", "flow-a_higher_limit_lets_more_in"],
    StopsAfterTheWait: ["flow-stopping_ends_a_receive_under_way"],
    StopsAndForgetsWhatItHolds: ["lease-a_leased_message_is_hidden_from_others"],
    IgnoresItsCapacity: ["flow-no_more_is_held_than_the_capacity"],
    NeverFreesAPlace: ["concurrency-sending_and_receiving_at_once_loses_nothing", "flow-what_is_settled_makes_room"],
    CountsOnlyWhatOneReceiveGave: ["flow-a_lower_limit_counts_what_is_held_already"],
    ClosesOnlyOnce: ["close-closing_twice_is_fine"],
    GivesEverythingBackUncountedWhenClosing: ["close-what_was_handed_out_comes_back_counted"],
    KeepsItsLeasesWhenTheConnectionEnds: ["close-closing_ends_a_receive_under_way"],
    UndoesWhatItSettledWhenClosing: ["close-closing_undoes_nothing_that_was_settled"],
    WorksOnAfterClosing: [
        "close-a_closed_receiver_settles_nothing",
        "close-a_closed_receiver_takes_nothing",
        "close-a_closed_receiver_extends_nothing",
    ],
    HangsWhenClosedInTheMiddle: ["close-closing_ends_a_receive_under_way"],
    ClosesTheOthersToo: ["close-closing_one_leaves_the_others_alone", "lease-settling_twice_does_no_harm"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
