"""What the contract suite cannot see of the memory adapter: exact times, timers, memory, and its personalities."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, ParamSpec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leveler_memory import MemoryAdapter, MemoryOptions
from leveler_memory.entry import Entry
from leveler_memory.lanes import Lane
from leveler_memory.personality import PersonalityName
from leveler_memory.recent import Recent

from leveler.adapter import Abandon, Capabilities, DeadLetter, Delivery, Depth, QueueSpec, Receiver
from leveler.clock import SystemClock
from leveler.errors import (
    BatchError,
    ConfigError,
    LeaseLost,
    LevelerError,
    MessageTooLarge,
    QueueFull,
    QueueNotFound,
    ReceiverLost,
    Unsupported,
)
from leveler.message import Death, Message
from leveler.testing import VirtualClock

P = ParamSpec("P")


def on_a_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        asyncio.run(main())

    return run


class CountingClock(VirtualClock):
    """Knows how many timers are set."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[Any] = []

    def call_later(self, delay_seconds: float, callback: Callable[[], object]) -> Any:
        timer = super().call_later(delay_seconds, callback)
        self.timers.append(timer)
        return timer

    def set_timers(self) -> int:
        return sum(timer.callback is not None for timer in self.timers)


class Bench:
    """One adapter with one declared queue."""

    def __init__(self, personality: PersonalityName = "plain", *, clock: Any = None, **spec: Any) -> None:
        self.clock = clock or CountingClock()
        self.adapter = MemoryAdapter(
            "memory://", MemoryOptions(personality=personality), clock=self.clock, deadline_seconds=5.0
        )
        self.spec = QueueSpec(**{"name": "orders", "lease_seconds": 30.0, **spec})
        self.can: Capabilities
        self._sent = 0

    async def declare(self) -> Bench:
        self.can = await self.adapter.declare(self.spec)
        return self

    def message(self, **fields: Any) -> Message:
        self._sent += 1
        return Message(**{"id": f"m{self._sent}", "body": b"{}", "time": self.clock.now(), **fields})

    def in_seconds(self, seconds: float) -> Any:
        return self.clock.now() + timedelta(seconds=seconds)

    async def send(self, *messages: Message) -> None:
        await self.adapter.sender(self.spec).send(messages)

    async def fill(self, count: int = 1, **fields: Any) -> None:
        await self.send(*(self.message(**fields) for _ in range(count)))

    def receiver(self, *, capacity: int = 1000, dead: bool = False) -> Receiver:
        return self.adapter.receiver(self.spec, capacity=capacity, dead=dead)

    async def next_one(self) -> Delivery:
        [delivery] = await self.receiver().receive(1, 0.0)
        return delivery

    async def depth(self) -> Depth:
        return await self.adapter.depth(self.spec)


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


async def failures(call: Awaitable[None]) -> dict[int, LevelerError]:
    try:
        await call
    except BatchError as error:
        return error.failed
    return {}


# -- time


@on_a_loop
async def test_a_lease_is_over_at_its_very_end_and_not_before() -> None:
    t = await Bench().declare()
    await t.fill(2)
    receiver = t.receiver()
    first, second = await receiver.receive(2, 0.0)
    await t.clock.advance(29.75)
    assert not await failures(receiver.complete([first]))
    await t.clock.advance(second.leased_until - t.clock.monotonic())
    assert isinstance((await failures(receiver.complete([second])))[0], LeaseLost)
    assert (await t.depth())[:3] == (1, 0, 0)


@on_a_loop
async def test_a_first_failure_is_remembered_with_its_own_time() -> None:
    t = await Bench().declare()
    await t.fill()
    start = t.clock.now()
    await t.next_one()
    await t.clock.advance(100.0)  # its lease ended long before somebody looked
    receiver = t.receiver()
    [second] = await receiver.receive(1, 0.0)
    assert second.message.failed_at == start + timedelta(seconds=30)
    await receiver.abandon([Abandon(second)])
    assert (await t.next_one()).message.failed_at == start + timedelta(seconds=30)


@on_a_loop
async def test_giving_back_uncounted_is_no_failure() -> None:
    t = await Bench().declare()
    await t.fill()
    receiver = t.receiver()
    await receiver.abandon([Abandon(one, counted=False) for one in await receiver.receive(1, 0.0)])
    assert (await t.next_one()).message.failed_at is None


@on_a_loop
async def test_a_delay_does_not_notice_that_the_wall_clock_was_set() -> None:
    t = await Bench().declare()
    await t.send(t.message(not_before=t.in_seconds(60)))
    t.clock.jump(3600)
    assert await t.receiver().receive(1, 0.0) == []
    await t.clock.advance(60.0)
    assert ids([await t.next_one()]) == ["m1"]


