"""Order per key on Service Bus: who has a session, for how long, and what becomes of it. On the emulator.

Run as a script, this file is a process that takes what there is, says so, and never settles it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from leveler_servicebus import turn

from leveler import Context, Leveler, RetryPolicy, Settings
from leveler.adapter import Abandon, Adapter, Delivery, QueueSpec, Receiver
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import BatchError, ConfigError, LeaseLost
from leveler.message import Message
from leveler.settings import BrokerSettings, ConsumerSettings, LimitSettings, QueueSettings
from tests.containers.find import server
from tests.containers.keeper import Kept
from tests.contract.test_servicebus_server import opened, received, tell


def line(**fields: Any) -> QueueSpec:
    return QueueSpec(**{"name": f"line-{uuid.uuid4().hex[:12]}", "lease_seconds": 5.0, "ordered": True, **fields})


@asynccontextmanager
async def declared(url: str, **fields: Any) -> AsyncIterator[tuple[Adapter, QueueSpec]]:
    async with opened(url) as adapter:
        queue = line(**fields)
        await adapter.declare(queue)
        yield adapter, queue
        await adapter.drop(queue)


def messages(*names: str) -> list[Message]:
    """Each of the key that its name begins with."""
    return [Message(id=name, body=b"{}", time=SystemClock().now(), key=name[0]) for name in names]


async def taken(receiver: Receiver, count: int, within: float = 10.0) -> list[Delivery]:
    """So many, one at a time, and all completed."""
    done: list[Delivery] = []
    async with asyncio.timeout(within):
        while len(done) < count:
            delivery = await received(receiver, within)
            await receiver.complete([delivery])
            done.append(delivery)
    return done


def names(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


def test_keys_that_never_run_dry_make_way_for_others(servicebus: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "_LONGEST_SECONDS", 0.1)

    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await adapter.sender(queue).send(messages(*(f"{key}{number}" for key in "abc" for number in range(100))))
            receiver = adapter.receiver(queue, capacity=1)
            keys: list[str] = []
            while len(set(keys)) < 3:
                keys += [name[0] for name in names(await taken(receiver, 1))]
            assert max(keys.count(key) for key in "abc") < 100
            await receiver.close()

    asyncio.run(play())


def test_one_that_may_hold_several_takes_several_keys_and_leaves_room_for_others(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await adapter.sender(queue).send(messages("a0", "a1", "a2", "a3", "a4", "a5", "a6", "b0", "c0"))
            receiver = adapter.receiver(queue, capacity=3)
            firsts = [await received(receiver) for _ in range(3)]
            assert sorted(names(firsts)) == ["a0", "b0", "c0"]
            await receiver.complete(firsts)
            more = await receiver.receive(3, 5.0)
            assert names(more) == ["a1"], "half of the room is for other keys"
            await receiver.complete(more)
            await receiver.close()
            alone = adapter.receiver(queue, capacity=8)
            await taken(alone, 1)
            assert names(await alone.receive(8, 5.0)) == ["a3", "a4", "a5", "a6"]
            await alone.close()

    asyncio.run(play())


def test_a_session_whose_link_is_lost_is_lost_with_it_and_comes_again_in_order(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url, lease_seconds=60.0) as (adapter, queue):
            await adapter.sender(queue).send(messages("a0", "a1"))
            receiver = adapter.receiver(queue, capacity=1)
            held = await received(receiver)
            await asyncio.to_thread(tell, servicebus.url, "detach", queue=queue.name)
            with pytest.raises(BatchError) as caught:
                await receiver.extend([held])
            assert isinstance(caught.value.failed[0], LeaseLost)
            assert names(await taken(receiver, 2)) == ["a0", "a1"]
            await receiver.close()

    asyncio.run(play())


def test_a_session_that_the_service_takes_away_is_followed_by_others_on_the_same_receiver() -> None:
    async def play(url: str) -> None:
        async with declared(url, lease_seconds=30.0) as (adapter, queue):
            await adapter.sender(queue).send(messages("a0", "a1"))
            receiver = adapter.receiver(queue, capacity=1)
            held = await received(receiver)
            await asyncio.to_thread(tell, url, "clock", forward_seconds=31.0)
            with pytest.raises(BatchError) as caught:
                await receiver.complete([held])
            assert isinstance(caught.value.failed[0], LeaseLost)
            again = await taken(receiver, 2)
            assert [(one.message.id, one.attempt) for one in again] == [("a0", 2), ("a1", 1)]
            await receiver.close()

    with server("servicebus", "process", {}) as mine:
        asyncio.run(play(mine.url))


def test_the_lease_of_a_later_message_of_a_session_is_a_whole_one_too(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await adapter.sender(queue).send(messages("a0", "a1"))
            receiver = adapter.receiver(queue, capacity=1)
            held = await received(receiver)
            await asyncio.sleep(1.6)
            await receiver.complete([held])
            later = await received(receiver)
            assert later.leased_until - adapter.clock.monotonic() > 4.0
            await receiver.close()

    asyncio.run(play())


def test_who_dies_with_a_session_is_followed_in_order_and_has_counted(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url, lease_seconds=3.0) as (adapter, queue):
            await adapter.sender(queue).send(messages("a0", "a1", "a2"))
            command = [sys.executable, __file__, servicebus.url, queue.name]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:  # noqa: ASYNC220 - it is at once
                assert victim.stdout is not None
                assert await asyncio.to_thread(victim.stdout.readline) == "a0\n"
                victim.kill()
            receiver = adapter.receiver(queue, capacity=5)
            killed_at = time.monotonic()
            done = await taken(receiver, 3, within=15.0)
            assert time.monotonic() - killed_at > 0.5
            assert names(done) == ["a0", "a1", "a2"]
            assert done[0].attempt == 2
            await receiver.close()

    asyncio.run(play())


def test_a_delay_ends_with_its_process_and_not_with_its_receiver(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await adapter.sender(queue).send(messages("a0", "a1"))
            async with opened(servicebus.url) as leaving:
                receiver = leaving.receiver(queue, capacity=1)
                await receiver.abandon([Abandon(await received(receiver), 60.0)])
                await receiver.close()
                other = adapter.receiver(queue, capacity=1)
                assert await other.receive(1, 6.0) == [], "its lock is renewed for as long as the delay lasts"
            [first, second] = await taken(other, 2)
            assert (first.message.id, first.attempt, second.message.id) == ("a0", 2, "a1")
            await other.close()

    asyncio.run(play())


def test_what_was_fetched_behind_a_failed_head_does_not_overtake_it(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url) as (adapter, queue):
            await adapter.sender(queue).send(messages(*(f"a{number}" for number in range(8))))
            receiver = adapter.receiver(queue, capacity=8)
            done = await taken(receiver, 1)
            together = await receiver.receive(8, 5.0)
            assert len(together) > 1
            await receiver.abandon([Abandon(together[0], 0.0), *(Abandon(one, 0.0, False) for one in together[1:])])
            rest = await taken(receiver, 7)
            assert names([*done, *rest]) == [f"a{number}" for number in range(8)]
            assert [one.attempt for one in rest] == [2, *[1] * 6]
            await receiver.close()

    asyncio.run(play())


def test_an_ordered_queue_without_sessions_is_refused_by_name_also_if_nobody_looked(servicebus: Kept) -> None:
    async def play() -> None:
        async with declared(servicebus.url, ordered=False) as (adapter, queue):
            mistaken = replace(queue, ordered=True, declare="skip")
            await adapter.declare(mistaken)
            receiver = adapter.receiver(mistaken, capacity=1)
            with pytest.raises(ConfigError, match="RequiresSession"):
                await receiver.receive(1, 1.0)
            await receiver.close()

    asyncio.run(play())


def test_two_consumers_share_the_keys_and_keep_their_order(servicebus: Kept) -> None:
    """Every fifth first run fails, so that heads come again while their tails wait."""
    queue = line(name=f"line-{uuid.uuid4().hex[:12]}").name
    done: defaultdict[str, list[int]] = defaultdict(list)
    running: set[str] = set()
    consumers: set[int] = set()
    over = asyncio.Event()

    def consumer(which: int) -> Leveler:
        app = Leveler(
            settings=Settings(
                brokers={"default": BrokerSettings(url=servicebus.url)},
                queues={queue: QueueSettings(ordered=True, lease_seconds=5.0, retry=RetryPolicy(initial_seconds=0.2))},
                consumers={queue: ConsumerSettings(limits=LimitSettings(concurrency=4))},
            )
        )

        @app.consumer(queue)
        async def handle(number: int, ctx: Context) -> None:
            key = ctx.message.key or ""
            assert key not in running, "two of one key at once"
            running.add(key)
            consumers.add(which)
            await asyncio.sleep(0.01)
            running.discard(key)
            if number % 5 == 0 and ctx.attempt == 1:
                raise RuntimeError("the first time")
            done[key].append(number)
            if sum(map(len, done.values())) == 120:
                over.set()

        return app

    async def play() -> None:
        first = consumer(1)
        async with asyncio.timeout(60.0), first.working(), consumer(2).working():
            for number in range(20):
                await asyncio.gather(*(first.send(queue, number, key=key) for key in "abcdef"))
            await over.wait()
        assert done == {key: [*range(20)] for key in "abcdef"}
        assert consumers == {1, 2}
        async with opened(servicebus.url) as adapter:
            await adapter.drop(line(name=queue))

    asyncio.run(play())


async def hold(url: str, name: str) -> None:
    async with find(url, clock=SystemClock(), deadline_seconds=8.0) as adapter:
        receiver = adapter.receiver(QueueSpec(name=name, lease_seconds=3.0, ordered=True), capacity=1)
        print(*names([await received(receiver)]), flush=True)
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(hold(*sys.argv[1:]))
