"""One queue: its tasks, in the order of their times, and what it may dispatch now. No I/O and no clock of its own."""

from __future__ import annotations

import heapq
import itertools
from typing import Any, Final

import grpc

from leveler_cloudtasks.emulator.backoff import Backoff
from leveler_cloudtasks.emulator.bucket import Bucket
from leveler_cloudtasks.emulator.entry import Entry
from leveler_cloudtasks.emulator.protos import PAUSED, RUNNING
from leveler_cloudtasks.emulator.refusal import Refused, not_found

#: How long the name of a task that is over cannot be used again.
TOMBSTONE_SECONDS: Final = 3600.0


class Queue:
    """A queue with its `proto`. Times are seconds since the epoch, on the emulator's clock."""

    def __init__(self, proto: Any, now: float) -> None:
        self.proto = proto
        self.tasks: dict[str, Entry] = {}
        #: Names of tasks that are over, and until when they are remembered. The oldest first.
        self.tombstones: dict[str, float] = {}
        self.running = 0
        self._schedule: list[tuple[float, int, Entry]] = []
        self._turns = itertools.count(1)
        self.configure(proto, now)

    def configure(self, proto: Any, now: float) -> None:
        """Its settings are these now."""
        self.proto = proto
        limits = proto.rate_limits
        self._bucket = Bucket(limits.max_dispatches_per_second, limits.max_burst_size, now)
        self._most = limits.max_concurrent_dispatches
        self._backoff = Backoff.of(proto.retry_config)

    @property
    def name(self) -> str:
        return str(self.proto.name)

    @property
    def paused(self) -> bool:
        return bool(self.proto.state == PAUSED)

    def set_paused(self, paused: bool) -> None:
        self.proto.state = PAUSED if paused else RUNNING

    # -- tasks

    def task(self, name: str) -> Entry:
        entry = self.tasks.get(name)
        if entry is None:
            raise not_found(f"The task {name}")
        return entry

    def check_free(self, name: str, now: float) -> None:
        """
        Raises:
            Refused: a task has this name, or had it not long ago.
        """
        if name in self.tasks:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"The task {name} exists already.")
        if name in self.tombstones and self.tombstones[name] > now:
            raise Refused(
                grpc.StatusCode.ALREADY_EXISTS,
                "The task cannot be created because a task with this name existed too recently.",
            )

    def add(self, entry: Entry) -> None:
        self.tasks[entry.name] = entry
        self.schedule(entry)

    def schedule(self, entry: Entry) -> None:
        """It waits for its time, and only for that."""
        entry.turn = next(self._turns)
        heapq.heappush(self._schedule, (entry.facts.due_at, entry.turn, entry))

    def remove(self, entry: Entry, now: float) -> float | None:
        """It is over; until when its name is remembered, if it is."""
        self.tasks.pop(entry.name, None)
        entry.turn = 0
        self._forget(now)
        if not entry.facts.named:
            return None
        self.tombstones.pop(entry.name, None)
        self.tombstones[entry.name] = now + TOMBSTONE_SECONDS
        return now + TOMBSTONE_SECONDS

    def clear(self) -> None:
        """Nothing of it is dispatched any more."""
        self.tasks.clear()
        self._schedule.clear()

    def _forget(self, now: float) -> None:
        while self.tombstones and self.tombstones[oldest := next(iter(self.tombstones))] <= now:
            del self.tombstones[oldest]

    # -- dispatching

    def take(self, now: float) -> Entry | None:
        """The next task, if it may be dispatched now."""
        if self.paused or self.running >= self._most or not self._first_is_due(now) or not self._bucket.take(now):
            return None
        return heapq.heappop(self._schedule)[2]

    def wait_seconds(self, now: float) -> float | None:
        """Until `take` may have one; None: not before something else happens."""
        if self.paused or self.running >= self._most or (due_at := self._first_due_at()) is None:
            return None
        return max(due_at - now, self._bucket.wait_seconds(now))

    def retry_seconds(self, entry: Entry, now: float) -> float | None:
        """After a failed try: how long until the next; None: no more."""
        own = entry.proto.HasField("retry_config")
        backoff = Backoff.of(entry.proto.retry_config) if own else self._backoff
        since_first = now - (entry.facts.first_at or now)
        return None if backoff.gives_up(entry.tries, since_first) else backoff.delay_seconds(entry.tries)

    def _first_is_due(self, now: float) -> bool:
        due_at = self._first_due_at()
        return due_at is not None and due_at <= now

    def _first_due_at(self) -> float | None:
        while self._schedule and self._schedule[0][1] != self._schedule[0][2].turn:
            heapq.heappop(self._schedule)  # deleted, or scheduled anew
        return self._schedule[0][0] if self._schedule else None