@on_a_loop
async def test_a_shorter_lease_holds_for_new_deliveries_once_the_long_ones_are_over() -> None:
    t = await Bench(lease_seconds=100.0).declare()
    await t.fill(2)
    long = await t.next_one()
    t.spec = QueueSpec(name="orders", lease_seconds=10.0)
    await t.declare()
    short = await t.next_one()
    assert short.leased_until == long.leased_until == 100.0
    await t.clock.advance(100.0)
    assert [one.leased_until for one in await t.receiver().receive(2, 0.0)] == [110.0, 110.0]


@on_a_loop
async def test_a_waiting_receive_answers_the_moment_that_something_is_due() -> None:
    t = await Bench().declare()
    await t.send(t.message(not_before=t.in_seconds(7)), t.message(not_before=t.in_seconds(500)))
    waiting = asyncio.ensure_future(t.receiver().receive(1, 1000.0))
    await t.clock.advance(6.75)
    assert not waiting.done()
    await t.clock.advance(0.25)
    assert waiting.done()
    again = asyncio.ensure_future(t.receiver().receive(1, 1000.0))  # nobody settles: the lease ends at 37
    await t.clock.advance(29.75)
    assert not again.done()
    await t.clock.advance(0.25)
    assert [one.attempt for one in again.result()] == [2]


@on_a_loop
async def test_the_end_of_a_lease_makes_room_in_a_full_receiver_that_waits() -> None:
    t = await Bench().declare()
    await t.fill(2)
    receiver = t.receiver(capacity=1)
    await receiver.receive(1, 0.0)
    waiting = asyncio.ensure_future(receiver.receive(1, 1000.0))
    await t.clock.advance(30.0)
    assert ids(waiting.result()) == ["m1"]


@on_a_loop
async def test_a_settlement_makes_room_in_a_full_receiver_that_waits() -> None:
    t = await Bench().declare()
    await t.fill(2)
    receiver = t.receiver(capacity=1)
    held = await receiver.receive(1, 0.0)
    waiting = asyncio.ensure_future(receiver.receive(1, 1000.0))
    await t.clock.advance(1.0)
    await receiver.complete(held)
    await t.clock.advance(0.0)
    assert ids(waiting.result()) == ["m2"]


# -- what it keeps


@pytest.mark.parametrize("ordered", [False, True])
@on_a_loop
async def test_there_is_one_timer_whatever_is_due_and_none_when_nobody_waits(ordered: bool) -> None:
    t = await Bench(ordered=ordered).declare()
    await t.send(*(t.message(key=f"k{n}", not_before=t.in_seconds(100 + n)) for n in range(500)))
    await t.fill(500)
    await t.receiver().receive(500, 0.0)
    assert t.clock.set_timers() == 0
    waiting = asyncio.ensure_future(t.receiver().receive(1, 5.0))
    await t.clock.advance(1.0)
    assert t.clock.set_timers() == 1
    assert len(asyncio.all_tasks()) == 2, "the test and its receive"
    await t.clock.advance(4.0)
    assert waiting.result() == []
    assert t.clock.set_timers() == 0


@pytest.mark.parametrize("spec", [{}, {"ordered": True}, {"dedup_seconds": 60.0}], ids=str)
@on_a_loop
async def test_what_is_settled_leaves_nothing_behind(spec: dict[str, Any]) -> None:
    before = set(map(id, _kept()))
    t = await Bench(**spec).declare()
    await t.send(*(t.message(key=f"k{n % 7}", not_before=t.in_seconds(n % 3)) for n in range(100)))
    receiver = t.receiver()
    for _ in range(3):
        await t.clock.advance(1.0)
        deliveries = await receiver.receive(100, 0.0)
        await receiver.abandon([Abandon(one, 0.5) for one in deliveries[::2]])
        await receiver.dead_letter([DeadLetter(one, Death(reason="rejected")) for one in deliveries[1::4]])
        await receiver.complete(deliveries[3::4])
    while deliveries := await receiver.receive(100, 0.0) or await _later(t, receiver):
        await receiver.complete(deliveries)
    await t.adapter.purge(t.spec, dead=True)
    del deliveries
    assert [one for one in _kept() if id(one) not in before] == []
    assert await t.depth() == (0, 0, 0, 0, 0.0)


def _kept() -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Entry | Lane | Delivery)]


async def _later(t: Bench, receiver: Receiver) -> Sequence[Delivery]:
    await t.clock.advance(1.0)
    return await receiver.receive(100, 0.0)


def test_dedup_keys_are_forgotten_when_their_window_is_over() -> None:
    recent = Recent(10.0)
    for second in range(100):
        assert recent.is_new(str(second), second)
        recent.remember(str(second), second)
    assert len(recent) == 10
    assert [key for key in range(85, 100) if recent.is_new(str(key), 99.0)] == [85, 86, 87, 88, 89]


