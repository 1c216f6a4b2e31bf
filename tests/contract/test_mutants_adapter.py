"""Planted bugs in declaring, looking, purging and claiming: each is caught by the cases that are named for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace as replace_spec
from typing import Any

import pytest
from leveler_memory import MemoryAdapter
from leveler_memory.queue import MemoryQueue
from msgspec.structs import replace

from leveler.adapter import Abandon, Capabilities, Depth, QueueSpec
from leveler.errors import ConfigError, QueueNotFound
from leveler.message import Message


class QueuesDieWithTheirConnection(MemoryAdapter):
    """It claims to be reachable by others, and what one connection sends another never sees."""

    async def declare(self, queue: QueueSpec) -> Capabilities:
        return replace_spec(await super().declare(queue), scope="host")


class DropsNothing(MemoryAdapter):
    async def drop(self, queue: QueueSpec) -> None:
        return


class DropsOnlyOnce(MemoryAdapter):
    async def drop(self, queue: QueueSpec) -> None:
        self._find(queue.name)
        await super().drop(queue)


class DropsByPrefix(MemoryAdapter):
    async def drop(self, queue: QueueSpec) -> None:
        for name in [name for name in self._queues if name.startswith(queue.name)]:
            await super().drop(replace_spec(queue, name=name))


class StartsAfreshWhenDeclaredAgain(MemoryAdapter):
    async def declare(self, queue: QueueSpec) -> Capabilities:
        if queue.declare == "create":
            await self.drop(queue)
        return await super().declare(queue)


class VerifiesNothing(MemoryAdapter):
    async def declare(self, queue: QueueSpec) -> Capabilities:
        return await super().declare(replace_spec(queue, declare="create"))


class FailsToVerify(MemoryAdapter):
    async def declare(self, queue: QueueSpec) -> Capabilities:
        if queue.declare == "verify":
            raise QueueNotFound("not found")
        return await super().declare(queue)


class KnowsNothingWhenItSkips(MemoryAdapter):
    async def declare(self, queue: QueueSpec) -> Capabilities:
        said = await super().declare(queue)
        if queue.declare == "skip":
            raise ConfigError("nothing is known")
        return said


class RefusesLongNames(MemoryAdapter):
    async def declare(self, queue: QueueSpec) -> Capabilities:
        if len(queue.dead_name) > 60:
            raise ConfigError("the name is too long")
        return await super().declare(queue)


class LetsForeignErrorsThrough(MemoryAdapter):
    def _find(self, name: str) -> MemoryQueue:
        if name not in self._queues:
            raise OSError(f"no such file: {name}")
        return super()._find(name)


class CreatesWhatItDoesNotFind(MemoryAdapter):
    def _find(self, name: str) -> MemoryQueue:
        if name not in self._queues:
            self._queues[name] = MemoryQueue(name, self.clock)
        return self._queues[name]


class TakesAnyLease(MemoryAdapter):
    personality = "servicebus"

    async def declare(self, queue: QueueSpec) -> Capabilities:
        return await super().declare(replace_spec(queue, lease_seconds=min(queue.lease_seconds, 300.0)))


class PeeksByReceiving(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        receiver = self.receiver(queue, capacity=limit, dead=dead)
        return [delivery.message for delivery in await receiver.receive(limit, 0.0)]


class CountsALook(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        receiver = self.receiver(queue, capacity=limit, dead=dead)
        seen = await receiver.receive(limit, 0.0)
        await receiver.abandon([Abandon(delivery) for delivery in seen])
        return [delivery.message for delivery in seen]


class PeeksAtEverything(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        found = self._find(queue.dead_name if dead else queue.name)
        return found.peek(100) + [entry.message for entry in found.leases]


class PeeksAtOnePage(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        return await super().peek(queue, min(limit, 32), dead=dead)


class PeeksAtTheNewestFirst(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        return (await super().peek(queue, 100, dead=dead))[::-1][:limit]


class PeeksAtEnvelopes(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        return [replace(message, headers={}) for message in await super().peek(queue, limit, dead=dead)]


class WaitsForSomethingToPeekAt(MemoryAdapter):
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        if not (seen := await super().peek(queue, limit, dead=dead)):
            raise QueueNotFound("nothing is there")
        return seen


class PurgesWhatIsLeased(MemoryAdapter):
    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        found = self._find(queue.dead_name if dead else queue.name)
        for entry in list(found.leases):
            found.remove(entry, self.clock.monotonic())
        return await super().purge(queue, dead=dead)


class MiscountsWhatItPurges(MemoryAdapter):
    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        return await super().purge(queue, dead=dead) + 1


class BreaksWhatItPurges(MemoryAdapter):
    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        count = await super().purge(queue, dead=dead)
        self._queues[queue.name] = MemoryQueue(queue.name, self.clock)
        return count


class LooksAtDepthByReceiving(MemoryAdapter):
    async def depth(self, queue: QueueSpec) -> Depth:
        receiver = self.receiver(queue, capacity=100)
        await receiver.abandon([Abandon(one) for one in await receiver.receive(100, 0.0)])
        return await super().depth(queue)


def saying(name: str, change: Callable[[Depth], Depth]) -> type[MemoryAdapter]:
    """An adapter whose figures are wrong in this way."""

    async def depth(self: MemoryAdapter, queue: QueueSpec) -> Depth:
        return change(await MemoryAdapter.depth(self, queue))

    return type(name, (MemoryAdapter,), {"depth": depth})


def claiming(name: str, personality: str = "plain", **claims: Any) -> type[MemoryAdapter]:
    """An adapter that says so, whatever is true."""

    async def declare(self: MemoryAdapter, queue: QueueSpec) -> Capabilities:
        return replace_spec(await MemoryAdapter.declare(self, queue), **claims)

    return type(name, (MemoryAdapter,), {"declare": declare, "personality": personality})


def _sum(known: int | None, more: int | None) -> int | None:
    return None if known is None or more is None else known + more


#: What is broken, and the cases that must notice.
MUTANTS: Mapping[type, Sequence[str]] = {
    QueuesDieWithTheirConnection: [
        "send-a_sent_message_is_there_for_another_connection",
        "send-what_was_sent_survives_the_senders_connection",
        "delay-a_delay_does_not_need_its_sender",
    ],
    DropsNothing: ["queues-a_dropped_queue_is_gone"],
    DropsOnlyOnce: ["queues-dropping_is_done_once_and_harmless_after"],
    DropsByPrefix: ["queues-a_queue_whose_name_is_another_ones_beginning_is_another_queue"],
    StartsAfreshWhenDeclaredAgain: ["queues-declaring_twice_is_fine_and_keeps_the_messages"],
    VerifiesNothing: ["queues-verifying_a_missing_queue_says_that_it_is_missing"],
    FailsToVerify: ["queues-a_queue_that_is_there_passes_verification"],
    KnowsNothingWhenItSkips: ["queues-skipping_the_declaration_still_tells_what_is_true"],
    RefusesLongNames: ["queues-the_longest_legal_name_works"],
    LetsForeignErrorsThrough: [
        "queues-receiving_from_a_queue_that_is_not_there_says_so",
        "claims-whatever_is_refused_is_refused_with_an_error_of_levelers",
    ],
    CreatesWhatItDoesNotFind: ["queues-receiving_from_a_queue_that_is_not_there_says_so"],
    TakesAnyLease: ["queues-a_lease_outside_the_brokers_range_is_refused"],
    PeeksByReceiving: ["peek-peeking_leases_nothing"],
    CountsALook: ["peek-peeking_counts_nothing"],
    PeeksAtEverything: ["peek-peeking_does_not_show_what_is_leased", "peek-peeking_shows_no_more_than_asked"],
    PeeksAtOnePage: ["deadletter-all_dead_letters_are_shown_to_whoever_asks_for_all"],
    PeeksAtTheNewestFirst: ["peek-peeking_shows_the_next_ones_first"],
    PeeksAtEnvelopes: ["peek-peeking_shows_what_waits"],
    WaitsForSomethingToPeekAt: ["peek-peeking_at_an_empty_queue_shows_nothing"],
    PurgesWhatIsLeased: ["depth-purging_leaves_what_is_leased_to_its_holder"],
    MiscountsWhatItPurges: ["depth-purging_removes_what_waits", "depth-purging_an_empty_queue_is_fine"],
    BreaksWhatItPurges: [
        "deadletter-purging_the_dead_letters_leaves_the_queue_alone",
        "depth-purging_leaves_what_is_leased_to_its_holder",
    ],
    LooksAtDepthByReceiving: ["depth-asking_changes_nothing"],
    saying("SaysZero", lambda depth: Depth(0, 0, 0, 0, 0.0)): [
        "depth-waiting_messages_are_ready",
        "depth-what_is_given_back_is_ready_again",
    ],
    saying("CountsLeasedAsReady", lambda depth: depth._replace(ready=_sum(depth.ready, depth.leased))): [
        "depth-leased_messages_are_not_ready"
    ],
    saying("CountsDelayedAsReady", lambda depth: depth._replace(ready=_sum(depth.ready, depth.delayed))): [
        "depth-delayed_messages_are_not_ready"
    ],
    saying("CountsDeadAsReady", lambda depth: depth._replace(ready=_sum(depth.ready, depth.dead))): [
        "depth-dead_letters_are_counted_apart"
    ],
    saying("CountsOneMore", lambda depth: depth._replace(ready=_sum(depth.ready, 1))): [
        "depth-an_empty_queue_has_no_depth",
        "depth-what_is_done_is_not_counted",
    ],
    saying("KnowsNothing", lambda depth: Depth(None, None, None, None, None)): [
        "depth-a_depth_that_is_not_claimed_is_not_made_up"
    ],
    saying("NeverGrowsOld", lambda depth: depth._replace(oldest_age_seconds=0.0)): [
        "depth-the_oldest_message_grows_old"
    ],
    claiming("ClaimsNoDepth", depth="none"): ["depth-a_depth_that_is_not_claimed_is_not_made_up"],
    claiming("ClaimsNoExtend", extend=False): ["claims-extend_is_as_claimed"],
    claiming("ClaimsNoPeek", peek=False): ["claims-peek_is_as_claimed"],
    claiming("ClaimsNoDelay", max_delay_seconds=0.0): ["claims-delays_are_as_claimed"],
    claiming("ClaimsNoOrdering", ordering=False): ["claims-ordering_is_as_claimed"],
    claiming("ClaimsNoDedup", dedup_seconds=0.0): ["claims-dedup_is_as_claimed"],
    claiming("ClaimsAConnectionLease", lease="connection"): [
        "close-a_connection_lease_ends_with_its_receiver",
        "concurrency-closing_some_receivers_while_others_work_loses_nothing",
    ],
    claiming("ClaimsToExtendARequest", lease="request"): ["queues-what_is_claimed_makes_sense"],
    claiming("ClaimsCopies", uncounted="copy"): ["attempts-uncounted_is_a_copy_only_where_that_is_claimed"],
    claiming("ClaimsTinyMessages", max_message_bytes=1000): ["queues-what_is_claimed_makes_sense"],
    claiming("ClaimsToBeDurable", durable=True): ["queues-what_is_claimed_makes_sense"],
    claiming("ClaimsExtend", "push", extend=True): ["claims-extend_is_as_claimed"],
    claiming("ClaimsPeek", "sqs", peek=True): ["claims-peek_is_as_claimed", "peek-peeking_shows_what_waits"],
    claiming("ClaimsDelays", "fifo", max_delay_seconds=900.0): [
        "claims-delays_are_as_claimed",
        "delay-a_delayed_message_comes_when_its_time_has_come",
    ],
    claiming("ClaimsOrdering", "rabbitmq", ordering=True): ["claims-ordering_is_as_claimed"],
    claiming("ClaimsTenPriorities", "sqs", priority_levels=10): ["priority-ten_levels_are_ten_levels"],
    claiming("ClaimsUncounted", "fifo", uncounted="native"): ["attempts-giving_back_uncounted_keeps_the_attempt"],
    claiming("ClaimsLargerBatches", "sqs", max_batch=50): ["batch-a_batch_of_the_largest_size_is_taken"],
}


@pytest.mark.parametrize(("broken", "case_id"), [(broken, case) for broken, found in MUTANTS.items() for case in found])
def test_it_is_caught(broken: type, case_id: str, judge: Callable[[str, type], tuple[str, str]]) -> None:
    assert judge(case_id, broken) == ("healthy", "failed")
