"""Downstream: what the handlers call, with a capacity that is known because it was chosen.

    soft        c calls are served at once, the others wait in line; refuses from 2 c calls inside on
    hard        the same, but refuses from 1.25 c + 1 on: there is hardly a line to be noticed
    collapse    all calls share what there is; beyond 1.5 c inside it wastes ever more of it; refuses from 4 c on
    quota       c calls at most, refused above, and no latency ever tells

The same class serves in virtual time and, behind a socket, in a process of its own.
"""

from __future__ import annotations

import heapq
import itertools
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from leveler.clock import Clock, Timer

Kind = Literal["soft", "hard", "collapse", "quota"]
#: Told whether the call was served, or refused.
Answer = Callable[[bool], object]

#: How long a refusal takes, in base latencies.
REFUSAL: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What kind of downstream it is."""

    kind: Kind
    #: Calls that it serves at once without any of them waiting: its knee.
    knee: int
    #: Mean time of a call that does not wait.
    latency_seconds: float
    #: Coefficient of variation of the service time, which is gamma-distributed.
    cv: float

    @property
    def per_second(self) -> float:
        return self.knee / self.latency_seconds

    def bound(self, capacity: float) -> float:
        """From so many calls inside on it refuses."""
        return {
            "soft": 2 * capacity,
            "hard": 1.25 * capacity + 1,
            "collapse": 4 * capacity,
            "quota": capacity,
        }[self.kind]


class Downstream(ABC):
    """Args:
    shape: its kind and size.
    clock: time.
    rng: service times.
    """

    def __init__(self, shape: Shape, clock: Clock, rng: random.Random) -> None:
        self.shape = shape
        self.capacity = float(shape.knee)
        self.inside = 0
        #: Calls refused so far, and all that came.
        self.refused = 0
        self.calls = 0
        #: Calls inside, summed over time, up to `_since`.
        self.inside_seconds = 0.0
        self._clock = clock
        self._rng = rng
        self._since = 0.0
        self._alpha = 1 / shape.cv**2
        self._beta = shape.latency_seconds * shape.cv**2

    def call(self, answer: Answer) -> None:
        self.calls += 1
        if not self.capacity or self.inside >= self.shape.bound(self.capacity):
            self.refused += 1
            self._clock.call_later(REFUSAL * self.shape.latency_seconds, lambda: answer(False))
            return
        self._moved(1)
        self._enter(self._rng.gammavariate(self._alpha, self._beta), answer)

    def begin(self) -> None:
        """Count from now on, where time has not begun at 0."""
        self._since = self._clock.monotonic()

    def become(self, capacity: float) -> None:
        """Serve so many at once from now on. 0 = dead: whoever is inside is refused, too."""
        self.capacity = capacity
        if capacity > 0:
            return self._changed()
        for answer in self._drop():
            self._leave_refused(answer)
        return None

    def inside_until_now(self) -> float:
        """Calls inside, summed over time."""
        self._moved(0)
        return self.inside_seconds

    def _leave_refused(self, answer: Answer) -> None:
        self._moved(-1)
        self.refused += 1
        self._clock.call_later(REFUSAL * self.shape.latency_seconds, lambda: answer(False))

    def _moved(self, by: int) -> None:
        now = self._clock.monotonic()
        self.inside_seconds += self.inside * (now - self._since)
        self._since = now
        self.inside += by

    @abstractmethod
    def _enter(self, work_seconds: float, answer: Answer) -> None: ...

    @abstractmethod
    def _changed(self) -> None:
        """The capacity has."""

    @abstractmethod
    def _drop(self) -> list[Answer]:
        """All that are inside, and forget them."""


class InLine(Downstream):
    """Serves whole calls, first come first served."""

    def __init__(self, shape: Shape, clock: Clock, rng: random.Random) -> None:
        super().__init__(shape, clock, rng)
        self._line: deque[tuple[float, Answer]] = deque()
        self._served: dict[int, tuple[Timer, Answer]] = {}
        self._numbers = itertools.count()

    def _enter(self, work_seconds: float, answer: Answer) -> None:
        self._line.append((work_seconds, answer))
        self._changed()

    def _changed(self) -> None:
        while self._line and len(self._served) < self.capacity:
            work_seconds, answer = self._line.popleft()
            number = next(self._numbers)
            self._served[number] = self._clock.call_later(work_seconds, partial(self._end, number)), answer

    def _end(self, number: int) -> None:
        _, answer = self._served.pop(number)
        self._moved(-1)
        self._changed()
        answer(True)

    def _drop(self) -> list[Answer]:
        for timer, _ in self._served.values():
            timer.cancel()
        dropped = [answer for _, answer in (*self._served.values(), *self._line)]
        self._served.clear()
        self._line.clear()
        return dropped


class Shared(Downstream):
    """Serves all calls at once, each with its share; too many of them hinder one another."""

    def __init__(self, shape: Shape, clock: Clock, rng: random.Random) -> None:
        super().__init__(shape, clock, rng)
        # Work that each call has had since the beginning; each waits for it to reach its own mark.
        self._had = 0.0
        self._at = 0.0
        self._pace = 0.0
        self._marks: list[tuple[float, int, Answer]] = []
        self._timer: Timer | None = None

    def _enter(self, work_seconds: float, answer: Answer) -> None:
        self._pass_time()
        heapq.heappush(self._marks, (self._had + work_seconds, self.calls, answer))
        self._changed()

    def _changed(self) -> None:
        self._pass_time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._marks:
            crowd = max(1.0, len(self._marks) / (1.5 * self.capacity))
            self._pace = min(1.0, self.capacity / len(self._marks)) / crowd**2
            self._timer = self._clock.call_later((self._marks[0][0] - self._had) / self._pace, self._end)

    def _pass_time(self) -> None:
        now = self._clock.monotonic()
        self._had += (now - self._at) * self._pace if self._marks else 0.0
        self._at = now

    def _end(self) -> None:
        self._pass_time()
        mark, _, answer = heapq.heappop(self._marks)
        self._had = max(self._had, mark)
        self._moved(-1)
        self._changed()
        answer(True)

    def _drop(self) -> list[Answer]:
        dropped = [answer for _, _, answer in self._marks]
        self._marks.clear()
        if self._timer is not None:
            self._timer.cancel()
        return dropped


def downstream(shape: Shape, clock: Clock, rng: random.Random) -> Downstream:
    return (Shared if shape.kind == "collapse" else InLine)(shape, clock, rng)
