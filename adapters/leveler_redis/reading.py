"""Reading: how entries are leased, and what is done on the way there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from redis.exceptions import NoScriptError

from leveler.adapter import QueueSpec
from leveler.clock import Clock
from leveler.errors import LevelerError, QueueNotFound
from leveler.holdings import Holdings
from leveler_redis.command import Argument, pack
from leveler_redis.entry import RawEntry
from leveler_redis.errors import is_lost_group
from leveler_redis.keys import Keys
from leveler_redis.receipt import Receipt
from leveler_redis.script import Scripts
from leveler_redis.session import Answer
from leveler_redis.settlements import item
from leveler_redis.tending import UNKNOWN, tending_of
from leveler_redis.wire import Wire

GROUP: Final = b"leveler"

#: Payload that one read is meant to take at most, by the sizes seen before.
_MOST_BYTES: Final = 32 * 1024 * 1024

#: A wait is no longer than this part of a lease, which begins somewhere in it.
_PART_OF_LEASE: Final = 1 / 8
_SHORTEST_WAIT_SECONDS: Final = 0.001
_MOST_LOST: Final = 1000
#: Between two attempts to end a wait that has not begun yet.
_WAKE_SECONDS: Final = 0.005

_READ: Final = (b"XREADGROUP", b"GROUP", GROUP)


class Found(NamedTuple):
    """Entries that are leased since `at`, on the monotonic clock, each with its lane."""

    at: float
    entries: Sequence[tuple[int, RawEntry]]


class Reading:
    """Reads for one consumer, on a connection of its own: what waits must not hold up anybody else.

    A read that finds nothing waits for `poll_seconds` at most: it is never cut short, and there is more to wait for
    than new entries.

    Args:
        queue: where from.
        keys: of the queue, or of its dead letters.
        me: the consumer.
        wire: the connection.
        scripts: to run on the server.
        clock: for leases.
        holdings: what the consumer knows to hold.
        poll_seconds: the longest wait.
        max_message_bytes: what the first ones are expected to have.
        restore: told that the queue is gone; whether it is there again.
    """

    def __init__(
        self,
        queue: QueueSpec,
        keys: Keys,
        me: str,
        wire: Wire,
        scripts: Scripts,
        clock: Clock,
        *,
        holdings: Holdings[Receipt],
        poll_seconds: float,
        max_message_bytes: int,
        restore: Callable[[], Awaitable[bool]],
    ) -> None:
        self._queue = queue
        self._keys = keys
        self._me = me.encode()
        self._wire = wire
        self._scripts = scripts
        self._clock = clock
        self._holdings = holdings
        self._poll = poll_seconds
        self._restore = restore
        self._lane_of = {key: number for number, key in enumerate(keys.lanes, 1)}
        self._tending = UNKNOWN
        self._typical_bytes = max_message_bytes
        self._due = 0.0
        #: Whether an answer has been lost, and entries with it that are leased to us.
        self._has_lost = False
        #: Whether the server is to answer when something comes.
        self.is_waiting = False

    @property
    def lease_seconds(self) -> float:
        """As the queue has it on the server."""
        return self._tending.lease_seconds or self._queue.lease_seconds

    async def read(self, count: int, wait_seconds: float) -> Found:
        """Up to `count` entries: at once if there are any, else what comes within a part of the wait.

        Raises:
            BrokerUnavailable: what was read is lost; it is given back before the next read.
            QueueNotFound: the queue is gone.
        """
        self._due = self._wire.due()
        try:
            if self._has_lost:
                await self._give_back_lost()
            count = min(count, max(1, _MOST_BYTES // self._typical_bytes))
            known = self._tending is not UNKNOWN
            found = await self._look(count)
            if not found.entries and not (known and self._tending.is_empty):
                found = await self._look(count)  # in another lane than was thought
            wait = self._wait(wait_seconds)
            if found.entries or wait < _SHORTEST_WAIT_SECONDS or self._holdings.stopped:
                return found
            return await self._block(count, wait)
        except LevelerError:
            self._has_lost = True  # perhaps: of several answers it may have been one that is no good
            raise

    async def _look(self, count: int) -> Found:
        at = self._clock.monotonic()
        known = self._tending is not UNKNOWN
        reads = [self._command(lane, share) for lane, share in self._tending.shares(count)] if known else []
        tended, *answers = await self._wire.ask([self._scripts.tend.call(self._keys.all), *reads], self._due)
        if isinstance(tended, NoScriptError):
            [tended] = await self._wire.ask([self._scripts.tend.introduce(self._keys.all)], self._due)
        if tended is None or is_lost_group(tended):
            await self._restored()
        else:
            self._tending = tending_of(self._wire.check(tended))
        return Found(at, await self._entries(answers))

    async def _block(self, count: int, wait: float) -> Found:
        """Where several lanes are waited at, each may have one: more than that could not be had back as it was."""
        at = self._clock.monotonic()
        lanes = [self._keys.lane(lane) for lane in self._tending.lanes]
        most = count if len(lanes) == 1 else 1
        milliseconds = max(1, int(wait * 1000))
        command: list[Argument] = [*_READ, self._me, b"COUNT", most, b"BLOCK", milliseconds, b"STREAMS", *lanes]
        command += [b">"] * len(lanes)
        self.is_waiting = True
        try:
            answers = await self._wire.ask([pack(command)], self._wire.due(wait))
        finally:
            self.is_waiting = False
        return Found(at, await self._entries(answers))

    async def wake(self, other: Wire) -> None:
        """End the wait, by another wire. Where the credentials may not do that, it ends by itself soon."""
        with suppress(LevelerError):
            while self.is_waiting and (number := self._wire.number) is not None:
                [woken] = await other.ask([pack((b"CLIENT", b"UNBLOCK", number))])
                if woken != 0:
                    return
                await self._clock.sleep(_WAKE_SECONDS)  # the server had not got to the command that waits

    def _command(self, lane: int, count: int) -> bytes:
        return pack((*_READ, self._me, b"COUNT", count, b"STREAMS", self._keys.lane(lane), b">"))

    def _wait(self, wait_seconds: float) -> float:
        """How long there is nothing else to be done."""
        if self._tending.more:
            return 0.0
        return min(wait_seconds, self._poll, self._tending.seconds_left(), self.lease_seconds * _PART_OF_LEASE)

    async def _entries(self, answers: Sequence[Answer]) -> list[tuple[int, RawEntry]]:
        entries: list[tuple[int, RawEntry]] = []
        for answer in answers:
            if is_lost_group(answer):
                await self._restored()
                continue
            for key, found in self._wire.check(answer) or ():
                lane = self._lane_of[key]
                entries += [(lane, entry) for entry in found]
        if entries:
            self._typical_bytes = max(1024, max([len(fields[-1]) for _, (_, fields) in entries]))
        return entries

    async def _restored(self) -> None:
        self._tending = UNKNOWN
        if not await self._restore():
            raise QueueNotFound(f"queue {self._queue.name!r} is not on {self._wire}: declare it, or correct the name")

    async def _give_back_lost(self) -> None:
        """What was leased to us by an answer that never came has not been started by anybody."""
        asked = [
            pack((b"XPENDING", self._keys.lane(lane), GROUP, b"-", b"+", _MOST_LOST, self._me))
            for lane in self._tending.lanes
        ]
        returns: list[Argument] = [""]
        held = {(receipt.lane, receipt.entry) for receipt in self._holdings}
        for lane, answer in zip(self._tending.lanes, await self._wire.ask(asked, self._due), strict=True):
            for entry, *_ in () if is_lost_group(answer) else self._wire.check(answer):
                if (lane, entry) not in held:
                    returns += item(lane, entry, b"", "keep")
        if len(returns) > 1:
            await self._wire.run(self._scripts.settle, (*self._keys.all, self._keys.base), returns, self._due)
        self._has_lost = False
