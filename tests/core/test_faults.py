"""A bad network on demand: what was lost was not done, what was done is done, and everything is on record."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from leveler_memory import MemoryAdapter, MemoryOptions

from leveler.adapter import Abandon, Adapter, DeadLetter, Delivery, QueueSpec, Receiver, Sender
from leveler.clock import Clock
from leveler.errors import BatchError, BrokerUnavailable, LeaseLost, MessageTooLarge, ReceiverLost, SendUnknown
from leveler.message import Death, Message
from leveler.testing import FaultPlan, FaultyAdapter, VirtualClock
from leveler.testing.clock import quiet
from leveler.testing.contract import Target
from leveler.testing.contract.pytest_suite import ContractSuite
from leveler.testing.faults import Verb

GONE = BrokerUnavailable("gone")


class Transparent(Target):
    name = "memory behind an empty plan"
    lease_seconds = 20.0
    grace_seconds = 0.5

    def clock(self) -> Clock:
        return VirtualClock()

    def adapter(self, clock: Clock) -> Adapter:
        return FaultyAdapter(
            MemoryAdapter("memory://", MemoryOptions(), clock=clock, deadline_seconds=5.0), FaultPlan()
        )


class TestWithoutFaultsItKeepsTheContract(ContractSuite):
    target = Transparent()


class Bench(NamedTuple):
    """One queue on the memory adapter, behind a plan."""

    clock: VirtualClock
    adapter: FaultyAdapter
    faults: FaultPlan
    queue: QueueSpec
    sender: Sender
    receiver: Receiver

    def messages(self, count: int) -> list[Message]:
        return [Message(id=f"m{number}", body=b"{}", time=self.clock.now()) for number in range(count)]

    async def send(self, count: int) -> None:
        await self.adapter.inner.sender(self.queue).send(self.messages(count))

    async def leased(self, count: int) -> Sequence[Delivery]:
        await self.send(count)
        return await self.receiver.receive(count, 0)

    async def depth(self) -> tuple[int | None, int | None, int | None]:
        depth = await self.adapter.inner.depth(self.queue)
        return depth.ready, depth.leased, depth.dead


@asynccontextmanager
async def a_bench() -> AsyncIterator[Bench]:
    clock, faults, queue = VirtualClock(), FaultPlan(), QueueSpec(name="orders")
    inner = MemoryAdapter("memory://", MemoryOptions(), clock=clock, deadline_seconds=5.0)
    async with FaultyAdapter(inner, faults) as adapter:
        await adapter.declare(queue)
        sender, receiver = adapter.sender(queue), adapter.receiver(queue, capacity=100)
        faults.calls.clear()
        yield Bench(clock, adapter, faults, queue, sender, receiver)
        await receiver.close()


def run(story: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        async with a_bench() as bench:
            await story(bench)

    asyncio.run(asyncio.wait_for(told(), 10))


def test_a_lost_request_did_nothing_and_the_next_one_is_fine() -> None:
    async def story(bench: Bench) -> None:
        bench.faults.fail("send", GONE)
        with pytest.raises(BrokerUnavailable, match="gone"):
            await bench.sender.send(bench.messages(2))
        assert await bench.depth() == (0, 0, 0)
        await bench.sender.send(bench.messages(2))
        assert await bench.depth() == (2, 0, 0)

    run(story)


def test_a_lost_answer_hides_what_was_done() -> None:
    async def story(bench: Bench) -> None:
        bench.faults.fail("send", SendUnknown("no answer"), after=True)
        with pytest.raises(SendUnknown):
            await bench.sender.send(bench.messages(2))
        assert await bench.depth() == (2, 0, 0)

    run(story)


def test_the_deliveries_of_a_receive_whose_answer_is_lost_stay_leased() -> None:
    async def story(bench: Bench) -> None:
        await bench.send(3)
        bench.faults.fail("receive", GONE, after=True)
        with pytest.raises(BrokerUnavailable):
            await bench.receiver.receive(3, 0)
        assert await bench.depth() == (0, 3, 0)

    run(story)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("verb", ["hold", "complete", "abandon", "dead_letter", "extend"])
def test_every_verb_of_a_receiver_can_fail_before_and_after(verb: Verb, after: bool) -> None:
    async def story(bench: Bench) -> None:
        deliveries = await bench.leased(2)
        calls: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "hold": lambda: bench.receiver.hold(0),
            "complete": lambda: bench.receiver.complete(deliveries),
            "abandon": lambda: bench.receiver.abandon([Abandon(delivery) for delivery in deliveries]),
            "dead_letter": lambda: bench.receiver.dead_letter([DeadLetter(d, Death(reason="x")) for d in deliveries]),
            "extend": lambda: bench.receiver.extend(deliveries),
        }
        done = {"complete": (0, 0, 0), "abandon": (2, 0, 0), "dead_letter": (0, 0, 2)}
        bench.faults.fail(verb, GONE, after=after)
        with pytest.raises(BrokerUnavailable):
            await calls[verb]()
        assert await bench.depth() == (done.get(verb, (0, 2, 0)) if after else (0, 2, 0))

    run(story)


def test_every_other_verb_of_an_adapter_can_fail() -> None:
    async def story(bench: Bench) -> None:
        adapter, queue = bench.adapter, bench.queue
        verbs: dict[Verb, Callable[[], Coroutine[Any, Any, object]]] = {
            "connect": adapter.__aenter__,
            "declare": lambda: adapter.declare(queue),
            "drop": lambda: adapter.drop(queue),
            "depth": lambda: adapter.depth(queue),
            "peek": lambda: adapter.peek(queue, 1),
            "purge": lambda: adapter.purge(queue),
            "close": bench.receiver.close,
        }
        for verb, call in verbs.items():
            bench.faults.fail(verb, GONE)
            with pytest.raises(BrokerUnavailable):
                await call()
        assert [call.verb for call in bench.faults.calls] == list(verbs)

    run(story)


def outcomes(bench: Bench, count: int) -> Coroutine[Any, Any, str]:
    """``.`` for a send that worked, the error's text for one that did not."""

    async def tried() -> str:
        texts = []
        for _ in range(count):
            try:
                await bench.sender.send(bench.messages(1))
                texts.append(".")
            except (BrokerUnavailable, SendUnknown) as error:
                texts.append(str(error))
        return "".join(texts)

    return tried()


