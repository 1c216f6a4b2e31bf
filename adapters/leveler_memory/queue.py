"""MemoryQueue: the messages of one queue, and what may happen to them.

It has no task and no timer of its own. Every verb begins with `catch_up`, which lets happen what was due by then,
and keeps to the time that it returns: nothing is seen too early, too late or half done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate, islice, takewhile

import msgspec

from leveler.adapter import INFINITE, Delivery
from leveler.clock import Clock
from leveler.errors import LevelerError
from leveler.message import Message
from leveler_memory.entry import Entry
from leveler_memory.lanes import Lanes
from leveler_memory.leases import Leases, Owner
from leveler_memory.recent import Recent
from leveler_memory.waiters import Waiters
from leveler_memory.waiting import Levels, Waiting


class MemoryQueue:
    """One queue, or the dead letters of one.

    Args:
        ordered: keep the order of each key.
        priority_levels: how many priorities are told apart.
        max_delay_seconds: a message that is to wait longer comes early.
        dead: where its dead letters go. Dead letters themselves have none, and count no attempts.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        ordered: bool = False,
        priority_levels: int = 1,
        max_delay_seconds: float = INFINITE,
        dead: MemoryQueue | None = None,
    ) -> None:
        self.name = name
        self.dead = dead
        #: How many may wait; None = no bound.
        self.max_depth: int | None = None
        #: A dropped queue stays empty, and its receivers are lost.
        self.dropped = False
        self.leases = Leases()
        self.waiters = Waiters(clock)
        self._waiting: Waiting = Lanes(priority_levels) if ordered else Levels(priority_levels)
        self._recent: Recent | None = None
        self._ordered = ordered
        #: The clock of whoever calls a verb now: by his wall clock, which may be wrong, he says when a message may
        #: come, and so for how long it is to wait.
        self.asker = clock
        self._clock = clock
        self._max_delay_seconds = max_delay_seconds
        self._sent = 0

    def configure(self, *, lease_seconds: float, max_depth: int | None = None, dedup_seconds: float = 0.0) -> None:
        """Take over settings, also while the queue is in use: what is leased or waits now stays as it is."""
        self.leases.length_seconds = lease_seconds
        self.max_depth = max_depth
        if self._recent is None or not dedup_seconds:
            self._recent = Recent(dedup_seconds) if dedup_seconds else None
        else:
            self._recent.window_seconds = dedup_seconds

    def catch_up(self) -> float:
        """Let happen what was due by now, and tell what time that is."""
        now = self._clock.monotonic()
        if self._waiting.delayed:
            self._waiting.ripen(now)
        if self.leases.first_end <= now:
            for entry, lease in self.leases.end_overdue(now):
                self._lose(entry, now, ended_at=lease.until)
        return now

    def next_due(self) -> float:
        """Nothing happens by itself before that."""
        delayed = self._waiting.delayed
        return min(self.leases.first_end, delayed[0].since) if delayed else self.leases.first_end

    def send(self, messages: Sequence[Message], now: float) -> list[int]:
        """Take what is new. The indexes of those that there is no room for."""
        if self._recent is None and self.max_depth is None:
            self._append(messages, now)
            return []
        room = INFINITE if self.max_depth is None else self.max_depth - len(self._waiting)
        accepted: list[Message] = []
        refused: list[int] = []
        for index, message in enumerate(messages):
            if self._is_duplicate(message, now):
                continue
            if len(accepted) < room:
                self._remember(message, now)
                accepted.append(message)
            else:
                refused.append(index)
        self._append(accepted, now)
        return refused

    def take(self, count: int, owner: Owner, now: float) -> list[Delivery]:
        """Lease what comes next, at most `count`."""
        entries = self._waiting.take(count, now)
        return self.leases.begin(entries, owner, now) if entries else []

    def take_within(self, most_bytes: float, count: int, owner: Owner, now: float) -> list[Delivery]:
        """The same, and no more bytes of bodies, but for a message that comes alone because nothing else is held."""
        entries = self._waiting.take(count, now)
        fitting = _fitting(entries, most_bytes) or (0 if owner.held else 1)
        for entry in reversed(entries[fitting:]):
            self._waiting.put_back(entry, now)
        del entries[fitting:]
        return self.leases.begin(entries, owner, now) if entries else []

    def complete(self, deliveries: Sequence[Delivery], owner: Owner, now: float) -> dict[int, LevelerError]:
        """Remove what `owner` holds of these; the index of each that it does not."""
        failed = self.leases.end_held(deliveries, owner)
        if self._ordered:
            for index, delivery in enumerate(deliveries):
                if index not in failed:
                    self._waiting.release(delivery.receipt, now)
            self.waiters.wake()
        return failed

    def remove(self, entry: Entry, now: float) -> None:
        """A leased entry is done with."""
        self.leases.end(entry)
        self._waiting.release(entry, now)
        self.waiters.wake()

    def replace(self, entry: Entry, copy: Message, now: float) -> None:
        """Send the copy, then remove the leased entry. As on a broker, a copy that looks like a duplicate is lost."""
        if not self._is_duplicate(copy, now):
            self._remember(copy, now)
            self._append([copy], now)
        self.remove(entry, now)

    def give_back(self, entry: Entry, now: float, *, delay_seconds: float, counted: bool) -> None:
        """A leased entry waits again: in its old place, or after its delay."""
        self.leases.end(entry)
        since = now + delay_seconds if delay_seconds > 0 else entry.since
        self._return(entry, now, since=since, counted=counted, ended_at=now)
        self.waiters.wake()

    def surrender(self, owner: Owner, now: float) -> None:
        """The leases of `owner` end now, as if they had run out."""
        for entry in self.leases.owned(owner):
            self.leases.end(entry)
            self._lose(entry, now, ended_at=now)
        self.waiters.wake()

    def miss(self, count: int, now: float) -> None:
        """Deliveries that never arrived: they were counted, and the messages are here again."""
        for entry in self._waiting.take(count, now):
            self._return(entry, now, since=entry.since, counted=True, ended_at=now)

    def counts(self) -> tuple[int, int, int]:
        """How many are ready, leased and delayed."""
        delayed = len(self._waiting.delayed)
        return len(self._waiting) - delayed, len(self.leases), delayed

    def oldest_age_seconds(self, now: float) -> float:
        return now - self._waiting.oldest(now)

    def peek(self, limit: int) -> list[Message]:
        return [entry.message for entry in islice(self._waiting, limit)]

    def purge(self) -> int:
        """Remove what waits; how many that were."""
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def drop(self) -> None:
        self.dropped = True
        self._waiting.clear()
        for entry in list(self.leases):
            self.leases.end(entry)
        self.waiters.wake()

    def _append(self, messages: Sequence[Message], now: float) -> None:
        counts = self.dead is not None
        entries: list[Entry] = []
        for position, message in enumerate(messages, self._sent):
            since = now if message.not_before is None else now + self._delay_seconds(message)
            entries.append(Entry(message, message.attempts + 1 if counts else 1, position, since))
        self._sent += len(messages)
        self._waiting.add(entries, now)
        self.waiters.wake()

    def _delay_seconds(self, message: Message) -> float:
        return min(message.delay_seconds(self.asker.now()), self._max_delay_seconds)

    def _is_duplicate(self, message: Message, now: float) -> bool:
        return self._recent is not None and not self._recent.is_new(message.dedup_key, now)

    def _remember(self, message: Message, now: float) -> None:
        if self._recent is not None:
            self._recent.remember(message.dedup_key, now)

    def _lose(self, entry: Entry, now: float, *, ended_at: float) -> None:
        """A leased entry waits again, since nobody has settled it."""
        if entry.solo:
            entry.message = msgspec.structs.replace(entry.message, solos=entry.message.solos + 1)
        self._return(entry, now, since=entry.since, counted=True, ended_at=ended_at)

    def _return(self, entry: Entry, now: float, *, since: float, counted: bool, ended_at: float) -> None:
        """A taken entry waits again, with the failure noted if it counts as one."""
        message, attempt = entry.message, entry.attempt
        if counted and self.dead is not None:
            attempt += 1
            if message.failed_at is None:
                failed_at = self._clock.now() - timedelta(seconds=now - ended_at)
                message = msgspec.structs.replace(message, failed_at=failed_at)
        self._waiting.put_back(entry.again(message, attempt, since), now)


def _fitting(entries: Sequence[Entry], most_bytes: float) -> int:
    """How many of the first are no larger together."""
    sizes = accumulate(len(entry.message.body) for entry in entries)
    return sum(1 for _ in takewhile(lambda size: size <= most_bytes, sizes))
