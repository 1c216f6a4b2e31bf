"""Planted bugs in dead letters: each is caught by the cases that are named for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from leveler_memory import MemoryAdapter
from leveler_memory.receiver import MemoryReceiver

from leveler.adapter import Abandon, Capabilities, DeadLetter, Delivery, QueueSpec
from leveler.errors import BatchError, MessageTooLarge, Unsupported
from leveler.message import MAX_DETAIL_BYTES, Death, Message


class RemovesBeforeItCopies(MemoryReceiver):
    """And then the copy is refused: a crash between the two would be the same."""

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        if any(len(item.death.detail) > MAX_DETAIL_BYTES for item in items):
            await self.complete([item.delivery for item in items])
            raise MessageTooLarge("the copy is too large")
        await super().dead_letter(items)


class SendsNoDeadLetter(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await self.complete([item.delivery for item in items])


class LeavesTheDeadLetterInItsQueue(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        queue, now = self._begin()
        assert queue.dead is not None
        queue.dead.send([item.delivery.message.dead(item.death) for item in items], now)


class GivesNoReason(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await super().dead_letter([DeadLetter(item.delivery, Death(reason="dead")) for item in items])


class GivesOneReasonForAll(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await super().dead_letter([DeadLetter(item.delivery, items[0].death) for item in items])


class KeepsOnlyTheBodyOfTheDead(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        for item in items:
            message = item.delivery.message
            item.delivery.receipt.message = Message(id=message.id, body=message.body, time=message.time)
        await super().dead_letter(items)


class CannotSendALongDetail(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        if any(len(item.death.detail.encode()) >= MAX_DETAIL_BYTES for item in items):
            raise MessageTooLarge("the copy is too large")
        await super().dead_letter(items)


class CannotBuryTheLargest(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        if any(len(item.delivery.message.body) > 200 * 1024 for item in items):
            raise MessageTooLarge("the copy is too large")
        await super().dead_letter(items)


class BuriesTheDeadAgain(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        if self._begin()[0].dead is None:
            await self.complete([item.delivery for item in items])
        else:
            await super().dead_letter(items)


class BuriesAMessageOnlyOnce(MemoryReceiver):
    """As a queue of dead letters does that drops duplicates by id."""

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        again = [item.delivery for item in items if item.delivery.message.replays]
        await self.complete(again)
        await super().dead_letter([item for item in items if item.delivery not in again])


class CountsTheDead(MemoryReceiver):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: Counter[str] = Counter()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = await super().receive(credit, wait_seconds)
        if self._begin()[0].dead is None:
            for delivery in got:
                self.seen[delivery.message.id] += 1
                delivery.attempt += self.seen[delivery.message.id]
        return got


class LosesWhatIsListedTooOften(MemoryReceiver):
    """As a plain requeue does at a broker with a delivery limit."""

    times = 0

    async def abandon(self, items: Sequence[Abandon]) -> None:
        self.times += 1
        if self._begin()[0].dead is None and self.times > 20:
            await self.complete([item.delivery for item in items])
        else:
            await super().abandon(items)


class LetsTheDeadExpire(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = await super().receive(credit, wait_seconds)
        now = self._clock.now()
        expired = [one for one in got if one.message.expires_at is not None and one.message.expires_at <= now]
        await self.complete(expired)
        return [delivery for delivery in got if delivery not in expired]


class TakesTheDeadDestructively(MemoryReceiver):
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = await super().receive(credit, wait_seconds)
        if self._begin()[0].dead is None:
            await self.complete(got)
        return got

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        with suppress(BatchError):
            await super().complete(deliveries)


class KeepsTheDeadForEver(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        if self._begin()[0].dead is None:
            await self.abandon([Abandon(delivery) for delivery in deliveries])
        else:
            await super().complete(deliveries)


class PurgesBoth(MemoryAdapter):
    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        await super().purge(queue, dead=not dead)
        return await super().purge(queue, dead=dead)


class PurgesNothing(MemoryAdapter):
    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        return 0


class CannotPeekAtTheDead(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        if dead:
            raise Unsupported("no peek")
        return await super().peek(queue, limit, dead=dead)


class PeeksAtTheDeadOnce(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        seen = await super().peek(queue, limit, dead=dead)
        if dead:
            await self.purge(queue, dead=True)
        return seen


class SharesOneDeadLetterQueue(MemoryAdapter):
    async def declare(self, queue: QueueSpec) -> Capabilities:
        said = await super().declare(queue)
        dead = next(self._queues[name] for name in self._queues if name.endswith("-dead"))
        self._queues[queue.dead_name] = self._queues[queue.name].dead = dead
        return said


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    RemovesBeforeItCopies: ["deadletter-a_dead_letter_that_is_refused_leaves_the_message_where_it_was"],
    SendsNoDeadLetter: [
        "flow-what_is_held_can_be_settled_after_stopping",
        "copies-a_dead_letter_is_neither_swallowed_nor_doubled",
        "deadletter-a_dead_letter_has_left_its_queue",
    ],
    LeavesTheDeadLetterInItsQueue: ["deadletter-a_dead_letter_has_left_its_queue"],
    GivesNoReason: ["deadletter-a_dead_letter_says_why"],
    GivesOneReasonForAll: ["deadletter-each_dead_letter_of_a_batch_has_its_own_reason"],
    KeepsOnlyTheBodyOfTheDead: [
        "deadletter-a_dead_letter_is_the_message_itself",
        "deadletter-a_dead_letter_can_be_replayed",
    ],
    CannotSendALongDetail: ["deadletter-the_longest_detail_fits"],
    CannotBuryTheLargest: ["deadletter-the_largest_message_can_be_dead_lettered"],
    BuriesTheDeadAgain: ["deadletter-a_dead_letter_cannot_die_again"],
    BuriesAMessageOnlyOnce: [
        "deadletter-a_replayed_message_can_die_again",
        "copies-a_replay_is_neither_swallowed_nor_doubled",
    ],
    CountsTheDead: ["deadletter-giving_a_dead_letter_back_thirty_times_loses_nothing"],
    LosesWhatIsListedTooOften: ["deadletter-giving_a_dead_letter_back_thirty_times_loses_nothing"],
    LetsTheDeadExpire: ["deadletter-a_dead_letter_does_not_expire"],
    TakesTheDeadDestructively: ["deadletter-a_dead_letter_whose_reader_dies_is_not_lost"],
    KeepsTheDeadForEver: ["deadletter-a_completed_dead_letter_is_gone", "deadletter-a_dead_letter_can_be_replayed"],
    PurgesBoth: [
        "deadletter-purging_the_queue_leaves_the_dead_letters_alone",
        "deadletter-purging_the_dead_letters_leaves_the_queue_alone",
    ],
    PurgesNothing: ["depth-purging_removes_what_waits"],
    CannotPeekAtTheDead: ["deadletter-dead_letters_can_always_be_peeked_at"],
    PeeksAtTheDeadOnce: ["deadletter-dead_letters_can_always_be_peeked_at"],
    SharesOneDeadLetterQueue: ["queues-queues_do_not_mix"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