A, B = BrokerUnavailable("A"), SendUnknown("B")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (lambda f: f.fail("send", A), "A....."),
        (lambda f: f.fail("send", A, times=2), "AA...."),
        (lambda f: f.fail("send", A, nth=3), "..A..."),
        (lambda f: f.fail("send", A, nth=3, times=2), "..AA.."),
        (lambda f: f.fail("send", A, nth=5, times=None), "....AA"),
        (lambda f: (f.fail("send", A), f.fail("send", B)), "AB...."),
        (lambda f: (f.fail("send", A), f.fail("send", B, nth=3)), "A.B..."),
        (lambda f: (f.fail("send", A, nth=2), f.fail("send", B, nth=2, after=True)), ".AB..."),
        (lambda f: f.fail("receive", A), "......"),
        (lambda f: (f.fail("send", A, times=None), f.clear()), "......"),
        (lambda f: (f.fail("send", A), f.clear("receive")), "A....."),
    ],
)
def test_a_fault_strikes_the_calls_that_it_was_meant_for(plan: Callable[[FaultPlan], object], expected: str) -> None:
    async def story(bench: Bench) -> None:
        plan(bench.faults)
        assert await outcomes(bench, 6) == expected

    run(story)


def test_the_nth_call_counts_from_when_the_fault_was_planned() -> None:
    async def story(bench: Bench) -> None:
        await outcomes(bench, 2)
        bench.faults.fail("send", A, nth=2)
        assert await outcomes(bench, 3) == ".A."

    run(story)


def test_inside_a_with_every_call_fails_and_other_faults_stay_planned() -> None:
    async def story(bench: Bench) -> None:
        bench.faults.fail("send", B, nth=4)
        with bench.faults.failing("send", A):
            assert await outcomes(bench, 3) == "AAA"
        assert await outcomes(bench, 2) == "B."

    run(story)


def test_single_items_fail_and_the_others_are_done() -> None:
    async def story(bench: Bench) -> None:
        too_large = MessageTooLarge("too large")
        bench.faults.fail_items("send", {1: too_large, 7: too_large})
        with pytest.raises(BatchError) as caught:
            await bench.sender.send(bench.messages(3))
        assert caught.value.failed == {1: too_large}
        assert [message.id for message in await bench.adapter.inner.peek(bench.queue, 9)] == ["m0", "m2"]

    run(story)


