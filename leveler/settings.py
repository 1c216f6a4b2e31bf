"""Settings as the engine reads them: validated values in seconds and bytes, whoever wrote them and where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar
from urllib.parse import unquote

from leveler.adapter import Adapter, QueueSpec, redact
from leveler.consumer.limits import Adaptive as Adaptive
from leveler.consumer.limits import BreakerPolicy
from leveler.errors import ConfigError
from leveler.fitting import check_fields
from leveler.monitor.address import Address
from leveler.retry import RetryPolicy


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """One broker: its URL and the options of its adapter, or an adapter that the user made."""

    url: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    adapter: Adapter | None = None
    #: Every verb returns or raises within it.
    deadline_seconds: float = 10.0

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.shown().items())
        return f"BrokerSettings({shown}, deadline_seconds={self.deadline_seconds})"

    def shown(self) -> dict[str, str]:
        """URL and options for people: without secrets."""
        url = _redacted(self.url) if self.adapter is None else repr(self.adapter)
        options = {name: _shown_option(name, value) for name, value in self.options.items()}
        return {"url": url, **options}


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What one downstream, or one consumer by itself, bears."""

    #: Handler runs at once, a number or a range; None = not limited here.
    concurrency: int | Adaptive | None = None
    #: Handler starts per second, in this process or in the whole fleet; None = not limited here.
    rate_per_second: float | None = None
    #: Whose rate it is: each process has its own, or all processes have it together, by way of `Settings.store`.
    rate_scope: Literal["process", "fleet"] = "process"
    #: When nothing is started any more because the downstream does not do its work; None = never.
    breaker: BreakerPolicy | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if isinstance(self.concurrency, int) and self.concurrency < 1:
            raise ConfigError(f"concurrency is {self.concurrency}: expected 1 or more")
        if self.rate_per_second is not None and not 0 < self.rate_per_second < float("inf"):
            raise ConfigError(f"rate is {self.rate_per_second}/s: expected more than 0")
        if self.is_fleet and self.rate_per_second is None:
            raise ConfigError("rate.scope is fleet, and there is no rate: give its limit, for example 500/min")

    @property
    def is_fleet(self) -> bool:
        """Whether the rate belongs to all processes together."""
        return self.rate_scope == "fleet"

    @property
    def most_runs(self) -> int | None:
        """At once, that the concurrency will ever allow; None = any number."""
        return self.concurrency.max if isinstance(self.concurrency, Adaptive) else self.concurrency


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """What is true of a queue for everybody who sends to it or consumes from it."""

    broker: str = "default"
    #: How long a delivery is ours before it must be renewed.
    lease_seconds: float = 30.0
    #: How long one handler run may take; renewal stops then.
    timeout_seconds: float = 300.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    #: A message delivered more often than this is dead-lettered unstarted; None = ``max_attempts + 3``.
    max_deliveries: int | None = None
    ordered: bool = False
    dedup_seconds: float = 0.0
    #: A producer sends no more while so many wait; the broker keeps this bound.
    max_depth: int | None = None
    #: ... or while a message sent now would have to wait longer than this, as far as can be foreseen.
    max_wait_seconds: float | None = None
    #: What `send` does then: raise `QueueFull`, or wait for room as long as ``send_timeout`` allows.
    when_full: Literal["reject", "block"] = "reject"
    declare: Literal["create", "verify", "skip"] = "create"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.lease_seconds <= 0 or self.timeout_seconds <= 0:
            raise ConfigError(f"lease ({self.lease_seconds} s) and timeout ({self.timeout_seconds} s) must be above 0")
        if self.max_depth is not None and self.max_depth < 1:
            raise ConfigError(f"max_depth is {self.max_depth}: expected 1 or more")
        if self.max_wait_seconds is not None and not self.max_wait_seconds > 0:
            raise ConfigError(f"max_wait is {self.max_wait_seconds} s: expected more than 0")
        if self.most_deliveries < self.retry.max_attempts:
            raise ConfigError(
                f"max_deliveries ({self.max_deliveries}) is below retry.max_attempts ({self.retry.max_attempts}): "
                "messages would be dead-lettered before their last attempt"
            )

    @property
    def most_deliveries(self) -> int:
        return self.retry.max_attempts + 3 if self.max_deliveries is None else self.max_deliveries

    def spec(self, name: str) -> QueueSpec:
        """The queue as the adapter must make it."""
        return QueueSpec(
            name=name,
            lease_seconds=self.lease_seconds,
            ordered=self.ordered,
            dedup_seconds=self.dedup_seconds,
            # The broker's own limit is a backstop: ours decides, and dead-letters with a reason.
            max_deliveries=self.most_deliveries + 1,
            max_depth=self.max_depth,
            declare=self.declare,
        )


