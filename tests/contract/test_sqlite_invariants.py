"""Whatever is done to the queues of a file, in whatever order: every message is in exactly one place."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from leveler_sqlite import SQLiteAdapter, SQLiteOptions

from leveler.adapter import Abandon, DeadLetter, Delivery, QueueSpec, Receiver
from leveler.errors import LeaseLost, QueueFull
from leveler.message import Death, Message
from leveler.testing import VirtualClock
from leveler.testing.contract import errors_of

Item = TypeVar("Item")

_LEASE_SECONDS = 10.0
_STEPS = 120

#: `place`: where each message is, however many share a row; the bundle that it is in, if it is in one.
_PLACES = """WITH RECURSIVE step (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM step WHERE n < 99),
    run (id, size, bundle) AS (SELECT id, size, bundle FROM ready UNION ALL SELECT id, size, bundle FROM held),
    place (id, bundle) AS (SELECT id + n, bundle FROM run CROSS JOIN step WHERE n < size) """

#: Each finds rows that must not be there.
_INVARIANTS = {
    "a message is in two places": "SELECT id FROM place GROUP BY id HAVING count(*) > 1",
    "a message is nowhere": "SELECT id FROM message WHERE id NOT IN (SELECT id FROM place WHERE bundle IS NULL)",
    "something that is no message": """
        SELECT id FROM place WHERE bundle IS NULL AND id NOT IN (SELECT id FROM message)""",
    "something that is not in the bundle that it should be in": """
        SELECT p.id FROM place p LEFT JOIN bundle b ON b.id = p.bundle
        WHERE p.bundle IS NOT NULL AND (b.id IS NULL OR p.id < b.id OR p.id >= b.id + b.size)""",
    "a bundle is kept without need, or does not know how many are left": """
        SELECT b.id FROM bundle b LEFT JOIN rest r ON r.bundle = b.id
        WHERE coalesce(r.size, b.size) <> (SELECT count(*) FROM place p WHERE p.bundle = b.id)
            OR coalesce(r.size, b.size) < 1""",
    "what is left of a bundle that is gone": "SELECT bundle FROM rest WHERE bundle NOT IN (SELECT id FROM bundle)",
    "several messages that are not in one bundle share a row": "SELECT id FROM run WHERE size <> 1 AND bundle IS NULL",
    "a message that waits for its time keeps a bundle": """
        SELECT id FROM held WHERE token IS NULL AND bundle IS NOT NULL""",
    "the number of messages is wrong": """
        SELECT name FROM queue q WHERE live <> (SELECT total(size) FROM ready WHERE queue = q.id)
            + (SELECT total(size) FROM held WHERE queue = q.id)""",
    "a line does not say what is true": """
        SELECT l.id FROM line l LEFT JOIN held h ON h.queue = l.queue AND h.id = l.id
        WHERE l.state <> CASE WHEN h.id IS NULL THEN 0 WHEN h.token IS NULL THEN 2 ELSE 1 END""",
    "a message with a key is not in line": """
        SELECT id FROM (SELECT id, key FROM ready UNION ALL SELECT id, key FROM held)
        WHERE key IS NOT NULL AND id NOT IN (SELECT id FROM line)""",
    "a line has what is gone": "SELECT id FROM line WHERE id NOT IN (SELECT id FROM message)",
    "a key is free though it is leased, or though it is not its turn": """
        SELECT r.id FROM ready r JOIN line l ON l.queue = r.queue AND l.id = r.id WHERE r.lane < 10 AND EXISTS
            (SELECT 1 FROM line o WHERE o.queue = l.queue AND o.key = l.key AND (o.state = 1 OR o.id < l.id))""",
    "a key is stuck": """
        SELECT r.id FROM ready r JOIN line l ON l.queue = r.queue AND l.id = r.id WHERE r.lane >= 10 AND NOT EXISTS
            (SELECT 1 FROM line o WHERE o.queue = l.queue AND o.key = l.key AND (o.state = 1 OR o.id < l.id))""",
    "a message without a key waits for one": "SELECT id FROM ready WHERE lane >= 10 AND key IS NULL",
}


@pytest.mark.parametrize("ordered", [False, True], ids=["unordered", "ordered"])
@pytest.mark.parametrize("seed", range(12))
def test_every_message_is_in_exactly_one_place(tmp_path: Path, ordered: bool, seed: int) -> None:
    asyncio.run(_Life(tmp_path / "queues.db", ordered, random.Random(seed)).run())


class _Life:
    """A queue to which anything happens."""

    def __init__(self, path: Path, ordered: bool, dice: random.Random) -> None:
        self.path = path
        self.dice = dice
        self.clock = VirtualClock()
        self.queue = QueueSpec(
            name="orders", ordered=ordered, lease_seconds=_LEASE_SECONDS, max_depth=60, dedup_seconds=60
        )
        self.sent = 0
        self.held: list[tuple[Receiver, Delivery]] = []

    async def run(self) -> None:
        url = f"sqlite:///{self.path}"
        async with SQLiteAdapter(url, SQLiteOptions(), clock=self.clock, deadline_seconds=10.0) as adapter:
            await adapter.declare(self.queue)
            self.adapter = adapter
            self.receivers = [adapter.receiver(self.queue, capacity=30, dead=dead) for dead in (False, False, True)]
            steps = [self.send, self.send, self.take, self.take, self.settle, self.settle, self.extend, self.wait]
            for _ in range(_STEPS):
                await self.dice.choice(steps)()
                self.check()
            await self.purge()
            await adapter.drop(self.queue)
            self.check()
        for table in ("message", "bundle", "rest", "ready", "held", "line"):
            assert self.rows(f"SELECT * FROM {table}") == [], table

    async def send(self) -> None:
        messages = [self.message() for _ in range(self.dice.choice([1, 2, 9, 20]))]
        failed = await errors_of(self.adapter.sender(self.queue).send, messages)
        assert all(isinstance(error, QueueFull) for error in failed.values())

    def message(self) -> Message:
        self.sent += 1
        delay = timedelta(seconds=self.dice.choice([1, 5]))
        return Message(
            id=str(self.sent - self.dice.choice([0, 0, 0, 1])),
            body=b"x",
            time=self.clock.now(),
            key=self.dice.choice([None, None, None, "a", "b", "b"]),
            priority=self.dice.choice([0, 4, 4, 4, 4, 9]),
            not_before=self.clock.now() + delay if self.dice.random() < 0.1 else None,
        )

    async def take(self) -> None:
        receiver = self.dice.choice(self.receivers)
        for delivery in await receiver.receive(self.dice.choice([1, 4, 20]), 0.0):
            self.held.append((receiver, delivery))

    async def settle(self) -> None:
        receiver = self.dice.choice(self.receivers)
        mine = [delivery for holder, delivery in self.held if holder is receiver]
        some = self.dice.sample(mine, self.dice.randint(0, len(mine)))
        self.held = [(holder, delivery) for holder, delivery in self.held if delivery not in some]
        last_resort = "abandon" if receiver is self.receivers[2] else "dead_letter"
        verb = self.dice.choice(["complete", "abandon", "abandon", last_resort])
        if verb == "complete":
            await _unless_lost(receiver.complete, some)
        elif verb == "dead_letter":
            await _unless_lost(receiver.dead_letter, [DeadLetter(one, Death(reason="rejected")) for one in some])
        else:
            delays = [self.dice.choice([0.0, 0.0, 3.0]) for _ in some]
            back = [Abandon(*pair, self.dice.random() < 0.5) for pair in zip(some, delays, strict=True)]
            await _unless_lost(receiver.abandon, back)

    async def extend(self) -> None:
        for receiver in self.receivers:
            some = [delivery for holder, delivery in self.held if holder is receiver and self.dice.random() < 0.5]
            await _unless_lost(receiver.extend, some)

    async def wait(self) -> None:
        """Long waits leave a few late settlements behind, not many: most are to do something."""
        await self.clock.advance(self.dice.choice([0.5, 0.5, 3.0, 3.0, _LEASE_SECONDS + 0.01]))

        now = self.clock.monotonic()
        self.held = [pair for pair in self.held if pair[1].leased_until > now or self.dice.random() < 0.1]

    async def purge(self) -> None:
        await self.adapter.purge(self.queue)
        self.check()
        depth = await self.adapter.depth(self.queue)
        assert (depth.ready, depth.delayed) == (0, 0)

    def check(self) -> None:
        for what, query in _INVARIANTS.items():
            assert self.rows(_PLACES + query) == [], what

    def rows(self, query: str) -> list[object]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


async def _unless_lost(verb: Callable[[Sequence[Item]], Awaitable[None]], items: Sequence[Item]) -> None:
    failed = await errors_of(verb, items)
    assert all(isinstance(error, LeaseLost) for error in failed.values())
