"""Planted bugs in the marks of starts alone: each is caught by the cases that are named for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec
import pytest
from leveler_memory.entry import Entry
from leveler_memory.receiver import MemoryReceiver

from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler.errors import BatchError
from leveler.message import Message


class Mutant(MemoryReceiver):
    """Where starts alone are marked."""

    personality = "rabbitmq"


class MarksNothing(Mutant):
    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        await self.extend(deliveries)


class MarksWhateverItHandsOut(Mutant):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        deliveries = await super().receive(credit, wait_seconds)
        await self.mark_solo(deliveries)
        return deliveries


class MarksWhatIsGone(Mutant):
    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        with suppress(BatchError):
            await super().mark_solo(deliveries)


class MarksInMemoryUntilItCloses(Mutant):
    async def close(self) -> None:
        if self._queue is not None:
            for entry in self._queue.leases.owned(self.owner):
                entry.solo = False
        await super().close()


class LeavesTheLeaseAsItIs(Mutant):
    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        before = [delivery.leased_until for delivery in deliveries]
        await super().mark_solo(deliveries)
        for delivery, until in zip(deliveries, before, strict=True):
            delivery.leased_until = until


class ShowsTheMark(Mutant):
    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        await super().mark_solo(deliveries)
        for delivery in deliveries:
            delivery.message = _marked(delivery.message)


class GivesBackWithTheMark(Mutant):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        for item in items:
            entry: Entry = item.delivery.receipt
            if entry.solo:
                item.delivery.message = entry.message = _marked(entry.message)
        await super().abandon(items)


class LeavesWhatIsMarkedBehind(Mutant):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        queue, now = self._begin()
        marked = [item.delivery.message for item in items if item.delivery.receipt.solo]
        await super().dead_letter(items)
        queue.send(marked, now)


def _marked(message: Message) -> Message:
    return msgspec.structs.replace(message, solos=message.solos + 1)


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    MarksNothing: [
        "solos-what_is_marked_and_never_settled_comes_again_one_solo_more",
        "solos-the_end_of_the_connection_leaves_the_mark",
    ],
    MarksWhateverItHandsOut: ["solos-deliveries_that_nobody_marked_are_no_solos"],
    MarksWhatIsGone: ["solos-what_is_no_longer_ours_cannot_be_marked"],
    MarksInMemoryUntilItCloses: ["solos-the_end_of_the_connection_leaves_the_mark"],
    LeavesTheLeaseAsItIs: ["solos-a_mark_begins_a_new_lease"],
    ShowsTheMark: ["solos-what_is_marked_is_the_same_message_and_is_completed_as_usual"],
    GivesBackWithTheMark: [
        "solos-giving_back_strikes_the_mark_off",
        "solos-giving_back_with_a_delay_strikes_the_mark_off",
    ],
    LeavesWhatIsMarkedBehind: ["solos-what_is_marked_can_be_dead_lettered"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
