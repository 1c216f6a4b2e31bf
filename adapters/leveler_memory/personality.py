"""Personalities: what each broker can do, and where it differs from a queue that can do everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from leveler.adapter import INFINITE, Abandon, Capabilities, Depth, QueueSpec
from leveler.errors import ConfigError, Unsupported
from leveler_memory.wire import BINARY, DIRECT, STRUCTURED, Wire

PersonalityName = Literal["plain", "sqs", "fifo", "rabbitmq", "servicebus", "push"]

KIB: Final = 1024
MIB: Final = 1024 * KIB
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR


@dataclass(frozen=True, kw_only=True)
class Personality:
    """One broker's ways, as data, and the decisions that follow from them."""

    name: str
    #: Of a queue without settings; `capabilities_of` a given one may differ.
    capabilities: Capabilities
    wire: Wire = DIRECT
    #: Whether the order of keys is kept even where nobody asked for it.
    always_ordered: bool = False
    #: How a delivery waits that was given back with a delay: in its place, or as a copy that is sent instead.
    delayed_give_back: Literal["native", "copy"] = "native"
    #: The shortest and the longest time that dedup keys can be remembered, in seconds.
    dedup_range_seconds: tuple[float, float] = (0.0, 0.0)
    #: Whether an answer to `receive` that nobody took counts as a delivery of what was in it.
    counts_unarrived: bool = False
    #: The fields of `Depth` that this broker cannot tell.
    unknown_depth: frozenset[str] = frozenset()

    def capabilities_of(self, spec: QueueSpec) -> Capabilities:
        """What is true of this queue.

        Raises:
            ConfigError: it asks for what this broker cannot keep.
        """
        shortest, longest = self.capabilities.lease_range_seconds
        if not (shortest <= spec.lease_seconds <= longest and spec.lease_seconds > 0):
            raise self._refused(spec, "lease_seconds", spec.lease_seconds, f"leases last {shortest:g} to {longest:g} s")
        if spec.ordered and not self.capabilities.ordering:
            raise self._refused(spec, "ordered", True, "the order of keys is not kept")
        window = max(spec.dedup_seconds, self.dedup_range_seconds[0])
        if window > self.dedup_range_seconds[1]:
            limit = f"dedup keys are remembered for at most {self.dedup_range_seconds[1]:g} s"
            raise self._refused(spec, "dedup_seconds", spec.dedup_seconds, limit)
        capabilities = replace(self.capabilities, dedup_seconds=window)
        return capabilities if capabilities.extend else replace(capabilities, max_lease_seconds=spec.lease_seconds)

    def check_batch(self, count: int) -> None:
        """
        Raises:
            Unsupported: so many items do not go into one call.
        """
        if count > self.capabilities.max_batch:
            limit = self.capabilities.max_batch
            raise Unsupported(f"{count} items in one call: {self.name} takes at most {limit}; cut the batch")

    def copies(self, item: Abandon) -> bool:
        """Whether it is given back by a copy."""
        if item.delay_seconds > 0 and self.delayed_give_back == "copy":
            return True
        return not item.counted and self.capabilities.uncounted == "copy"

    def refusal(self, item: Abandon) -> Unsupported | None:
        """Why it cannot be given back like this; None if it can."""
        if not item.counted and self.capabilities.uncounted == "none":
            return Unsupported(f"{item.delivery}: {self.name} cannot give back without counting; keep it or count it")
        if item.delay_seconds > (longest := self.capabilities.max_abandon_seconds):
            return Unsupported(f"{item.delivery}: {self.name} gives back for at most {longest:g} s; ask for less")
        return None

    def visible(self, depth: Depth) -> Depth:
        """What of it can be seen from outside."""
        return Depth._make(
            None if name in self.unknown_depth else value for name, value in zip(Depth._fields, depth, strict=True)
        )

    def with_limit(self, max_message_bytes: int) -> Personality:
        return replace(self, capabilities=replace(self.capabilities, max_message_bytes=max_message_bytes))

    def for_dead_letters(self) -> Personality:
        """Dead letters are given back as they are, never counted: nothing of theirs is ever exhausted."""
        capabilities = replace(self.capabilities, uncounted="native", max_abandon_seconds=INFINITE)
        return replace(self, capabilities=capabilities, delayed_give_back="native")

    def _refused(self, spec: QueueSpec, setting: str, value: object, limit: str) -> ConfigError:
        return ConfigError(f"queue {spec.name!r}: {setting} is {value}, but with {self.name} {limit}; change {setting}")


