"""Planted bugs in leases: each is caught by the cases that are named for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pytest
from leveler_memory.receiver import MemoryReceiver

from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler.errors import BatchError, LeaseLost


class ExtendsNothing(MemoryReceiver):
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        return


class ExtendsWithoutSayingSo(MemoryReceiver):
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        before = [delivery.leased_until for delivery in deliveries]
        await super().extend(deliveries)
        for delivery, until in zip(deliveries, before, strict=True):
            delivery.leased_until = until


class ExtendsOnlyTheFirst(MemoryReceiver):
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        await super().extend(deliveries[:1])


class ExtendsAllItHolds(MemoryReceiver):
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        await super().extend(deliveries)
        queue, now = self._begin()
        for entry in list(queue.leases):
            queue.leases.extend(entry, queue.leases.next_end(now))


class ExtendsWhatIsOver(MemoryReceiver):
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        with suppress(BatchError):
            await super().extend(deliveries)


class LetsOneLostLeaseStopAnExtension(MemoryReceiver):
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        _all_or_none(self, deliveries)
        await super().extend(deliveries)


class CompletesSomebodyElsesDelivery(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        queue, now = self._begin()
        leased = {entry.message.id: entry for entry in queue.leases}
        for delivery in deliveries:
            if delivery.message.id in leased:
                queue.remove(leased[delivery.message.id], now)


class GivesSomebodyElsesDeliveryBack(MemoryReceiver):
    async def abandon(self, items: Sequence[Abandon]) -> None:
        queue, now = self._begin()
        leased = {entry.message.id: entry for entry in queue.leases}
        for item in items:
            if entry := leased.get(item.delivery.message.id):
                queue.give_back(entry, now, delay_seconds=item.delay_seconds, counted=item.counted)
        await super().abandon(items)


class KeepsSilentAboutLateSettlements(MemoryReceiver):
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        with suppress(BatchError):
            await super().complete(deliveries)

    async def abandon(self, items: Sequence[Abandon]) -> None:
        with suppress(BatchError):
            await super().abandon(items)


class DeadLettersWhatIsNotItsOwn(MemoryReceiver):
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        queue, now = self._begin()
        assert queue.dead is not None
        queue.dead.send([item.delivery.message.dead(item.death) for item in items], now)
        with suppress(BatchError):
            await self.complete([item.delivery for item in items])


def _all_or_none(receiver: MemoryReceiver, deliveries: Sequence[Delivery]) -> None:
    if any(delivery.leased_until <= receiver._clock.monotonic() for delivery in deliveries):
        raise LeaseLost("one of them")


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    ExtendsNothing: ["lease-an_extended_lease_keeps_the_message_hidden", "lease-extending_says_how_long_it_holds"],
    ExtendsWithoutSayingSo: ["lease-an_extended_lease_ends_too", "lease-extending_says_how_long_it_holds"],
    ExtendsOnlyTheFirst: [
        "lease-extending_many_at_once_extends_each",
        "concurrency-extending_some_while_settling_others_is_safe",
    ],
    ExtendsAllItHolds: ["lease-extending_one_leaves_the_others_to_end"],
    ExtendsWhatIsOver: ["lease-extending_after_the_lease_is_refused"],
    LetsOneLostLeaseStopAnExtension: ["batch-one_lost_lease_does_not_keep_the_others_from_being_extended"],
    CompletesSomebodyElsesDelivery: ["lease-a_late_settlement_cannot_touch_the_next_holders_delivery"],
    GivesSomebodyElsesDeliveryBack: ["lease-a_late_settlement_does_not_free_the_next_holders_delivery"],
    KeepsSilentAboutLateSettlements: [
        "lease-completing_after_the_lease_is_refused",
        "lease-abandoning_after_the_lease_is_refused",
        "lease-abandoning_with_a_delay_after_the_lease_is_refused",
    ],
    DeadLettersWhatIsNotItsOwn: [
        "batch-one_lost_lease_does_not_keep_the_others_from_dying",
        "lease-dead_lettering_after_the_lease_is_refused",
    ],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