@dataclass(frozen=True, kw_only=True)
class ConsumerSettings:
    """How this process consumes one queue."""

    #: The downstream whose limits hold; None = only those that stand here.
    downstream: str | None = None
    limits: LimitSettings = field(default_factory=LimitSettings)
    #: Most bytes of bodies that this process holds of this queue; None = not limited.
    memory_bytes: int | None = None
    #: Most messages of one run, where the handler takes batches; None = what it was registered with.
    batch_size: int | None = None
    #: How long what has come waits until a batch is whole; None = what the handler was registered with, or
    #: `DEFAULT_BATCH_WAIT_SECONDS`.
    batch_wait_seconds: float | None = None
    #: How long a message may wait: so many workers are useful that none has to wait longer. Some times as long as it
    #: takes from a scaler's look to the work of a worker that it starts, which is half a minute to two.
    target_wait_seconds: float = 300.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise ConfigError(f"memory is {self.memory_bytes} bytes: expected more than 0")
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}: expected 1 or more")
        if self.batch_wait_seconds is not None and not 0 <= self.batch_wait_seconds < float("inf"):
            raise ConfigError(f"batch_wait is {self.batch_wait_seconds} s: expected 0 or more")
        if not 0 < self.target_wait_seconds < float("inf"):
            raise ConfigError(f"target_wait is {self.target_wait_seconds} s: expected more than 0")

    def filled_from(self, weaker: ConsumerSettings) -> ConsumerSettings:
        """This, with what it leaves open as `weaker` says."""
        ours, theirs = self.limits, weaker.limits
        wait_seconds = self.batch_wait_seconds
        return replace(
            self,
            downstream=self.downstream or weaker.downstream,
            limits=replace(
                ours,
                concurrency=ours.concurrency or theirs.concurrency,
                rate_per_second=ours.rate_per_second or theirs.rate_per_second,
                rate_scope=ours.rate_scope if ours.rate_per_second else theirs.rate_scope,
            ),
            batch_size=self.batch_size or weaker.batch_size,
            batch_wait_seconds=weaker.batch_wait_seconds if wait_seconds is None else wait_seconds,
        )


#: Some trips to a broker: a backlog fills whole batches, and nobody notices it otherwise.
DEFAULT_BATCH_WAIT_SECONDS = 0.2

#: Where neither a consumer nor its downstream limits the concurrency.
DEFAULT_CONCURRENCY = 16


