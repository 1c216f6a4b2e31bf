"""Planted bugs in queues (leases, order, priorities, duplicates, delays): each is caught by the cases named for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from leveler_memory.entry import Entry
from leveler_memory.leases import Owner
from leveler_memory.queue import MemoryQueue
from leveler_memory.recent import Recent
from msgspec.structs import replace

from leveler.adapter import INFINITE, Delivery
from leveler.errors import LevelerError
from leveler.message import Message


class NeverEndsALease(MemoryQueue):
    def catch_up(self) -> float:
        self.leases.first_end = INFINITE
        return super().catch_up()


class EndsAllLeasesAtOnce(MemoryQueue):
    def catch_up(self) -> float:
        if self.leases.first_end <= self._clock.monotonic():
            for entry, _ in self.leases.items():
                self.leases.extend(entry, self.leases.first_end)
        return super().catch_up()


class TellsNobodyThatALeaseEnded(MemoryQueue):
    def next_due(self) -> float:
        return INFINITE


class LeasesNothing(MemoryQueue):
    def take(self, count: int, owner: Owner, now: float) -> list[Delivery]:
        deliveries = super().take(count, owner, now)
        for delivery in deliveries:
            self.send([delivery.message], now)
        return deliveries


class LeasesForHalfTheTime(MemoryQueue):
    def configure(self, *, lease_seconds: float, **settings: Any) -> None:
        super().configure(lease_seconds=lease_seconds / 2, **settings)


class LeasesForTwiceTheTime(MemoryQueue):
    def configure(self, *, lease_seconds: float, **settings: Any) -> None:
        super().configure(lease_seconds=lease_seconds * 2, **settings)


class IgnoresItsBound(MemoryQueue):
    def configure(self, *, max_depth: int | None = None, **settings: Any) -> None:
        super().configure(max_depth=None, **settings)


class DropsTheOldestWhenFull(MemoryQueue):
    """As a stream that is trimmed to its bound."""

    def send(self, messages: Sequence[Message], now: float) -> list[int]:
        if self.max_depth is not None and len(self._waiting) >= self.max_depth:
            self._waiting.take(1, now)
        return super().send(messages, now)


class StaysFull(MemoryQueue):
    was_full = False

    def send(self, messages: Sequence[Message], now: float) -> list[int]:
        refused = list(range(len(messages))) if self.was_full else super().send(messages, now)
        self.was_full = bool(refused)
        return refused


class IgnoresPriorities(MemoryQueue):
    def __init__(self, *args: Any, priority_levels: int = 1, **settings: Any) -> None:
        super().__init__(*args, priority_levels=1, **settings)


class TurnsPrioritiesRound(MemoryQueue):
    def _append(self, messages: Sequence[Message], now: float) -> None:
        super()._append([replace(message, priority=9 - message.priority) for message in messages], now)


class ForgetsPrioritiesOfWhatComesBack(MemoryQueue):
    def _return(self, entry: Entry, now: float, **details: Any) -> None:
        entry.message = replace(entry.message, priority=0)
        super()._return(entry, now, **details)


class IgnoresOrder(MemoryQueue):
    def __init__(self, *args: Any, ordered: bool = False, **settings: Any) -> None:
        super().__init__(*args, ordered=False, **settings)


class OrdersTheWholeQueueAsOneKey(MemoryQueue):
    def _append(self, messages: Sequence[Message], now: float) -> None:
        if self._ordered:
            messages = [replace(message, key="one") for message in messages]
        super()._append(messages, now)


class NeverFreesAKey(MemoryQueue):
    def complete(self, deliveries: Sequence[Delivery], owner: Owner, now: float) -> dict[int, LevelerError]:
        return self.leases.end_held(deliveries, owner)

    def remove(self, entry: Entry, now: float) -> None:
        self.leases.end(entry)


class NewestFirst(MemoryQueue):
    def _append(self, messages: Sequence[Message], now: float) -> None:
        for message in messages:
            self._sent -= 2
            super()._append([message], now)


class LosesWhatHasNoKey(MemoryQueue):
    def _append(self, messages: Sequence[Message], now: float) -> None:
        super()._append([one for one in messages if one.key is not None or not self._ordered], now)


class ReturnsBackToFront(MemoryQueue):
    def _return(self, entry: Entry, now: float, **details: Any) -> None:
        entry.position = -entry.position
        super()._return(entry, now, **details)


class ReturnsNewestFirst(MemoryQueue):
    def _return(self, entry: Entry, now: float, **details: Any) -> None:
        entry.position += 1000
        super()._return(entry, now, **details)


class GivesTailsTheSameTurn(MemoryQueue):
    def take(self, count: int, owner: Owner, now: float) -> list[Delivery]:
        return super().take(count, owner, now)[::-1]


class ComparesBodies(MemoryQueue):
    def _is_duplicate(self, message: Message, now: float) -> bool:
        return self._recent is not None and not self._recent.is_new(message.body.hex(), now)

    def _remember(self, message: Message, now: float) -> None:
        if self._recent is not None:
            self._recent.remember(message.body.hex(), now)


class ComparesIdsOnly(MemoryQueue):
    def _is_duplicate(self, message: Message, now: float) -> bool:
        return super()._is_duplicate(replace(message, generation=0), now)

    def _remember(self, message: Message, now: float) -> None:
        super()._remember(replace(message, generation=0), now)


class ComparesFirstGenerationsOnly(MemoryQueue):
    def _is_duplicate(self, message: Message, now: float) -> bool:
        return message.generation == 0 and super()._is_duplicate(message, now)


class DropsNoDuplicates(MemoryQueue):
    def _is_duplicate(self, message: Message, now: float) -> bool:
        return False


class DropsDuplicatesOfWhatIsReadyOnly(MemoryQueue):
    def _is_duplicate(self, message: Message, now: float) -> bool:
        return message.not_before is None and super()._is_duplicate(message, now)


class ForgetsWhatIsDone(MemoryQueue):
    def complete(self, deliveries: Sequence[Delivery], owner: Owner, now: float) -> dict[int, LevelerError]:
        if self._recent is not None:
            self._recent = Recent(self._recent.window_seconds)
        return super().complete(deliveries, owner, now)


class NeverForgets(MemoryQueue):
    def configure(self, *, dedup_seconds: float = 0.0, **settings: Any) -> None:
        super().configure(dedup_seconds=dedup_seconds and INFINITE, **settings)


class ComesEarly(MemoryQueue):
    def _delay_seconds(self, message: Message) -> float:
        return 0.5 * super()._delay_seconds(message)


class ComesLate(MemoryQueue):
    def _delay_seconds(self, message: Message) -> float:
        return 3 * super()._delay_seconds(message) + 10


class WaitsLongerThanItClaims(MemoryQueue):
    personality = "sqs"

    def _delay_seconds(self, message: Message) -> float:
        return message.delay_seconds(self._clock.now())


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    NeverEndsALease: [
        "lease-a_message_whose_lease_is_over_comes_again",
        "lease-completing_after_the_lease_is_refused",
        "lease-an_extended_lease_ends_too",
    ],
    EndsAllLeasesAtOnce: ["lease-leases_end_one_by_one", "lease-extending_many_at_once_extends_each"],
    TellsNobodyThatALeaseEnded: [
        "lease-a_message_whose_lease_is_over_comes_again_to_whoever_waits",
        "delay-a_receive_that_waits_sees_a_delayed_message_fall_due",
    ],
    LeasesNothing: [
        "lease-a_leased_message_is_hidden_from_others",
        "concurrency-many_receivers_never_hold_one_message_twice",
        "concurrency-two_connections_never_hold_one_message_twice",
        "concurrency-sending_and_receiving_at_once_loses_nothing",
    ],
    LeasesForHalfTheTime: ["lease-an_extended_lease_keeps_the_message_hidden"],
    LeasesForTwiceTheTime: ["receive-the_lease_starts_with_the_delivery"],
    IgnoresItsBound: ["send-a_bounded_queue_refuses_when_it_is_full"],
    DropsTheOldestWhenFull: ["send-a_bounded_queue_refuses_when_it_is_full"],
    StaysFull: ["send-a_bounded_queue_takes_more_when_there_is_room_again"],
    IgnoresPriorities: [
        "priority-higher_priorities_come_first",
        "priority-more_than_the_usual_priority_comes_before_it",
        "priority-ten_levels_are_ten_levels",
    ],
    TurnsPrioritiesRound: ["priority-a_priority_is_part_of_the_message"],
    ForgetsPrioritiesOfWhatComesBack: ["priority-a_message_that_is_given_back_keeps_its_priority"],
    IgnoresOrder: ["ordering-a_key_is_in_one_pair_of_hands", "claims-ordering_is_as_claimed"],
    OrdersTheWholeQueueAsOneKey: ["ordering-a_delay_blocks_its_key_and_only_its_key", "ordering-other_keys_go_on"],
    NeverFreesAKey: [
        "ordering-a_completed_head_lets_the_next_one_through",
        "ordering-a_dead_lettered_head_lets_the_rest_go_on_in_order",
    ],
    NewestFirst: ["ordering-messages_of_one_key_come_in_the_order_they_were_sent_in"],
    LosesWhatHasNoKey: ["ordering-messages_without_a_key_come_all_the_same"],
    ReturnsBackToFront: ["ordering-a_whole_list_that_is_given_back_keeps_its_order"],
    ReturnsNewestFirst: [
        "ordering-a_head_whose_lease_is_over_comes_before_its_tail",
        "ordering-order_holds_with_many_keys_and_many_receivers",
        "ordering-a_head_that_is_given_back_comes_before_its_tail",
    ],
    GivesTailsTheSameTurn: ["ordering-within_one_answer_they_are_in_order_too"],
    ComparesBodies: ["copies-it_is_the_dedup_key_that_counts"],
    ComparesIdsOnly: [
        "copies-each_generation_is_sent_once",
        "copies-a_replay_is_neither_swallowed_nor_doubled",
        "copies-a_replay_that_is_repeated_comes_once",
    ],
    ComparesFirstGenerationsOnly: [
        "copies-a_replay_that_is_repeated_comes_once",
        "copies-each_generation_is_sent_once",
    ],
    DropsNoDuplicates: ["copies-a_message_that_is_sent_again_comes_once", "claims-dedup_is_as_claimed"],
    DropsDuplicatesOfWhatIsReadyOnly: ["copies-a_delayed_message_that_is_sent_again_comes_once"],
    ForgetsWhatIsDone: ["copies-what_is_done_is_remembered_too"],
    NeverForgets: ["copies-a_key_is_forgotten_when_its_time_is_over"],
    ComesEarly: ["delay-a_delayed_message_comes_when_its_time_has_come"],
    ComesLate: ["delay-a_moment_in_the_past_is_no_delay"],
    WaitsLongerThanItClaims: ["delay-a_delay_above_what_the_broker_keeps_ends_early"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