def test_the_queues_outlive_an_event_loop() -> None:
    t = Bench(clock=SystemClock())

    async def first() -> None:
        await t.declare()
        await t.fill(2)
        await t.next_one()
        waiting = asyncio.ensure_future(t.receiver(capacity=1).receive(0, 60.0))
        await asyncio.sleep(0)
        waiting.cancel()

    async def second() -> None:
        assert (await t.depth())[:3] == (1, 1, 0)
        receiver = t.receiver()
        [delivery] = await receiver.receive(5, 1.0)
        await receiver.complete([delivery])
        waiting = asyncio.ensure_future(receiver.receive(1, 60.0))
        await asyncio.sleep(0)
        await t.fill()
        assert ids(await waiting) == ["m3"]

    asyncio.run(first())
    asyncio.run(second())


@on_a_loop
async def test_two_adapters_share_nothing() -> None:
    t, other = await Bench().declare(), await Bench().declare()
    await t.fill()
    assert (await other.depth()).ready == 0


# -- receivers beside each other


@on_a_loop
async def test_a_receiver_that_is_stopped_keeps_no_message_from_the_others() -> None:
    t = await Bench().declare()
    stopped, other = t.receiver(), t.receiver()
    waits = [asyncio.ensure_future(one.receive(1, 60.0)) for one in (stopped, other)]
    await t.clock.advance(1.0)
    await t.fill()
    await stopped.hold(0)
    await t.clock.advance(0.0)
    assert [ids(wait.result()) for wait in waits] == [[], ["m1"]]


@on_a_loop
async def test_a_delivery_is_settled_by_its_own_receiver_only() -> None:
    t = await Bench().declare()
    await t.fill()
    holder, other = t.receiver(), t.receiver()
    deliveries = await holder.receive(1, 0.0)
    assert isinstance((await failures(other.complete(deliveries)))[0], LeaseLost)
    assert not await failures(holder.complete(deliveries))
    assert isinstance((await failures(holder.complete(deliveries)))[0], LeaseLost)


@on_a_loop
async def test_receivers_of_a_dropped_queue_are_lost_and_so_is_what_they_held() -> None:
    t = await Bench().declare()
    await t.fill()
    receiver = t.receiver()
    held = await receiver.receive(1, 0.0)
    waiting = asyncio.ensure_future(receiver.receive(1, 60.0))
    await t.clock.advance(1.0)
    await t.adapter.drop(t.spec)
    with pytest.raises(ReceiverLost, match="orders"):
        await waiting
    await t.declare()
    with pytest.raises(ReceiverLost):
        await receiver.complete(held)
    assert (await t.depth())[:3] == (0, 0, 0)


# -- order


@on_a_loop
async def test_keys_take_turns_within_one_list() -> None:
    t = await Bench(ordered=True).declare()
    for key in ("a", "a", "a", "b", "b", None):
        await t.fill(key=key)
    assert ids(await t.receiver().receive(10, 0.0)) == ["m1", "m4", "m6", "m2", "m5", "m3"]


@on_a_loop
async def test_a_tail_that_is_given_back_before_its_head_still_comes_after_it() -> None:
    t = await Bench(ordered=True).declare()
    await t.fill(4, key="k")
    receiver = t.receiver()
    head, *tail = await receiver.receive(3, 0.0)
    await receiver.abandon([Abandon(one, counted=False) for one in tail[::-1]])
    assert await receiver.receive(3, 0.0) == [], "the head is out, so its key is blocked"
    await receiver.abandon([Abandon(head, 10.0)])
    await t.clock.advance(9.75)
    assert await receiver.receive(3, 0.0) == []
    await t.clock.advance(0.25)
    assert ids(await receiver.receive(9, 0.0)) == ["m1", "m2", "m3", "m4"]


@on_a_loop
async def test_a_delayed_message_blocks_what_was_sent_after_it_and_nothing_else() -> None:
    t = await Bench(ordered=True).declare()
    await t.fill(key="k")
    await t.send(t.message(key="k", not_before=t.in_seconds(10)))
    await t.fill(key="k")
    receiver = t.receiver()
    await receiver.complete(first := await receiver.receive(9, 0.0))
    assert ids(first) == ["m1"]
    await t.clock.advance(10.0)
    assert ids(await receiver.receive(9, 0.0)) == ["m2", "m3"]


@on_a_loop
async def test_a_key_whose_delay_ends_while_its_head_is_leased_comes_once() -> None:
    t = await Bench(ordered=True).declare()
    await t.fill(key="k")
    await t.send(t.message(key="k", not_before=t.in_seconds(10)))
    receiver = t.receiver()
    held = await receiver.receive(9, 0.0)
    await t.clock.advance(20.0)
    await receiver.complete(held)
    assert ids(await receiver.receive(9, 0.0)) == ["m2"]
    assert await receiver.receive(9, 0.0) == []


