"""Settlement: every decision ends in exactly one verb, or is lost and said to be."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from leveler.adapter import Abandon, Capabilities, DeadLetter, Delivery, Receiver
from leveler.consumer.held import ARRIVED, SETTLING, Held
from leveler.consumer.settlement import Settlement
from leveler.errors import BatchError, BrokerError, BrokerUnavailable, LeaseLost, LevelerError, ReceiverLost
from leveler.message import Death, Message
from leveler.testing import VirtualClock
from leveler.testing.clock import quiet

LEASE = 30.0
VERBS = frozenset({"complete", "abandon", "dead_letter"})


class Broker:
    """A receiver of which only the settlement verbs matter."""

    def __init__(self) -> None:
        #: Every call: the verb and the ids.
        self.calls: list[tuple[str, list[str]]] = []
        #: What the next calls end with; then they succeed.
        self.faults: list[BaseException] = []
        #: Calls of the hanging verbs do not return before it is set.
        self.answers = asyncio.Event()
        self.answers.set()
        self.hanging = VERBS
        self.most_at_once = 0
        self._at_once = 0

    def hang(self, *verbs: str) -> None:
        self.hanging = frozenset(verbs)
        self.answers.clear()

    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        await self._call("complete", [delivery.message.id for delivery in deliveries])

    async def abandon(self, items: Sequence[Abandon]) -> None:
        await self._call("abandon", [item.delivery.message.id for item in items])

    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        await self._call("mark_solo", [delivery.message.id for delivery in deliveries])

    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        await self._call("dead_letter", [item.delivery.message.id for item in items])

    async def _call(self, verb: str, ids: list[str]) -> None:
        self.calls.append((verb, ids))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if verb in self.hanging:
                await self.answers.wait()
            if self.faults:
                raise self.faults.pop(0)
        finally:
            self._at_once -= 1


class Bench:
    """A settlement that runs, the broker that it settles with, and what was told."""

    def __init__(self, clock: VirtualClock, *, verbs: int = 8, max_batch: int = 10) -> None:
        self.clock = clock
        self.broker = Broker()
        self.settled: list[str] = []
        self.lost: list[str] = []
        self.failed: list[tuple[str, str, LevelerError]] = []
        self.failed_at: list[float] = []
        self.settlement = Settlement(
            Capabilities(
                scope="process",
                durable=False,
                max_message_bytes=1 << 20,
                max_batch=max_batch,
                concurrent_verbs=verbs > 1,
            ),
            clock,
            asyncio.Semaphore(verbs),
            on_settled=self._on_settled,
            on_lost=lambda held: self.lost.append(held.delivery.message.id),
            on_failed=self._on_failed,
        )
        self.running = asyncio.gather(*self.settlement.loops())

    def held(self, name: str, broker: Broker | None = None) -> Held:
        message = Message(id=name, body=b"", time=datetime(2030, 1, 1, tzinfo=UTC))
        delivery = Delivery(message, 1, self.clock.monotonic() + LEASE, None)
        return Held(delivery, cast(Receiver, broker or self.broker))

    def complete(self, *names: str, broker: Broker | None = None) -> list[Held]:
        some = [self.held(name, broker) for name in names]
        for held in some:
            self.settlement.complete(held)
        return some

    def abandon(self, name: str) -> None:
        held = self.held(name)
        self.settlement.settle(held, Abandon(held.delivery, 5.0))

    def dead_letter(self, name: str) -> None:
        held = self.held(name)
        self.settlement.settle(held, DeadLetter(held.delivery, Death(reason="rejected")))

    def _on_settled(self, settled: Sequence[Held]) -> None:
        self.settled.extend(held.delivery.message.id for held in settled)

    def _on_failed(self, held: Held, verb: str, error: LevelerError) -> None:
        self.failed.append((held.delivery.message.id, verb, error))
        self.failed_at.append(self.clock.monotonic())


def run(story: Callable[[Bench], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def scene() -> None:
        bench = Bench(VirtualClock(), **settings)
        await story(bench)
        assert not bench.running.done()
        bench.running.cancel()
        await quiet()

    asyncio.run(asyncio.wait_for(scene(), 10))


# Batches.


def test_a_single_settlement_goes_at_once() -> None:
    async def story(bench: Bench) -> None:
        [held] = bench.complete("1")
        assert held.state == SETTLING
        await quiet()
        assert (bench.broker.calls, bench.settled) == ([("complete", ["1"])], ["1"])
        assert bench.clock.monotonic() == 0.0

    run(story)


def test_what_comes_together_goes_together_by_verb_and_in_order() -> None:
    async def story(bench: Bench) -> None:
        bench.complete("1")
        bench.abandon("2")
        bench.complete("3")
        bench.dead_letter("4")
        bench.abandon("5")
        await quiet()
        assert bench.broker.calls == [("complete", ["1", "3"]), ("abandon", ["2", "5"]), ("dead_letter", ["4"])]
        assert sorted(bench.settled) == ["1", "2", "3", "4", "5"]

    run(story)


def test_no_batch_is_larger_than_the_broker_takes() -> None:
    async def story(bench: Bench) -> None:
        bench.complete(*"1234567")
        await quiet()
        assert [ids for _, ids in bench.broker.calls] == [["1", "2", "3"], ["4", "5", "6"], ["7"]]

    run(story, max_batch=3)


def test_each_receiver_settles_its_own() -> None:
    async def story(bench: Bench) -> None:
        other = Broker()
        bench.complete("1")
        bench.complete("2", broker=other)
        await quiet()
        assert (bench.broker.calls, other.calls) == ([("complete", ["1"])], [("complete", ["2"])])

    run(story)


def test_while_a_batch_is_under_way_the_next_one_gathers() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.hang(*VERBS)
        bench.complete("1")
        await quiet()
        for name in "2345":
            bench.complete(name)
            await quiet()
        assert bench.broker.calls == [("complete", ["1"])]
        bench.broker.answers.set()
        await quiet()
        assert bench.broker.calls[1:] == [("complete", ["2", "3", "4", "5"])]

    run(story)


@pytest.mark.parametrize("verbs", [1, 3])
def test_no_more_verbs_are_under_way_than_the_broker_bears(verbs: int) -> None:
    async def story(bench: Bench) -> None:
        bench.broker.hang(*VERBS)
        bench.complete(*"12345")
        await quiet()
        assert len(bench.broker.calls) == verbs
        bench.broker.answers.set()
        await quiet()
        assert (len(bench.broker.calls), bench.broker.most_at_once) == (5, verbs)

    run(story, verbs=verbs, max_batch=1)


def test_no_completion_waits_for_copies_that_the_broker_does_not_take() -> None:
    """However many of them: a retry or a dead letter that hangs would cost what is done its lease."""

    async def story(bench: Bench) -> None:
        bench.broker.hang("abandon", "dead_letter")
        for number in range(20):
            bench.abandon(f"a{number}")
            bench.dead_letter(f"d{number}")
            bench.complete(f"c{number}")
            await quiet()
        assert bench.settled == [f"c{number}" for number in range(20)]
        bench.broker.answers.set()
        await quiet()
        assert len(bench.settled) == 60

    run(story, max_batch=1)


def test_a_dead_letter_does_not_wait_for_a_retry_that_hangs_nor_the_other_way_round() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.hang("abandon")
        bench.abandon("1")
        await quiet()
        bench.dead_letter("2")
        await quiet()
        assert bench.settled == ["2"]
        bench.broker.answers.set()
        await quiet()
        bench.broker.hang("dead_letter")
        bench.dead_letter("3")
        await quiet()
        bench.abandon("4")
        await quiet()
        assert bench.settled == ["2", "1", "4"]

    run(story)


def test_where_verbs_may_not_overlap_they_wait_for_one_another() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.hang("abandon")
        bench.abandon("1")
        bench.complete("2")
        bench.dead_letter("3")
        await quiet()
        assert bench.broker.most_at_once == 1
        bench.broker.answers.set()
        await quiet()
        assert (sorted(bench.settled), bench.broker.most_at_once) == (["1", "2", "3"], 1)

    run(story, verbs=1)


# Failures.


def test_only_what_failed_in_a_batch_is_tried_again() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults = [BatchError({1: BrokerUnavailable("busy")})]
        bench.complete("1", "2", "3")
        await quiet()
        assert bench.settled == ["1", "3"]
        assert [(name, verb) for name, verb, _ in bench.failed] == [("2", "complete")]
        await bench.clock.advance(1)
        assert bench.broker.calls == [("complete", ["1", "2", "3"]), ("complete", ["2"])]
        assert bench.settled == ["1", "3", "2"]

    run(story)


@pytest.mark.parametrize("fault", [LeaseLost("over"), ReceiverLost("gone")])
def test_what_is_no_longer_ours_is_lost_and_never_tried_again(fault: BrokerError) -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults = [BatchError({0: fault})]
        bench.complete("1", "2")
        await bench.clock.advance(100)
        assert (bench.lost, bench.settled, bench.failed) == (["1"], ["2"], [])
        assert len(bench.broker.calls) == 1

    run(story)


def test_a_settlement_is_tried_again_with_growing_waits_until_the_lease_ends() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults = [BrokerUnavailable("away")] * 1000
        bench.complete("1")
        await bench.clock.advance(29)
        at = bench.failed_at
        assert [round(after - before, 3) for before, after in itertools.pairwise(at)][:8] == [
            0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0,
        ]  # fmt: skip
        assert bench.lost == []
        await bench.clock.advance(60)
        assert (bench.lost, bench.settled) == (["1"], [])
        assert max(at) < LEASE
        assert bench.clock.next_due() is None

    run(story)


def test_a_broker_that_comes_back_within_the_lease_gets_every_settlement_once() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults = [BrokerUnavailable("away")] * 6
        bench.complete("1")
        bench.abandon("2")
        await bench.clock.advance(20)
        assert sorted(bench.settled) == ["1", "2"]
        assert len(bench.broker.calls) == 8

    run(story)


def test_one_that_waits_for_its_next_try_holds_up_no_other() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults = [BrokerUnavailable("away")]
        bench.complete("1")
        await quiet()
        bench.complete("2")
        await quiet()
        assert bench.settled == ["2"]

    run(story)


def test_what_was_lost_before_its_turn_came_is_said_to_be_lost_and_not_settled() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.hang(*VERBS)
        bench.complete("1")
        await quiet()
        _, marked, _ = bench.complete("2", "3", "4")
        marked.lost = True
        bench.broker.answers.set()
        await quiet()
        assert (bench.lost, bench.settled) == (["3"], ["1", "2", "4"])
        assert bench.broker.calls == [("complete", ["1"]), ("complete", ["2", "4"])]

    run(story)


@pytest.mark.parametrize("fault", [KeyError("a bug"), asyncio.CancelledError()])
def test_a_bug_of_the_adapter_is_a_failure_of_this_settlement_and_not_the_end_of_all(fault: BaseException) -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults = [fault]
        bench.complete("1")
        await quiet()
        [(_, _, error)] = bench.failed
        assert f"the adapter failed with {type(fault).__name__}" in str(error)
        assert error.__cause__ is fault
        await bench.clock.advance(1)
        assert bench.settled == ["1"]

    run(story)


# Marks.


def test_what_is_marked_is_not_settled_and_may_be_settled_afterwards() -> None:
    async def story(bench: Bench) -> None:
        held = bench.held("1")
        bench.broker.faults = [BrokerUnavailable("busy")]
        marking = asyncio.create_task(bench.settlement.mark_solo(held))
        await quiet()
        assert (held.state, marking.done()) == (SETTLING, False)
        await bench.clock.advance(1)
        assert (held.state, held.lost, marking.done(), bench.settled) == (ARRIVED, False, True, [])
        bench.settlement.complete(held)
        await quiet()
        assert (bench.settled, bench.broker.calls[-2:]) == (["1"], [("mark_solo", ["1"]), ("complete", ["1"])])

    run(story)


def test_what_is_lost_before_it_is_marked_is_said_to_be_lost() -> None:
    async def story(bench: Bench) -> None:
        held = bench.held("1")
        bench.broker.faults = [BatchError({0: LeaseLost("over")})]
        await bench.settlement.mark_solo(held)
        assert (bench.lost, bench.settled) == (["1"], [])

    run(story)


# Extensions.


def test_nothing_is_settled_while_its_extension_is_under_way_and_nothing_waits_for_it() -> None:
    async def story(bench: Bench) -> None:
        extending = bench.held("1")
        extending.extending = True
        bench.settlement.complete(extending)
        bench.complete("2")
        await quiet()
        assert bench.settled == ["2"]
        extending.extending = False
        bench.settlement.look_again()
        await quiet()
        assert bench.settled == ["2", "1"]
        assert [ids for _, ids in bench.broker.calls] == [["2"], ["1"]]

    run(story)


# Ends.


def test_all_is_settled_when_each_is_settled_or_lost() -> None:
    async def story(bench: Bench) -> None:
        await bench.settlement.settled()  # nothing was ever given
        bench.broker.faults = [BatchError({0: LeaseLost("over"), 1: BrokerUnavailable("busy")})]
        bench.complete("1", "2", "3")
        waiting = asyncio.create_task(bench.settlement.settled())
        await quiet()
        assert not waiting.done()
        await bench.clock.advance(1)
        assert waiting.done()
        assert (bench.settled, bench.lost) == (["3", "2"], ["1"])

    run(story)


def test_a_finish_settles_what_there_is_and_nothing_after() -> None:
    async def story(bench: Bench) -> None:
        bench.complete("1")
        await bench.settlement.finish(5.0)
        assert bench.settled == ["1"]
        bench.complete("2")
        await bench.clock.advance(50)
        assert bench.settled == ["1"]

    run(story)


def test_a_finish_waits_no_longer_than_told_and_leaves_no_verb_to_begin() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults = [BrokerUnavailable("away")] * 1000
        bench.complete("1")
        finishing = asyncio.create_task(bench.settlement.finish(5.0))
        await bench.clock.advance(4.9)
        assert not finishing.done()
        await bench.clock.advance(0.2)
        assert finishing.done()
        calls = len(bench.broker.calls)
        await bench.clock.advance(20)
        assert len(bench.broker.calls) == calls

    run(story)
