"""Planted bugs in attempts and settling: each is caught by the cases that are named for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from leveler_memory.receiver import MemoryReceiver
from msgspec.structs import replace

from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler.errors import BatchError, BrokerError, LeaseLost, Unsupported
from leveler.message import Message


class CountsInItsOwnMemory(MemoryReceiver):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: Counter[str] = Counter()

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = await super().receive(credit, wait_seconds)
        for delivery in got:
            self.seen[delivery.message.id] += 1
            delivery.attempt = self.seen[delivery.message.id]
        return got


class CountsPerReceiver(MemoryReceiver):
    deliveries = 0

    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        got = await super().receive(credit, wait_seconds)
        for delivery in got:
            self.deliveries += 1
            delivery.attempt = self.deliveries
        return got


class CountsTheUncounted(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await super().abandon([item._replace(counted=True) for item in items])


class CountsNothing(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await super().abandon([item._replace(counted=False) for item in items])


class EndsItAfterFiveDeliveries(MemoryReceiver):
    """As RabbitMQ does after 20 and Service Bus after 10."""

    limit = 5

    async def abandon(self, items: Sequence[Abandon]) -> None:
        for item in items:
            if item.delivery.attempt >= self.limit:
                await self.complete([item.delivery])
            else:
                await super().abandon([item])


class EndsItAfterTwentyDeliveries(EndsItAfterFiveDeliveries):
    limit = 20


class EndsWhatIsThrottledTooOften(MemoryReceiver):
    times = 0

    async def abandon(self, items: Sequence[Abandon]) -> None:
        self.times += 1
        await (self.complete([item.delivery for item in items]) if self.times > 10 else super().abandon(items))


class SaysCopyAndMakesNone(MemoryReceiver):
    personality = "servicebus"

    def _copy(self, item: Abandon) -> Message:
        return replace(super()._copy(item), generation=item.delivery.message.generation)


class CompletesNothing(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        return


class ForgetsTheRestOfTheBatch(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await super().complete(deliveries[:1])


class FailsTheWholeBatch(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        _all_or_none(self, deliveries)
        await super().complete(deliveries)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        _all_or_none(self, [item.delivery for item in items])
        await super().abandon(items)

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        _all_or_none(self, [item.delivery for item in items])
        await super().dead_letter(items)


class NamesTheWrongItem(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await super().complete(deliveries)
        except BatchError as error:
            last = len(deliveries) - 1
            raise BatchError({last - index: why for index, why in error.failed.items()}) from error


class NamesTheFirstItemOnly(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await super().complete(deliveries)
        except BatchError as error:
            raise BatchError(dict([min(error.failed.items())])) from error


class RefusesEmptyBatches(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            raise BrokerError("an empty batch")
        await super().complete(deliveries)


class RefusesLargeBatches(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        if len(deliveries) > 9:
            raise Unsupported("too many")
        await super().complete(deliveries)


class MixesUpOverlappingVerbs(MemoryReceiver):
    pending: Sequence[Delivery] = ()

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        self.pending = deliveries
        await asyncio.sleep(0)
        with suppress(BatchError):
            await super().complete(self.pending)


class IgnoresDelays(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await super().abandon([item._replace(delay_seconds=0.0) for item in items])


class TakesOneDelayForAll(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        await super().abandon([item._replace(delay_seconds=items[0].delay_seconds) for item in items])


class GivesBackAtTheEndOfTheLease(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        return


class DelaysInItsOwnMemory(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        for item in items:
            self.waiting = asyncio.ensure_future(self._later(item))

    async def _later(self, item: Abandon) -> None:
        await self._clock.sleep(item.delay_seconds)
        with suppress(BrokerError):
            await super().abandon([item._replace(delay_seconds=0.0)])


class GivesBackToTheEndOfTheQueue(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        queue, now = self._begin()
        for item in items:
            queue.replace(item.delivery.receipt, self._copy(item), now)


class ForgetsTheEnvelopeWhenItCopies(MemoryReceiver):
    personality = "servicebus"

    def _copy(self, item: Abandon) -> Message:
        return replace(super()._copy(item), headers={}, priority=4, key=None)


class SendsTheCopyAndKeepsTheSource(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        queue, now = self._begin()
        queue.send([self._copy(item) for item in items], now)
        await super().abandon(items)


def _all_or_none(receiver: MemoryReceiver, deliveries: Sequence[Delivery]) -> None:
    if any(delivery.leased_until <= receiver._clock.monotonic() for delivery in deliveries):
        raise LeaseLost("one of them")


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    CountsInItsOwnMemory: [
        "attempts-another_connection_knows_the_attempts",
        "attempts-the_end_of_a_lease_counts_an_attempt",
    ],
    CountsPerReceiver: ["attempts-each_message_has_its_own_count"],
    CountsTheUncounted: [
        "attempts-giving_back_uncounted_works_with_a_delay",
        "copies-a_message_given_back_uncounted_is_neither_swallowed_nor_doubled",
        "attempts-giving_back_uncounted_keeps_the_attempt",
        "attempts-counted_and_uncounted_can_be_mixed",
        "attempts-giving_back_uncounted_never_loses_the_message",
        "batch-counted_and_uncounted_stand_in_one_batch",
    ],
    CountsNothing: [
        "attempts-giving_back_counts_an_attempt",
        "attempts-giving_back_with_a_delay_counts_an_attempt",
        "copies-a_message_given_back_with_a_delay_is_neither_swallowed_nor_doubled",
    ],
    EndsItAfterFiveDeliveries: ["attempts-the_brokers_own_limit_is_not_lower_than_asked"],
    EndsItAfterTwentyDeliveries: ["attempts-a_higher_limit_is_kept_too"],
    EndsWhatIsThrottledTooOften: ["attempts-giving_back_uncounted_has_no_end"],
    SaysCopyAndMakesNone: [
        "copies-a_message_given_back_with_a_delay_is_neither_swallowed_nor_doubled",
        "copies-a_message_given_back_uncounted_is_neither_swallowed_nor_doubled",
        "attempts-uncounted_is_a_copy_only_where_that_is_claimed",
    ],
    CompletesNothing: ["receive-a_completed_message_never_comes_again"],
    ForgetsTheRestOfTheBatch: [
        "batch-deliveries_of_different_receives_are_settled_together",
        "close-closing_undoes_nothing_that_was_settled",
    ],
    FailsTheWholeBatch: [
        "batch-one_lost_lease_does_not_keep_the_others_from_completing",
        "batch-one_lost_lease_does_not_keep_the_others_from_going_back",
        "batch-one_lost_lease_does_not_keep_the_others_from_dying",
    ],
    NamesTheWrongItem: ["batch-one_lost_lease_does_not_keep_the_others_from_completing"],
    NamesTheFirstItemOnly: ["batch-a_batch_that_is_lost_as_a_whole_says_so_for_each"],
    RefusesEmptyBatches: ["batch-an_empty_batch_is_fine_everywhere"],
    RefusesLargeBatches: ["batch-a_batch_of_the_largest_size_is_taken"],
    MixesUpOverlappingVerbs: ["concurrency-settlements_of_one_receiver_may_overlap"],
    IgnoresDelays: [
        "delay-a_message_given_back_with_a_delay_comes_when_it_is_over",
        "delay-a_delay_does_not_need_the_receiver_that_asked_for_it",
        "delay-a_delay_may_be_shorter_than_the_lease_or_longer",
    ],
    TakesOneDelayForAll: ["delay-each_message_of_a_batch_has_its_own_delay"],
    GivesBackAtTheEndOfTheLease: [
        "attempts-the_brokers_own_limit_is_not_lower_than_asked",
        "lease-a_delivery_that_was_given_back_is_over",
    ],
    DelaysInItsOwnMemory: ["delay-a_delay_does_not_need_the_receiver_that_asked_for_it"],
    GivesBackToTheEndOfTheQueue: ["ordering-a_head_that_is_given_back_comes_before_its_tail"],
    ForgetsTheEnvelopeWhenItCopies: ["delay-a_message_given_back_with_a_delay_is_whole"],
    SendsTheCopyAndKeepsTheSource: [
        "concurrency-failures_in_between_change_nothing",
        "delay-a_message_given_back_with_a_delay_comes_when_it_is_over",
        "copies-a_message_given_back_is_neither_swallowed_nor_doubled",
    ],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