@on_a_loop
async def test_a_look_shows_nothing_ahead_of_what_it_must_wait_for() -> None:
    t = await Bench(ordered=True).declare()
    await t.send(t.message(key="k", not_before=t.in_seconds(2)), t.message(key="k"), t.message())
    assert [message.id for message in await t.adapter.peek(t.spec, 10)] == ["m3", "m1", "m2"]


@on_a_loop
async def test_a_priority_overtakes_other_keys_and_never_its_own() -> None:
    t = await Bench(ordered=True).declare()
    await t.fill(key="a", priority=1)
    await t.fill(key="a", priority=9)
    await t.fill(key="b", priority=5)
    assert ids(await t.receiver(capacity=2).receive(2, 0.0)) == ["m3", "m1"]


@on_a_loop
async def test_what_comes_back_finds_its_old_place() -> None:
    t = await Bench().declare()
    await t.fill(4)
    receiver = t.receiver()
    deliveries = await receiver.receive(3, 0.0)
    await t.clock.advance(1.0)
    await receiver.abandon([Abandon(one) for one in (deliveries[2], deliveries[0])])
    await t.fill()
    assert ids(await receiver.receive(9, 0.0)) == ["m1", "m3", "m4", "m5"]


@on_a_loop
async def test_a_message_whose_delay_is_over_stands_behind_what_was_ready_before() -> None:
    t = await Bench().declare()
    await t.send(t.message(not_before=t.in_seconds(10)))
    await t.fill(2)
    await t.clock.advance(11.0)
    await t.fill()
    receiver = t.receiver()
    assert [ids(await receiver.receive(1, 0.0)) for _ in range(4)] == [["m2"], ["m3"], ["m1"], ["m4"]]


@pytest.mark.parametrize("verb", ["complete", "dead_letter", "abandon"])
@on_a_loop
async def test_settling_a_head_wakes_whoever_waits_for_its_key(verb: str) -> None:
    t = await Bench(ordered=True).declare()
    await t.fill(2, key="k")
    receiver = t.receiver()
    [head] = await receiver.receive(1, 0.0)
    waiting = asyncio.ensure_future(t.receiver().receive(1, 1000.0))
    await t.clock.advance(1.0)
    items = {"complete": head, "dead_letter": DeadLetter(head, Death(reason="rejected")), "abandon": Abandon(head)}
    await getattr(receiver, verb)([items[verb]])
    await t.clock.advance(0.0)
    assert ids(waiting.result()) == ["m1" if verb == "abandon" else "m2"]


ACTIONS = st.one_of(
    st.tuples(
        st.just("send"),
        st.lists(st.tuples(st.sampled_from([0.0, 0.0, 5.0]), st.sampled_from(["a", "b", None])), max_size=4),
        st.none(),
    ),
    st.tuples(st.just("receive"), st.integers(1, 4), st.none()),
    st.tuples(st.just("complete"), st.integers(0, 5), st.none()),
    st.tuples(st.just("abandon"), st.integers(0, 5), st.sampled_from([0.0, 0.0, 3.0])),
    st.tuples(st.just("advance"), st.sampled_from([1.0, 4.0, 31.0]), st.none()),
)


class Model:
    """The same queue as one list, in the order of sending, looked through from its start each time."""

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.waiting: list[tuple[int, str | None, float]] = []  # number, key, ready at
        self.leased: dict[int, tuple[str | None, float]] = {}  # number: key, lease's end

    def advance(self, now: float) -> None:
        for number, (key, end) in list(self.leased.items()):
            if end <= now:
                self.back(number, key, now)

    def back(self, number: int, key: str | None, ready_at: float) -> None:
        del self.leased[number]
        self.waiting = sorted([*self.waiting, (number, key, ready_at)])

    def may_come(self, now: float) -> list[int]:
        """Which messages the next list may hold, as many as could be asked for."""
        blocked = {key for key, _ in self.leased.values() if key is not None} if self.ordered else set[str]()
        numbers: list[int] = []
        for number, key, ready_at in self.waiting:
            if key in blocked:
                continue
            if ready_at <= now:
                numbers.append(number)
            elif self.ordered and key is not None:
                blocked.add(key)
        return numbers

    def take(self, numbers: list[int], now: float) -> None:
        for number, key, _ in self.waiting:
            if number in numbers:
                self.leased[number] = (key, now + 30.0)
        self.waiting = [one for one in self.waiting if one[0] not in numbers]


@pytest.mark.parametrize("ordered", [False, True])
@settings(max_examples=150, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=40))
def test_whatever_happens_it_does_what_a_plain_list_would(ordered: bool, actions: list[tuple[str, Any, Any]]) -> None:
    asyncio.run(_compare_with_model(ordered, actions))