def test_single_items_may_fail_although_they_were_done() -> None:
    async def story(bench: Bench) -> None:
        deliveries = await bench.leased(2)
        bench.faults.fail_items("complete", {0: LeaseLost("too late")}, after=True)
        with pytest.raises(BatchError) as caught:
            await bench.receiver.complete(deliveries)
        assert caught.value.failed.keys() == {0}
        assert await bench.depth() == (0, 0, 0)

    run(story)


def test_the_adapters_own_failures_keep_their_place_beside_planned_ones() -> None:
    async def story(bench: Bench) -> None:
        deliveries = await bench.leased(4)
        await bench.receiver.complete(deliveries[2:3])  # settled already: the adapter itself refuses it below
        bench.faults.fail_items("complete", {0: LeaseLost("planned")})
        with pytest.raises(BatchError) as caught:
            await bench.receiver.complete(deliveries)
        assert caught.value.failed.keys() == {0, 2}
        assert str(caught.value.failed[0]) == "planned"
        assert str(caught.value.failed[2]) != "planned"
        assert await bench.depth() == (0, 1, 0)

    run(story)


def test_a_batch_whose_items_all_fail_does_not_reach_the_adapter() -> None:
    async def story(bench: Bench) -> None:
        seen = FaultPlan()
        outer = FaultyAdapter(FaultyAdapter(bench.adapter.inner, seen), bench.faults)
        bench.faults.fail_items("send", {0: MessageTooLarge("planned")})
        with pytest.raises(BatchError):
            await outer.sender(bench.queue).send(bench.messages(1))
        assert seen.calls == []
        await outer.sender(bench.queue).send([])
        assert seen.calls == [("send", 0)]

    run(story)


def test_a_receiver_is_closed_once_however_often_it_is_lost_and_closed() -> None:
    async def story(bench: Bench) -> None:
        seen = FaultPlan()
        outer = FaultyAdapter(FaultyAdapter(bench.adapter.inner, seen), bench.faults)
        receiver = outer.receiver(bench.queue, capacity=1)
        await outer.lose_receivers()
        await receiver.close()
        await receiver.close()
        assert seen.calls == [("close", 0)]

    run(story)


def test_an_error_that_is_raised_often_does_not_grow() -> None:
    async def story(bench: Bench) -> None:
        depths = []
        bench.faults.fail("send", A, times=3)
        for _ in range(3):
            assert await outcomes(bench, 1) == "A"
            depths.append(len(traceback.extract_tb(A.__traceback__)))
        assert len(set(depths)) == 1

    run(story)


@pytest.mark.parametrize("after", [False, True])
def test_a_delay_lets_time_pass_before_the_call_or_before_its_answer(after: bool) -> None:
    async def story(bench: Bench) -> None:
        bench.faults.delay("send", 5.0, after=after)
        task = asyncio.create_task(bench.sender.send(bench.messages(1)))
        await bench.clock.advance(4.9)
        assert await bench.depth() == ((1, 0, 0) if after else (0, 0, 0))
        assert not task.done()
        await bench.clock.advance(0.1)
        assert task.done()
        assert await bench.depth() == (1, 0, 0)

    run(story)


def test_a_call_may_be_late_and_then_fail() -> None:
    async def story(bench: Bench) -> None:
        bench.faults.delay("send", 5.0)
        bench.faults.fail("send", GONE)
        task = asyncio.create_task(bench.sender.send(bench.messages(1)))
        await bench.clock.advance(5)
        with pytest.raises(BrokerUnavailable):
            await task
        assert bench.clock.monotonic() == 5

    run(story)


def test_a_hanging_call_goes_on_when_it_is_released() -> None:
    async def story(bench: Bench) -> None:
        gate = bench.faults.hang("send", nth=2)
        await bench.sender.send(bench.messages(1))
        task = asyncio.create_task(bench.sender.send(bench.messages(1)))
        await gate.reached()
        await bench.clock.advance(3600)
        assert not task.done()
        gate.release()
        await task
        assert await bench.depth() == (2, 0, 0)

    run(story)


def test_a_call_may_hang_after_it_was_done_and_be_cancelled_there() -> None:
    async def story(bench: Bench) -> None:
        gate = bench.faults.hang("send", after=True)
        task = asyncio.create_task(bench.sender.send(bench.messages(1)))
        await gate.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await bench.depth() == (1, 0, 0)

    run(story)


