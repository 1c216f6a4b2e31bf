"""Lanes: the waiting messages of a queue that keeps the order of each key."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from leveler_memory.entry import Entry
from leveler_memory.waiting import Waiting, by_priority

#: A key, or the position of a message that has none: it is a lane of its own.
LaneKey = str | int


class Lane:
    """The messages of one key: some may be leased, the others wait in the order in which they were sent.

    idle      nothing waits and nothing is leased: the lane is dropped
    open      nothing is leased and the head is ready: it stands in its priority's row
    delayed   nothing is leased and the head is not ready yet: `Lanes.delayed` opens it
    taken     something is leased: the tail has to wait, whoever asks
    """

    __slots__ = ("key", "leased", "tail")

    def __init__(self, key: LaneKey) -> None:
        self.key = key
        self.leased = 0
        #: A heap by position: what comes back finds its old place.
        self.tail: list[tuple[int, Entry]] = []

    @property
    def head(self) -> Entry:
        return self.tail[0][1]

    def put(self, entry: Entry) -> None:
        heappush(self.tail, (entry.position, entry))

    def turns(self) -> Iterator[tuple[float, Entry]]:
        """Its messages in their order, with the earliest time that each could come: not before those ahead of it."""
        since = float("-inf")
        for _, entry in sorted(self.tail):
            since = max(since, entry.since)
            yield since, entry

    def take(self) -> Entry:
        self.leased += 1
        return heappop(self.tail)[1]


class Lanes(Waiting):
    """One lane per key. Keys take turns; the priority of a key is that of its head."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self._lanes: dict[LaneKey, Lane] = {}
        rows: list[deque[Lane]] = [deque() for _ in range(levels)]
        self._row_of_priority = by_priority(rows)
        self._rows = rows[::-1]
        self._waiting = 0

    def add(self, entries: Sequence[Entry], now: float) -> None:
        self._waiting += len(entries)
        for entry in entries:
            if entry.since > now:
                heappush(self.delayed, entry)
            key = _key(entry)
            if (lane := self._lanes.get(key)) is not None:
                lane.put(entry)
                continue
            lane = self._lanes[key] = Lane(key)
            lane.put(entry)
            self._open(lane, now)

    def take(self, count: int, now: float) -> list[Entry]:
        taken: list[Entry] = []
        lanes: list[Lane] = []
        for row in self._rows:
            while row and len(taken) < count:
                lanes.append(row.popleft())
                taken.append(lanes[-1].take())
        # One list may hold several messages of a key: what credit is left goes to the tails, in turns.
        while len(taken) < count and (lanes := [lane for lane in lanes if lane.tail and lane.head.since <= now]):
            taken += [lane.take() for lane in lanes[: count - len(taken)]]
        self._waiting -= len(taken)
        return taken

    def put_back(self, entry: Entry, now: float) -> None:
        self._waiting += 1
        self._lanes[_key(entry)].put(entry)
        if entry.since > now:
            heappush(self.delayed, entry)
        self.release(entry, now)

    def release(self, entry: Entry, now: float) -> None:
        lane = self._lanes[_key(entry)]
        lane.leased -= 1
        if not lane.leased:
            self._open(lane, now)

    def ripen(self, now: float) -> None:
        while self.delayed and self.delayed[0].since <= now:
            entry = heappop(self.delayed)
            lane = self._lanes[_key(entry)]
            if not lane.leased and lane.head is entry:
                self._open(lane, now)

    def oldest(self, now: float) -> float:
        return min((entry.since for entry in self._entries() if entry.since <= now), default=now)

    def clear(self) -> None:
        self.delayed.clear()
        for row in self._rows:
            row.clear()
        for lane in self._lanes.values():
            lane.tail.clear()
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane.leased}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def __iter__(self) -> Iterator[Entry]:
        turns = [turn for lane in self._lanes.values() for turn in lane.turns()]
        return (entry for _, entry in sorted(turns, key=lambda turn: (turn[0], turn[1].position)))

    def _open(self, lane: Lane, now: float) -> None:
        """Nothing of the key is leased: its head is next, unless it is delayed or there is none."""
        if not lane.tail:
            del self._lanes[lane.key]
        elif lane.head.since <= now:
            self._row_of_priority[lane.head.message.priority].append(lane)

    def _entries(self) -> Iterator[Entry]:
        return (entry for lane in self._lanes.values() for _, entry in lane.tail)


def _key(entry: Entry) -> LaneKey:
    key = entry.message.key
    return entry.position if key is None else key