async def _compare_with_model(ordered: bool, actions: list[tuple[str, Any, Any]]) -> None:
    t, model = await Bench(ordered=ordered).declare(), Model(ordered)
    receiver = t.receiver()
    held: dict[int, Delivery] = {}
    sent = 0
    for action, amount, detail in actions:
        now = t.clock.monotonic()
        if action == "send":
            new = [(number, key, now + delay) for number, (delay, key) in enumerate(amount, sent)]
            sent += len(new)
            model.waiting += new
            await t.send(*(t.message(id=str(n), key=key, not_before=t.in_seconds(at - now)) for n, key, at in new))
        elif action == "receive":
            came = {int(one.message.id): one for one in await receiver.receive(amount, 0.0)}
            possible = model.may_come(now)
            assert len(came) == min(amount, len(possible))
            assert set(came) <= set(possible)
            _check_turns(list(came), {number: key for number, key, _ in model.waiting}, possible, ordered)
            model.take(list(came), now)
            held |= came
        elif action == "advance":
            await t.clock.advance(amount)
            model.advance(t.clock.monotonic())
        elif held:
            number = sorted(held)[amount % len(held)]
            delivery = held.pop(number)
            if number not in model.leased:
                assert await failures(receiver.complete([delivery]))
            elif action == "complete":
                await receiver.complete([delivery])
                del model.leased[number]
            else:
                await receiver.abandon([Abandon(delivery, detail)])
                model.back(number, model.leased[number][0], now + detail)
        ready, leased, delayed, _, _ = await t.depth()
        late = sum(ready_at > t.clock.monotonic() for _, _, ready_at in model.waiting)
        assert (ready, leased, delayed) == (len(model.waiting) - late, len(model.leased), late)


def _check_turns(came: list[int], keys: dict[int, str | None], possible: list[int], ordered: bool) -> None:
    """Of each key the first ones came, in order."""
    for key in {keys[number] for number in came} - {None} if ordered else ():
        of_key = [number for number in came if keys[number] == key]
        assert of_key == [number for number in possible if keys[number] == key][: len(of_key)]


# -- declaring and sending


@on_a_loop
async def test_a_bound_refuses_what_does_not_fit_and_names_itself() -> None:
    t = await Bench(max_depth=3).declare()
    messages = [t.message() for _ in range(5)]
    failed = await failures(t.send(*messages))
    assert sorted(failed) == [3, 4]
    assert all(isinstance(error, QueueFull) for error in failed.values())
    with pytest.raises(QueueFull, match=r"orders.*3"):
        await t.send(*messages[3:])
    assert ids(await t.receiver().receive(9, 0.0)) == ["m1", "m2", "m3"]
    await t.send(*messages[3:])


@on_a_loop
async def test_each_item_of_a_batch_is_refused_for_its_own_reason() -> None:
    t = await Bench("servicebus", max_depth=1).declare()
    large = t.message(body=b"x" * (t.can.max_message_bytes + 1))
    failed = await failures(t.send(large, t.message(), large, t.message()))
    assert {index: type(error) for index, error in failed.items()} == {
        0: MessageTooLarge,
        2: MessageTooLarge,
        3: QueueFull,
    }
    assert ids([await t.next_one()]) == ["m2"]


@on_a_loop
async def test_a_duplicate_takes_no_room_and_one_that_found_none_is_not_remembered() -> None:
    t = await Bench(max_depth=1, dedup_seconds=60.0).declare()
    first, second = t.message(), t.message()
    assert sorted(await failures(t.send(first, first, second))) == [2]
    receiver = t.receiver()
    await receiver.complete(await receiver.receive(1, 0.0))
    await t.send(second)
    assert ids([await t.next_one()]) == ["m2"]


@on_a_loop
async def test_a_message_that_is_too_large_is_refused_with_both_numbers() -> None:
    clock = VirtualClock()
    adapter = MemoryAdapter("memory://", MemoryOptions(max_message_bytes=1000), clock=clock, deadline_seconds=5.0)
    spec = QueueSpec(name="orders")
    assert (await adapter.declare(spec)).max_message_bytes == 1000
    sender = adapter.sender(spec)
    message = Message(id="m1", body=b"x" * 1000, time=clock.now())
    with pytest.raises(MessageTooLarge, match=rf"m1 takes {sender.size(message)} bytes.*1000"):
        await sender.send([message])