def test_a_lost_receiver_stays_lost_and_its_deliveries_go_back_as_after_a_crash() -> None:
    async def story(bench: Bench) -> None:
        deliveries = await bench.leased(2)
        bench.faults.fail("receive", ReceiverLost("connection reset"))
        with pytest.raises(ReceiverLost, match="connection reset"):
            await bench.receiver.receive(1, 0)
        for call in (bench.receiver.hold(1), bench.receiver.receive(1, 0), bench.receiver.complete(deliveries)):
            with pytest.raises(ReceiverLost, match="make a new one"):
                await call
        await bench.receiver.close()
        await bench.clock.advance(bench.queue.lease_seconds)
        again = await bench.adapter.receiver(bench.queue, capacity=10).receive(10, 0)
        assert sorted(delivery.message.id for delivery in again) == ["m0", "m1"]
        assert {delivery.attempt for delivery in again} == {2}

    run(story)


def test_a_receiver_may_be_lost_with_the_answer_to_what_was_done() -> None:
    async def story(bench: Bench) -> None:
        deliveries = await bench.leased(2)
        bench.faults.fail("complete", ReceiverLost("connection reset"), after=True)
        with pytest.raises(ReceiverLost):
            await bench.receiver.complete(deliveries)
        assert await bench.depth() == (0, 0, 0)
        with pytest.raises(ReceiverLost):
            await bench.receiver.receive(1, 0)

    run(story)


def test_all_receivers_can_be_cut_off_while_they_wait() -> None:
    async def story(bench: Bench) -> None:
        waiting = asyncio.create_task(bench.receiver.receive(1, 60))
        await quiet()
        await bench.adapter.lose_receivers()
        with pytest.raises(ReceiverLost):
            await waiting
        await bench.send(1)
        with pytest.raises(ReceiverLost):
            await bench.receiver.receive(1, 0)
        assert len(await bench.adapter.receiver(bench.queue, capacity=1).receive(1, 0)) == 1

    run(story)


def test_nobody_hears_the_answer_of_a_call_during_which_the_receiver_was_lost() -> None:
    async def story(bench: Bench) -> None:
        deliveries = await bench.leased(1)
        gate = bench.faults.hang("complete", after=True)
        task = asyncio.create_task(bench.receiver.complete(deliveries))
        await gate.reached()
        await bench.adapter.lose_receivers()
        gate.release()
        with pytest.raises(ReceiverLost):
            await task
        assert await bench.depth() == (0, 0, 0)

    run(story)


def test_calls_are_recorded_in_order_with_their_sizes_whatever_became_of_them() -> None:
    async def story(bench: Bench) -> None:
        await bench.sender.send(bench.messages(3))
        await bench.receiver.hold(5)
        deliveries = await bench.receiver.receive(10, 0)
        bench.faults.fail("complete", GONE)
        with pytest.raises(BrokerUnavailable):
            await bench.receiver.complete(deliveries)
        await bench.receiver.complete(deliveries[:1])
        await bench.receiver.close()
        assert bench.faults.calls == [
            ("send", 3),
            ("hold", 5),
            ("receive", 10),
            ("complete", 3),
            ("complete", 1),
            ("close", 0),
        ]
        assert bench.faults.sizes("complete") == [3, 1]

    run(story)


def test_it_looks_like_the_adapter_behind_it() -> None:
    async def story(bench: Bench) -> None:
        inner = bench.adapter.inner
        assert (bench.adapter.url, bench.adapter.clock, bench.adapter.settings) == (
            inner.url,
            inner.clock,
            inner.settings,
        )
        assert await bench.adapter.declare(bench.queue) == await inner.declare(bench.queue)
        [message] = bench.messages(1)
        assert bench.sender.size(message) == inner.sender(bench.queue).size(message)

    run(story)


def test_a_plan_that_cannot_strike_is_refused() -> None:
    faults = FaultPlan()
    with pytest.raises(ValueError, match="no verb is called 'ack': use one of connect, "):
        faults.fail("ack", GONE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="both count from 1"):
        faults.fail("send", GONE, nth=0)
    with pytest.raises(ValueError, match="both count from 1"):
        faults.fail("send", GONE, times=0)
