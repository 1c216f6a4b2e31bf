"""MemoryAdapter: queues that live as long as this object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from leveler.adapter import Adapter, Capabilities, Depth, QueueSpec, Receiver, Sender
from leveler.clock import Clock
from leveler.errors import ConfigError, QueueNotFound, Unsupported
from leveler.message import Message
from leveler.schedule import Ask, Mark, Stretch, reserve
from leveler_memory.personality import PERSONALITIES, SERVICEBUS, SESSIONS, Personality, PersonalityName
from leveler_memory.queue import MemoryQueue
from leveler_memory.receiver import MemoryReceiver
from leveler_memory.sender import MemorySender


@dataclass(frozen=True)
class MemoryOptions:
    """What stands after the "?" of a ``memory://`` URL."""

    #: Which broker's ways to keep; ``plain`` can do everything.
    personality: PersonalityName = "plain"
    #: Largest message, headers included; None = what the personality takes.
    max_message_bytes: int | None = None


class MemoryAdapter(Adapter):
    """Queues in this process. All senders and receivers of one adapter share them; another adapter has its own."""

    schemes: ClassVar[tuple[str, ...]] = ("memory",)
    options: ClassVar[type[Any]] = MemoryOptions
    keeps_rates: ClassVar[bool] = True

    settings: MemoryOptions

    def __init__(self, url: str, options: MemoryOptions, *, clock: Clock, deadline_seconds: float) -> None:
        super().__init__(url, options, clock=clock, deadline_seconds=deadline_seconds)
        if options.personality not in PERSONALITIES:
            known = ", ".join(PERSONALITIES)
            raise ConfigError(f"memory: personality is {options.personality!r}; choose one of {known}")
        self._queues: dict[str, MemoryQueue] = {}  # dead letters under names of their own
        self._specs: dict[str, QueueSpec] = {}
        self._rates: dict[str, Mark] = {}
        #: Who asked for each rate, and when last.
        self._askers: dict[str, dict[str, float]] = {}

    def beside(self, clock: Clock) -> MemoryAdapter:
        """The same broker as another process sees it, whose clock may be wrong: for simulations of several."""
        other = MemoryAdapter(self.url, self.settings, clock=clock, deadline_seconds=self.deadline_seconds)
        other._queues, other._specs = self._queues, self._specs
        other._rates, other._askers = self._rates, self._askers
        return other

    def miss(self, queue: QueueSpec, count: int) -> None:
        """Count a delivery of the next `count` messages that nobody has seen, as a lost connection does on RabbitMQ of
        what was fetched over it: for simulations."""
        found = self._find(queue.name)
        found.miss(count, found.catch_up())

    async def declare(self, queue: QueueSpec) -> Capabilities:
        personality = self._personality(queue)
        capabilities = personality.capabilities_of(queue)
        if queue.declare == "verify":
            self._find(queue.name)
            self._compare(queue, "lease_seconds", "ordered", "dedup_seconds", "max_depth")
        elif queue.declare == "create":
            if queue.name in self._queues:
                self._compare(queue, "ordered")
            else:
                self._create(queue, personality)
            self._configure(queue, capabilities.dedup_seconds)
        return capabilities

    async def drop(self, queue: QueueSpec) -> None:
        for name in (queue.name, queue.dead_name):
            if (found := self._queues.pop(name, None)) is not None:
                found.drop()

    def sender(self, queue: QueueSpec) -> Sender:
        return MemorySender(partial(self._find, queue.name), self._personality(queue), self.clock)

    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        personality = self._personality(queue)
        if dead:
            personality = personality.for_dead_letters()
        find = partial(self._find, queue.dead_name if dead else queue.name)
        return MemoryReceiver(find, personality, self.clock, capacity=capacity)

    async def depth(self, queue: QueueSpec) -> Depth:
        found = self._find(queue.name)
        now = found.catch_up()
        ready, leased, delayed = found.counts()
        dead = sum(self._find(queue.dead_name).counts())
        depth = Depth(ready, leased, delayed, dead, found.oldest_age_seconds(now))
        return self._personality(queue).visible(depth)

    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        personality = self._personality(queue)
        if not (dead or personality.capabilities.peek):
            raise Unsupported(f"queue {queue.name!r}: {personality.name} cannot show messages without receiving them")
        found = self._find(queue.dead_name if dead else queue.name)
        found.catch_up()
        return found.peek(limit)

    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int:
        found = self._find(queue.dead_name if dead else queue.name)
        found.catch_up()
        return found.purge()

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        now = self.clock.monotonic()
        askers = self._askers.setdefault(rate, {})
        askers[ask.holder] = now
        for holder in [holder for holder, at in askers.items() if at <= now - ask.present_seconds]:
            del askers[holder]
        mark, wait_seconds = reserve(self._rates.get(rate), ask, now)
        if mark is not None:
            self._rates[rate] = mark
        return Stretch(wait_seconds, 0 if mark is None else ask.starts, len(askers))

    def _personality(self, queue: QueueSpec) -> Personality:
        personality = PERSONALITIES[self.settings.personality]
        if personality is SERVICEBUS and queue.ordered:
            personality = SESSIONS
        limit = self.settings.max_message_bytes
        return personality if limit is None else personality.with_limit(limit)

    def _create(self, queue: QueueSpec, personality: Personality) -> None:
        dead = MemoryQueue(queue.dead_name, self.clock)
        self._queues[queue.dead_name] = dead
        self._queues[queue.name] = MemoryQueue(
            queue.name,
            self.clock,
            ordered=queue.ordered or personality.always_ordered,
            priority_levels=personality.capabilities.priority_levels,
            max_delay_seconds=personality.capabilities.max_delay_seconds,
            dead=dead,
        )

    def _configure(self, queue: QueueSpec, dedup_seconds: float) -> None:
        self._specs[queue.name] = queue
        self._find(queue.dead_name).configure(lease_seconds=queue.lease_seconds)
        self._find(queue.name).configure(
            lease_seconds=queue.lease_seconds, max_depth=queue.max_depth, dedup_seconds=dedup_seconds
        )

    def _compare(self, queue: QueueSpec, *settings: str) -> None:
        for setting in settings:
            is_now, wanted = getattr(self._specs[queue.name], setting), getattr(queue, setting)
            if is_now != wanted:
                raise ConfigError(
                    f"queue {queue.name!r}: {setting} is {is_now} on the queue and {wanted} in the configuration; "
                    f"change it there, or drop the queue and let it be created again"
                )

    def _find(self, name: str) -> MemoryQueue:
        if (found := self._queues.get(name)) is None:
            raise QueueNotFound(f"queue {name!r} does not exist: declare it with declare: create, or check its name")
        return found