@pytest.mark.parametrize(
    ("setting", "value"), [("lease_seconds", 60.0), ("dedup_seconds", 9.0), ("max_depth", 5), ("ordered", True)]
)
@on_a_loop
async def test_verifying_names_the_setting_that_differs_and_both_values(setting: str, value: Any) -> None:
    t = await Bench().declare()
    other = QueueSpec(**{"name": "orders", "lease_seconds": 30.0, "declare": "verify", setting: value})
    with pytest.raises(ConfigError, match=rf"orders.*{setting} is {getattr(t.spec, setting)} .* {value}"):
        await t.adapter.declare(other)


@on_a_loop
async def test_the_order_of_a_queue_cannot_be_changed_while_it_is_there() -> None:
    t = await Bench().declare()
    t.spec = QueueSpec(name="orders", ordered=True)
    with pytest.raises(ConfigError, match="ordered"):
        await t.declare()
    await t.adapter.drop(t.spec)
    await t.declare()


@on_a_loop
async def test_a_queue_that_was_not_to_be_created_is_missed_at_its_first_use() -> None:
    t = await Bench(declare="skip").declare()
    with pytest.raises(QueueNotFound, match="orders"):
        await t.fill()
    with pytest.raises(QueueNotFound, match="orders"):
        await t.receiver().receive(1, 0.0)


def test_a_personality_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"kafka.*plain, sqs, fifo"):
        Bench("kafka")  # type: ignore[arg-type]  # as from a URL


# -- personalities


@pytest.mark.parametrize(("personality", "attempt"), [("plain", 1), ("sqs", 2), ("fifo", 2), ("rabbitmq", 1)])
@pytest.mark.parametrize("stop", ["hold", "close"])
@on_a_loop
async def test_what_was_on_its_way_when_the_flow_stopped_counts_on_sqs(
    personality: PersonalityName, attempt: int, stop: str
) -> None:
    t = await Bench(personality).declare()
    receiver = t.receiver()
    waiting = asyncio.ensure_future(receiver.receive(1, 20.0))
    await t.clock.advance(1.0)
    await t.fill(2)
    if stop == "hold":
        await receiver.hold(0)
        assert await waiting == []
    else:
        await receiver.close()
        with pytest.raises(ReceiverLost):
            await waiting
    deliveries = await t.receiver().receive(2, 0.0)
    assert {one.message.id: one.attempt for one in deliveries} == {"m1": attempt, "m2": 1}


@pytest.mark.parametrize(("personality", "comes_after"), [("plain", 3600.0), ("sqs", 900.0), ("fifo", 0.0)])
@on_a_loop
async def test_a_delay_is_cut_to_what_the_broker_keeps(personality: PersonalityName, comes_after: float) -> None:
    t = await Bench(personality).declare()
    due = t.in_seconds(3600)
    await t.send(t.message(not_before=due))
    [delivery] = await _received_after(t, comes_after)
    assert delivery.message.not_before == due, "the core sees that it is early"


async def _received_after(t: Bench, seconds: float) -> Sequence[Delivery]:
    if seconds:
        await t.clock.advance(seconds - 0.25)
        assert await t.receiver().receive(1, 0.0) == []
        await t.clock.advance(0.25)
    return await t.receiver().receive(1, 0.0)


@on_a_loop
async def test_a_copy_that_must_wait_longer_than_sqs_delays_comes_early_too() -> None:
    t = await Bench("sqs").declare()
    await t.fill()
    receiver = t.receiver()
    [delivery] = await receiver.receive(1, 0.0)
    due = t.in_seconds(3600)
    await receiver.abandon([Abandon(delivery, 3600.0, counted=False)])
    [copy] = await _received_after(t, 900.0)
    assert (copy.message.not_before, copy.message.generation, copy.attempt) == (due, 1, 1)


@on_a_loop
async def test_sqs_keeps_a_delivery_for_twelve_hours_and_then_refuses_to_extend() -> None:
    t = await Bench("sqs", lease_seconds=4 * 3600.0).declare()
    await t.fill()
    receiver = t.receiver()
    [delivery] = await receiver.receive(1, 0.0)
    for _ in range(4):
        await t.clock.advance(2 * 3600.0)
        await receiver.extend([delivery])
    await t.clock.advance(1.0)
    assert isinstance((await failures(receiver.extend([delivery])))[0], Unsupported)
    assert delivery.leased_until == 12 * 3600.0
    await receiver.complete([delivery])


@on_a_loop
async def test_where_nothing_is_given_back_uncounted_the_item_is_refused_and_stays_leased() -> None:
    t = await Bench("fifo").declare()
    await t.fill(2)
    receiver = t.receiver()
    kept, back = await receiver.receive(2, 0.0)
    failed = await failures(receiver.abandon([Abandon(kept, counted=False), Abandon(back)]))
    assert t.can.uncounted == "none"
    assert [type(error) for error in failed.values()] == [Unsupported]
    await receiver.complete([kept])
    assert (await t.next_one()).attempt == 2


