"""FleetRate: so many starts per second, evenly, of all processes together. It asks for its part of them, in stretches.

Like every limit it does no I/O and has no clock: it says how many starts it wants (`ask_at`, `ask`), and is told what
was reserved (`supply`) or that nobody answers (`lose`). `leveler.fleet` goes and asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Final

from leveler.consumer.limits.limit import Figures
from leveler.consumer.limits.rate import Rate
from leveler.schedule import Stretch

#: A stretch is as long as all workers together need for this, divided by them: each of them comes round so often, and
#: that many asks a second are no burden for a store. Who uses less takes less; who finds
#: the rest unused takes more.
BLOCK_SECONDS: Final = 0.1

#: How late a start may be: what a timer, a busy loop or a slot that is not free yet made it miss. A worker whose turn
#: comes once in `BLOCK_SECONDS` has until its next one to use it. Later, the start has passed and nobody makes up for
#: it. In any window the fleet so starts no more than that many seconds' worth above its rate.
LATE_SECONDS: Final = 0.1

#: No stretch begins later than this after it was reserved: so long a dead worker can have had one.
AHEAD_SECONDS: Final = 1.0

#: For how long a worker is counted that does not ask: it may be busy, with a handler that takes long. One that is gone
#: and still counted costs nobody anything, but for a smaller share while the store is away.
PRESENT_SECONDS: Final = 60.0

#: Who is sent away for longer than that asks so often nevertheless, and is counted.
_LONGEST_SILENCE_SECONDS: Final = 20.0

#: While the store is away it is asked so often.
AGAIN_SECONDS: Final = 0.5


class _Slots:
    """Starts in hand, one an interval."""

    __slots__ = ("begin", "count")

    def __init__(self, begin: float, count: int) -> None:
        self.begin = begin
        self.count = count


class FleetRate:
    """
    Args:
        per_second: starts per second of the whole fleet; may be below one.
    """

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._interval = 1.0 / per_second
        self._hand: deque[_Slots] = deque()
        #: When the last start that was taken was due: a start that is taken back is due since then.
        self._last = float("-inf")
        #: Starts that have been made and not been reserved: a batch starts whole and pays afterwards.
        self._owed = 0
        self._wanted = False
        #: When it is worth while to ask, and when there may be something to start.
        self._ask_at = self._free_at = float("-inf")
        self._workers = 1
        #: Whether the store has ever said how many they are, and whether it is away.
        self._is_known = self._is_lost = False
        #: What it starts in `BLOCK_SECONDS`: if it is slow, what it reserves beyond that passes.
        self._useful = float("inf")
        self._counted_since, self._counted = float("-inf"), 0
        #: So many times its part it reserves, because the others leave it.
        self._spare = 1.0
        #: Whether something has passed since it asked.
        self._passed = False
        self._local: Rate | None = None
        self._asking: Callable[[], object] = _nobody
        self._gate: Callable[[], object] = _nobody

    # A limit

    def credit(self, now: float, horizon_seconds: float) -> float:
        """What is in hand, and as much more as this worker's share lets it expect."""
        if self._local is not None:
            return self._local.credit(now, horizon_seconds)
        if self._is_lost:
            return 0.0
        self._let_pass(now)
        until = now + horizon_seconds
        share = self._interval * self._workers
        end = max(now, self._free_at)
        credit = 0.0
        for slots in self._hand:
            credit += min(slots.count, (until - slots.begin) // self._interval + 1) if slots.begin <= until else 0
            end = max(end, slots.begin + slots.count * self._interval)
        return credit + ((until - end) // share + 1 if end <= until else 0) - self._owed

    def wait(self, now: float) -> float:
        if self._local is not None:
            return self._local.wait(now)
        self._let_pass(now)
        if self._hand:
            return max(0.0, self._hand[0].begin - now)
        return self._free_at - now if self._free_at > now else float("inf")

    def start(self, now: float, runs: int) -> None:
        if self._local is not None:
            self._local.start(now, runs)
            return
        self._let_pass(now)
        self._pay(runs)

    def series(self, now: float, most: int) -> int:
        if self._local is not None:
            return self._local.series(now, most)
        self._let_pass(now)
        due = 0
        for slots in self._hand:
            if slots.begin > now or due >= most:
                break
            due += min(slots.count, int((now - slots.begin) // self._interval) + 1)
        return min(most, due)

    def finish(self, now: float, runs: int, latency_seconds: float, verdict: object) -> None:
        """A rate does not care when runs end."""

    def take_back(self, runs: int) -> None:
        if self._local is not None:
            self._local.take_back(runs)
            return
        self._counted -= runs
        unpaid = min(runs, self._owed)
        self._owed -= unpaid
        if runs > unpaid:
            self._hand.appendleft(_Slots(self._last - (runs - unpaid - 1) * self._interval, runs - unpaid))

    def charge(self, messages: int) -> None:
        """They are started now, and paid for by those that come after."""
        if self._local is not None:
            self._local.charge(messages)
        elif messages < 0:
            self.take_back(-messages)
        else:
            self._pay(messages)

    def figures(self) -> Figures:
        return {"rate_per_second": self.per_second, "rate_scope": "local-share" if self.is_lost else "fleet"}

    # Its supply

    def listen(self, asking: Callable[[], object]) -> None:
        """Call `asking` when `ask_at` has become sooner."""
        self._asking = asking

    def feed(self, gate: Callable[[], object]) -> None:
        """Call `gate` when other starts than before are in hand."""
        self._gate = gate

    def want(self) -> None:
        """Somebody waits for this limit, and for nothing else. To be said again whenever somebody still does."""
        if not self._wanted and 2 * sum(slots.count for slots in self._hand) <= self._block:
            self._wanted = True
            self._asking()

    @property
    def ask_at(self) -> float:
        """When to `ask` next; infinity: not before `listen` says so."""
        return self._ask_at if self._wanted or self._owed or self._is_lost else float("inf")

    @property
    def interval_seconds(self) -> float:
        return self._interval

    @property
    def ask(self) -> int:
        """How many starts to reserve."""
        return self._block + self._owed

    def supply(self, stretch: Stretch, now: float) -> None:
        """That is the answer, which has come now. It was given before, so what it promises is never used too early.

        Args:
            stretch: which the store has reserved for this worker alone.
            now: when the answer came.
        """
        self._local, self._wanted = None, False
        self._is_known, self._is_lost = True, False
        self._workers = max(1, stretch.workers)
        self._look_back(now, is_first=stretch.wait_seconds <= 0)
        if stretch.starts:
            self._ask_at = self._free_at = float("-inf")
            self._hand.append(_Slots(now + stretch.wait_seconds, stretch.starts))
            owed, self._owed = self._owed, 0
            self._counted -= owed  # they were counted when they were made
            self._pay(owed)
        else:
            # All who are sent away are told the same moment; where there are many they need not all come at once.
            spread = min(self._interval * self._workers / 4, AHEAD_SECONDS / 2)
            self._free_at = now + stretch.wait_seconds
            self._ask_at = now + min(max(stretch.wait_seconds, spread), _LONGEST_SILENCE_SECONDS)
        self._gate()

    def lose(self, now: float) -> None:
        """Nobody answers. From now on this worker keeps to its share, as far as it knows how many there are.

        One that was never answered starts nothing, or all who begin now would have the whole rate each.
        """
        self._ask_at = now + AGAIN_SECONDS
        if self._is_lost:
            return
        self._is_lost = True
        if self._is_known:
            self._local = Rate(self.local_per_second)
            self._local.start(now, 1)  # what was in hand may have been used just now
            self._hand.clear()
            self._owed, self._wanted = 0, False
        self._gate()

    @property
    def is_lost(self) -> bool:
        """Whether the store is away."""
        return self._is_lost

    @property
    def local_per_second(self) -> float:
        """What this worker may start while the store is away."""
        return self.per_second / self._workers if self._is_known else 0.0

    @property
    def _block(self) -> int:
        part = self.per_second * BLOCK_SECONDS / self._workers
        return max(1, int(min(part, self._useful) * self._spare))

    def _look_back(self, now: float, *, is_first: bool) -> None:
        """Learn how much to reserve from what became of it.

        Args:
            now: when an answer came.
            is_first: nobody had reserved what is due now: there is more than all together take.
        """
        if self._passed:
            self._spare = 1.0
        else:
            self._spare = min(2 * self._spare, self._workers) if is_first else max(1.0, self._spare / 2)
        self._passed = False
        elapsed = now - self._counted_since
        if elapsed >= BLOCK_SECONDS:
            if elapsed < float("inf"):
                self._useful = round(self._counted * BLOCK_SECONDS / elapsed)
            self._counted_since, self._counted = now, 0

    def _let_pass(self, now: float) -> None:
        """Forget the starts that come too late."""
        oldest = now - LATE_SECONDS
        while self._hand and (first := self._hand[0]).begin < oldest:
            passed = min(first.count, ceil((oldest - first.begin) / self._interval))
            first.begin += passed * self._interval
            first.count -= passed
            self._passed = True
            if first.count:
                return
            self._hand.popleft()

    def _pay(self, starts: int) -> None:
        """Take them out of the hand, the first ones first, and owe the rest."""
        self._counted += starts
        while starts and self._hand:
            first = self._hand[0]
            taken = min(starts, first.count)
            self._last = first.begin + (taken - 1) * self._interval
            first.begin += taken * self._interval
            first.count -= taken
            starts -= taken
            if not first.count:
                self._hand.popleft()
        if starts:
            self._owed += starts
            self._asking()


def _nobody() -> None:
    """Nobody listens yet."""