#: What every queue in memory has in common; `with_limit` changes the size.
_IN_MEMORY: Final = Capabilities(
    scope="process", durable=False, max_message_bytes=16 * MIB, max_batch=10_000, concurrent_verbs=True
)

PLAIN: Final = Personality(
    name="memory",
    capabilities=replace(_IN_MEMORY, ordering=True, priority_levels=10, bounds_bytes=True),
    dedup_range_seconds=(0.0, INFINITE),
)

#: Standard queues. A message cannot be put back uncounted: the broker's count only ever rises.
SQS: Final = Personality(
    name="sqs",
    capabilities=replace(
        _IN_MEMORY,
        max_message_bytes=1 * MIB,
        max_batch=10,
        max_delay_seconds=900.0,
        max_abandon_seconds=12 * HOUR,
        lease_range_seconds=(0.0, 12 * HOUR),
        max_lease_seconds=12 * HOUR,
        uncounted="copy",
        attempts="approximate",
        depth="approximate",
        peek=False,
    ),
    wire=STRUCTURED,
    counts_unarrived=True,
    unknown_depth=frozenset({"oldest_age_seconds"}),
)

#: A copy would go to the end of its group, so there is no giving back by copy; delays are those of the whole queue.
FIFO: Final = replace(
    SQS,
    name="fifo",
    capabilities=replace(SQS.capabilities, ordering=True, uncounted="none", max_delay_seconds=0.0),
    always_ordered=True,
    dedup_range_seconds=(300.0, 300.0),
)

#: Quorum queues. Delays are other queues whose messages come back, up to 2**32 ms; leases are ours, bounded by the
#: consumer timeout; only the ready messages can be counted, and looking at them would count as a delivery.
RABBITMQ: Final = Personality(
    name="rabbitmq",
    capabilities=replace(
        _IN_MEMORY,
        max_batch=1000,
        max_delay_seconds=2**32 / 1000,
        max_abandon_seconds=2**32 / 1000,
        lease="connection",
        lease_range_seconds=(0.0, 1800.0),
        max_lease_seconds=1800.0,
        uncounted="copy",
        attempts="approximate",
        solos="marked",
        priority_levels=2,
        peek=False,
    ),
    wire=BINARY,
    delayed_give_back="copy",
    unknown_depth=frozenset({"leased", "delayed", "oldest_age_seconds"}),
)

#: Queues with duplicate detection.
SERVICEBUS: Final = Personality(
    name="servicebus",
    capabilities=replace(
        _IN_MEMORY,
        max_message_bytes=256 * KIB,
        max_batch=100,
        lease_range_seconds=(5.0, 300.0),
        uncounted="copy",
        ordering=True,
        concurrent_verbs=False,
    ),
    wire=BINARY,
    delayed_give_back="copy",
    dedup_range_seconds=(600.0, 7 * DAY),
    unknown_depth=frozenset({"leased", "oldest_age_seconds"}),
)

#: The same with sessions, which is what `QueueSpec.ordered` asks for: a copy would go to the end of its session, so
#: the session is kept locked until a delay is over, and given up where nothing is to count.
SESSIONS: Final = replace(
    SERVICEBUS,
    capabilities=replace(SERVICEBUS.capabilities, uncounted="native", max_abandon_seconds=900.0),
    delayed_give_back="native",
)

#: The broker calls us, once per delivery, and the answer settles it.
PUSH: Final = Personality(
    name="push",
    capabilities=replace(
        _IN_MEMORY,
        max_message_bytes=1 * MIB,
        max_batch=1,
        max_delay_seconds=30 * DAY,
        max_abandon_seconds=30 * DAY,
        lease="request",
        lease_range_seconds=(15.0, 1800.0),
        extend=False,
        depth="approximate",
        push=True,
    ),
    wire=BINARY,
    delayed_give_back="copy",
)

PERSONALITIES: Final[Mapping[str, Personality]] = MappingProxyType(
    {
        "plain": PLAIN,
        "sqs": SQS,
        "fifo": FIFO,
        "rabbitmq": RABBITMQ,
        "servicebus": SERVICEBUS,
        "push": PUSH,
    }
)