@on_a_loop
async def test_sessions_give_back_in_place_and_uncounted() -> None:
    t = await Bench("servicebus", ordered=True).declare()
    await t.fill(2, key="k")
    receiver = t.receiver()
    first, second = await receiver.receive(2, 0.0)
    await receiver.abandon([Abandon(first), Abandon(second, counted=False)])
    back = await receiver.receive(2, 0.0)
    assert [(one.message.id, one.message.generation, one.attempt) for one in back] == [
        (first.message.id, 0, 2),
        (second.message.id, 0, 1),
    ]


@on_a_loop
async def test_a_delay_longer_than_one_giving_back_can_have_is_refused_and_not_cut() -> None:
    t = await Bench("sqs").declare()
    await t.fill()
    receiver = t.receiver()
    [delivery] = await receiver.receive(1, 0.0)
    failed = await failures(receiver.abandon([Abandon(delivery, 12 * 3600.0 + 1)]))
    assert isinstance(failed[0], Unsupported)
    assert "43200 s" in str(failed[0])
    assert not await failures(receiver.abandon([Abandon(delivery, 12 * 3600.0)]))


@on_a_loop
async def test_fifo_keeps_the_order_of_keys_unasked() -> None:
    t = await Bench("fifo").declare()
    await t.fill(2, key="k")
    receiver = t.receiver()
    [head] = await receiver.receive(1, 0.0)
    await receiver.abandon([Abandon(head, 600.0)])
    await t.clock.advance(599.0)
    assert await receiver.receive(2, 0.0) == []
    await t.clock.advance(1.0)
    assert ids(await receiver.receive(2, 0.0)) == ["m1", "m2"]


@on_a_loop
async def test_rabbitmq_tells_two_priorities_apart_and_keeps_the_order_within_each() -> None:
    t = await Bench("rabbitmq").declare()
    for priority in (0, 5, 4, 9):
        await t.fill(priority=priority)
    assert ids(await t.receiver().receive(9, 0.0)) == ["m2", "m4", "m1", "m3"]


@pytest.mark.parametrize(
    ("personality", "unknown"),
    [
        ("plain", set[str]()),
        ("sqs", {"oldest_age_seconds"}),
        ("rabbitmq", {"leased", "delayed", "oldest_age_seconds"}),
        ("servicebus", {"leased", "oldest_age_seconds"}),
    ],
)
@on_a_loop
async def test_a_depth_has_no_figure_that_the_broker_does_not_know(
    personality: PersonalityName, unknown: set[str]
) -> None:
    t = await Bench(personality).declare()
    depth = (await t.depth())._asdict()
    assert {name for name, value in depth.items() if value is None} == unknown


@pytest.mark.parametrize(
    ("personality", "setting", "value", "limit"),
    [
        ("servicebus", "lease_seconds", 301.0, "5 to 300 s"),
        ("servicebus", "lease_seconds", 4.0, "5 to 300 s"),
        ("push", "lease_seconds", 14.0, "15 to 1800 s"),
        ("sqs", "lease_seconds", 43201.0, "0 to 43200 s"),
        ("plain", "lease_seconds", 0.0, "0 to inf s"),
        ("fifo", "dedup_seconds", 301.0, "at most 300 s"),
        ("sqs", "dedup_seconds", 1.0, "at most 0 s"),
        ("sqs", "ordered", True, "order of keys"),
        ("rabbitmq", "ordered", True, "order of keys"),
        ("push", "ordered", True, "order of keys"),
    ],
)
@on_a_loop
async def test_what_a_broker_cannot_keep_is_refused_with_its_limit(
    personality: PersonalityName, setting: str, value: Any, limit: str
) -> None:
    with pytest.raises(ConfigError, match=rf"orders.*{setting} is {value}.*{limit}"):
        await Bench(personality, **{setting: value}).declare()


@pytest.mark.parametrize(("personality", "window"), [("fifo", 300.0), ("servicebus", 600.0)])
@on_a_loop
async def test_duplicates_are_dropped_where_the_broker_always_does(personality: PersonalityName, window: float) -> None:
    t = await Bench(personality).declare()
    assert t.can.dedup_seconds == window
    message = t.message()
    await t.send(message)
    await t.clock.advance(window - 0.25)
    await t.send(message)
    assert (await t.depth()).ready == 1
    await t.clock.advance(0.25)
    await t.send(message)
    assert (await t.depth()).ready == 2


@on_a_loop
async def test_a_copy_is_a_duplicate_like_any_other_message() -> None:
    t = await Bench("servicebus").declare()
    message = t.message()
    await t.send(message)
    receiver = t.receiver()
    held = await receiver.receive(1, 0.0)
    copy = message.copy(attempts=0, not_before=None, failed_at=None)
    await receiver.abandon([Abandon(one, counted=False) for one in held])
    await t.send(copy)
    assert (await t.depth()).ready == 1, "a copy is remembered"
    held = await receiver.receive(1, 0.0)
    await t.send(copy.copy(attempts=0, not_before=None, failed_at=None))  # takes the name that the next copy would have
    await receiver.abandon([Abandon(one, counted=False) for one in held])
    assert (await t.depth()).ready == 1, "and may be dropped"