@dataclass(frozen=True, kw_only=True)
class Processes:
    """As many worker processes as are useful, within bounds."""

    #: Never fewer.
    min: int = 1
    #: Never more.
    max: int

    def __post_init__(self) -> None:
        check_fields(self)
        if self.min < 1:
            raise ConfigError(f"processes.min is {self.min}: expected 1 or more")
        if self.min > self.max:
            raise ConfigError(f"processes.min ({self.min}) is above processes.max ({self.max}): expected min <= max")

    @classmethod
    def of(cls, number: int | Processes) -> Processes:
        """A number is a range of one."""
        return number if isinstance(number, Processes) else cls(min=number, max=number)

    def __str__(self) -> str:
        return str(self.min) if self.min == self.max else f"{self.min} to {self.max}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that an app can be told."""

    brokers: Mapping[str, BrokerSettings] = field(default_factory=dict[str, BrokerSettings])
    queues: Mapping[str, QueueSettings] = field(default_factory=dict[str, QueueSettings])
    consumers: Mapping[str, ConsumerSettings] = field(default_factory=dict[str, ConsumerSettings])
    downstreams: Mapping[str, LimitSettings] = field(default_factory=dict[str, LimitSettings])
    #: Where the processes of a fleet share their rates: the name of a broker, or a URL; it must be one that can do it.
    store: str = "default"
    #: `send` returns or raises within it.
    send_timeout_seconds: float = 10.0
    #: How long SIGTERM lets running handlers go on.
    drain_timeout_seconds: float = 30.0
    #: Where a worker shows its figures, as ``127.0.0.1:9464``; None = nowhere.
    listen: str | None = None
    #: Who shows it may read them; only on loopback may it be None.
    listen_token: str | None = field(default=None, repr=False)
    #: Worker processes that ``leveler run`` keeps, a number or a range; 1 = it is the worker itself.
    processes: int | Processes = 1

    def __post_init__(self) -> None:
        check_fields(self)
        for section, kind in _SECTIONS.items():
            for name, value in getattr(self, section).items():
                if not isinstance(value, kind):
                    raise ConfigError(f"{section}[{name!r}] is a {type(value).__name__}: expected {kind.__name__}(...)")
        try:
            Address.of(self.listen or "127.0.0.1:0")
        except ConfigError as error:
            raise ConfigError(f"listen is {error}") from None
        if isinstance(self.processes, int) and self.processes < 1:
            raise ConfigError(f"processes is {self.processes}: expected 1 or more")

    @property
    def is_open_to_all(self) -> bool:
        """Whether other hosts could read the figures without a token."""
        return self.listen is not None and self.listen_token is None and not Address.of(self.listen).is_loopback

    @property
    def shown_store(self) -> str:
        """The store for people: without secrets."""
        return _redacted(self.store) if "://" in self.store else self.store

    def fleet_rates(self) -> list[str]:
        """The rates that a fleet has together, as the settings call them: ``downstreams.billing``."""
        shared = [f"downstreams.{name}" for name, limits in self.downstreams.items() if limits.is_fleet]
        return shared + [f"consumers.{name}" for name, one in self.consumers.items() if one.limits.is_fleet]

    def queue(self, name: str) -> QueueSettings:
        return self.queues.get(name) or QueueSettings()

    def consumer(self, queue: str) -> ConsumerSettings:
        return self.consumers.get(queue) or ConsumerSettings()

    def spec(self, name: str) -> QueueSpec:
        """The queue `name` as the adapter must make it, with what its consumers bear."""
        consumer = self.consumer(name)
        shared = self.downstreams.get(consumer.downstream or "", LimitSettings())
        return replace(
            self.queue(name).spec(name),
            max_rate_per_second=_lower(consumer.limits.rate_per_second, shared.rate_per_second),
            max_concurrency=_lower(consumer.limits.most_runs, shared.most_runs),
        )


_SECTIONS: Final[Mapping[str, type]] = {
    "brokers": BrokerSettings,
    "queues": QueueSettings,
    "consumers": ConsumerSettings,
    "downstreams": LimitSettings,
}

_N = TypeVar("_N", int, float)


def _lower(one: _N | None, other: _N | None) -> _N | None:
    """The stricter of two limits."""
    return min((limit for limit in (one, other) if limit is not None), default=None)


_SECRET = re.compile(r"(?i)key|pass|pwd|secret|token|sig|cred|auth|private")

# What ends a secret in a text that holds several may be a part of it where the text is one URL.
_ENDS = re.compile(r"[\s,;]")


def _redacted(url: str) -> str:
    scheme, is_url, _ = url.partition("://")
    if not is_url:
        return "***" if url else ""
    address, mark, query = url.partition("?")
    if "@" in query:  # the "?" may have been in a password
        return f"{scheme}://***"
    pairs = (pair.partition("=") for pair in query.split("&"))
    shown = "&".join(f"{name}{equals}{_shown_option(name, value)}" for name, equals, value in pairs)
    return redact(_ENDS.sub("_", address)) + mark + shown


def _shown_option(name: str, value: object) -> str:
    """A plain value as it is. What is more than that may hold a secret: a URL's user, a connection string."""
    is_plain = isinstance(value, str | int | float) and not _SECRET.search(name)
    is_plain = is_plain and not set("@=") & set(unquote(str(value)))
    return str(value) if is_plain else "***"
