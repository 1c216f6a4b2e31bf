"""Worker: a process that consumes, reduced to what levels: leveler's own gate and limits, and messages that wait."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from leveler.clock import Clock
from leveler.consumer.limits import Gate, Limit, Limits, Verdict
from leveler.consumer.limits.breaker import Breaker, State
from tests.benchmarks.leveling.downstream import Downstream

#: How long a refused message stays away: (base latency, how often it was refused so far, chance) -> seconds.
Delay = Callable[[float, int, random.Random], float]


def short(latency_seconds: float, refused: int, rng: random.Random) -> float:
    """Half a base latency to one and a half."""
    return latency_seconds * rng.uniform(0.5, 1.5)


def none(latency_seconds: float, refused: int, rng: random.Random) -> float:
    """Again at once."""
    return 0.0


def exponential(latency_seconds: float, refused: int, rng: random.Random) -> float:
    """Full jitter, from one base latency on, up to a hundred of them."""
    return rng.uniform(0, latency_seconds * min(100.0, 2.0**refused))


@dataclass
class Message:
    arrived: float
    refused: int = 0


@dataclass
class Queue:
    """What waits, for all workers, and what became of it."""

    waiting: deque[Message] = field(default_factory=deque)
    workers: list[Worker] = field(default_factory=list)
    #: (when it arrived, when it was done).
    done: list[tuple[float, float]] = field(default_factory=list)
    #: When each refusal was answered.
    refusals: list[float] = field(default_factory=list)
    #: When each call began.
    calls: list[float] = field(default_factory=list)

    def put(self, messages: Sequence[Message]) -> None:
        self.waiting.extend(messages)
        self.workers.append(self.workers.pop(0))  # whoever has waited longest is asked first
        for worker in self.workers:
            worker.start()


class Worker:
    """Args:
    queue: whose messages it takes.
    limits: of this process.
    downstream: what it calls.
    delay: of refused messages.
    """

    def __init__(
        self, queue: Queue, limits: Sequence[Limit], downstream: Downstream, delay: Delay, clock: Clock, seed: str
    ) -> None:
        self.limits = Limits([Gate("downstream", limits, clock)])
        self._breakers = [limit for limit in limits if isinstance(limit, Breaker)]
        self._queue = queue
        self._downstream = downstream
        self._delay = delay
        self._clock = clock
        self._rng = random.Random(seed)
        self._waits = False

    def start(self) -> None:
        """As many as the limits let start."""
        queue, limits = self._queue, self.limits
        while queue.waiting and limits.try_acquire(1):
            self._call(queue.waiting.popleft())
        if queue.waiting and not self._waits and 0 < (wait := limits.wait()) < float("inf"):
            self._waits = True
            self._clock.call_later(wait, self._on_time)

    def _on_time(self) -> None:
        self._waits = False
        self.start()

    def _call(self, message: Message) -> None:
        began = self._clock.monotonic()
        self._queue.calls.append(began)

        def answered(served: bool) -> None:
            now = self._clock.monotonic()
            if served:
                self._queue.done.append((message.arrived, now))
            else:
                self._refused(message, now)
            self.limits.release(1, now - began, Verdict.SUCCESS if served else Verdict.OVERLOAD)
            self.start()

        self._downstream.call(answered)

    def _refused(self, message: Message, now: float) -> None:
        self._queue.refusals.append(now)
        message.refused += 1
        away = self._delay(self._downstream.shape.latency_seconds, message.refused, self._rng)
        if away > 0:
            self._clock.call_later(away, lambda: self._back(message))
        else:
            self._queue.waiting.appendleft(message)

    def _back(self, message: Message) -> None:
        self._queue.waiting.appendleft(message)
        self._queue.put([])

    @property
    def looking(self) -> bool:
        """Whether its breaker is not closed."""
        return any(breaker.state is not State.CLOSED for breaker in self._breakers)