@pytest.mark.parametrize("personality", ["sqs", "fifo", "rabbitmq", "servicebus", "push"])
@on_a_loop
async def test_messages_are_written_out_and_read_again_as_on_the_wire(personality: PersonalityName) -> None:
    t = await Bench(personality).declare()
    message = t.message(body=b"\xff\x00", content_type="image/png", headers={"x-a": "ä"}, key="k", priority=7)
    await t.send(message)
    receiver = t.receiver()
    [delivery] = await receiver.receive(1, 0.0)
    assert delivery.message == message
    assert delivery.message is not message
    death = Death(reason="rejected", detail="no", first_failed_at=t.clock.now())
    await receiver.dead_letter([DeadLetter(delivery, death)])
    [dead] = await t.receiver(dead=True).receive(1, 0.0)
    assert dead.message == message.dead(death)


@on_a_loop
async def test_push_takes_and_settles_one_at_a_time_and_never_for_longer_than_its_lease() -> None:
    t = await Bench("push").declare()
    assert t.can.max_lease_seconds == t.spec.lease_seconds
    await t.fill()
    await t.fill()
    receiver = t.receiver()
    first, second = await receiver.receive(9, 0.0), await receiver.receive(9, 0.0)
    assert ids([*first, *second]) == ["m1", "m2"]
    with pytest.raises(Unsupported, match="2 items"):
        await receiver.complete([*first, *second])
    with pytest.raises(Unsupported, match="2 items"):
        await t.fill(2)
    await receiver.complete(first)


@pytest.mark.parametrize(("personality", "ready"), [("plain", 0), ("rabbitmq", 1), ("push", 1), ("servicebus", 0)])
@on_a_loop
async def test_closing_gives_back_at_once_what_hangs_on_the_connection(
    personality: PersonalityName, ready: int
) -> None:
    t = await Bench(personality).declare()
    await t.fill()
    receiver = t.receiver()
    await receiver.receive(1, 0.0)
    await receiver.close()
    assert (await t.depth()).ready == ready


@pytest.mark.parametrize("personality", ["plain", "sqs", "fifo", "rabbitmq", "servicebus", "push"])
@on_a_loop
async def test_a_dead_letter_is_never_counted_and_never_dies_again(personality: PersonalityName) -> None:
    t = await Bench(personality).declare()
    await t.fill(attempts=3)
    receiver = t.receiver()
    [delivery] = await receiver.receive(1, 0.0)
    await receiver.dead_letter([DeadLetter(delivery, Death(reason="rejected"))])
    for counted in (True, False):
        reader = t.receiver(dead=True)
        [dead] = await reader.receive(1, 0.0)
        assert dead.attempt == 1
        with pytest.raises(Unsupported, match="orders-dead"):
            await reader.dead_letter([DeadLetter(dead, Death(reason="rejected"))])
        await reader.abandon([Abandon(dead, counted=counted)])
    [dead] = await t.receiver(dead=True).receive(1, 0.0)
    await t.clock.advance(31.0)
    [dead] = await t.receiver(dead=True).receive(1, 0.0)
    assert (dead.attempt, dead.message.failed_at) == (1, None)


@pytest.mark.parametrize("personality", ["plain", "rabbitmq"])
@pytest.mark.parametrize("wrong_by_seconds", [-3600, 3600])
@on_a_loop
async def test_another_process_is_beside_us_and_its_delays_are_as_long_though_its_wall_clock_is_wrong(
    personality: PersonalityName, wrong_by_seconds: int
) -> None:
    t = await Bench(personality).declare()

    class WrongClock(CountingClock):
        def monotonic(self) -> float:
            return t.clock.monotonic()

        def now(self) -> datetime:
            return t.clock.now() + timedelta(seconds=wrong_by_seconds)

    clock = WrongClock()
    other = t.adapter.beside(clock)
    await other.sender(t.spec).send([t.message(not_before=clock.now() + timedelta(seconds=10))])
    receiver = other.receiver(t.spec, capacity=10)
    await receiver.hold(10)
    assert await receiver.receive(1, 0) == []
    await t.clock.advance(10)
    [delivery] = await receiver.receive(1, 0)
    await receiver.abandon([Abandon(delivery, 20.0)])
    await t.clock.advance(19.9)
    assert await receiver.receive(1, 0) == []
    await t.clock.advance(0.1)
    [again] = await receiver.receive(1, 0)
    assert again.attempt == 2
