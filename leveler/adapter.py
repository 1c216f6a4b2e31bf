"""The contract: what a broker adapter implements. Orders to its author stand in the docstrings.

An adapter moves bytes. It never retries, never limits, never decodes and never sleeps to delay a message: the
core does each of these once, for all brokers. `leveler.testing.contract` is the test of every sentence here.

A foreign error becomes one of `leveler.errors`, at one seam, with ``raise ... from``. Every verb returns or
raises within the deadline that the adapter was constructed with. The core never cancels a verb in flight and
never has two verbs under way for one delivery; settlement verbs of one receiver overlap each other only where
`Capabilities.concurrent_verbs` allows it (`receive` and `hold` may run beside them always).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Self

import msgspec

from leveler.clock import Clock
from leveler.errors import Unsupported
from leveler.message import Death, Message
from leveler.schedule import Ask, Stretch

INFINITE = float("inf")


@dataclass(frozen=True, kw_only=True)
class QueueSpec:
    """A queue as leveler wants it. The adapter makes it so, or says which setting stands against it."""

    #: As the user knows it. Its dead letters live in `dead_name`.
    name: str
    #: How long a delivery is ours, in seconds.
    lease_seconds: float = 30.0
    #: Handle the messages of one key in order.
    ordered: bool = False
    #: Drop a message whose dedup key was seen within so many seconds; 0 = never drop.
    dedup_seconds: float = 0.0
    #: A message is never delivered more often than this: a broker's own limit must not be lower.
    max_deliveries: int = 8
    #: Refuse to take more than so many waiting messages; None = no bound.
    max_depth: int | None = None
    #: What the consumers bear, where that is configured: for brokers that call them, and so are the ones to slow down.
    max_rate_per_second: float | None = None
    max_concurrency: int | None = None
    #: ``create`` what is missing, only ``verify``, or ``skip`` both.
    declare: Literal["create", "verify", "skip"] = "create"

    @property
    def dead_name(self) -> str:
        return f"{self.name}-dead"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What is true of one declared queue on the server as it is configured now."""

    #: Who can share the queue.
    scope: Literal["process", "host", "network"]
    #: Whether an accepted message survives the end of the broker's process.
    durable: bool
    #: Largest encoded message, headers included.
    max_message_bytes: int
    #: Most items in one verb call; the core cuts larger ones.
    max_batch: int
    #: Longest wait before a message's first delivery that the broker keeps by itself; the core chains longer ones.
    max_delay_seconds: float = INFINITE
    #: Longest delay of one `abandon`.
    max_abandon_seconds: float = INFINITE
    #: What ends a lease: time, the end of the connection, or the end of the request that brought the delivery.
    lease: Literal["timed", "connection", "request"] = "timed"
    #: Lease lengths that the broker can keep, in seconds.
    lease_range_seconds: tuple[float, float] = (0.0, INFINITE)
    #: Longest time one delivery can be kept by extending it.
    max_lease_seconds: float = INFINITE
    #: Whether a running lease can be extended.
    extend: bool = True
    #: Whether an uncounted `Abandon` gives an attempt back: by itself, by a copy, or not at all.
    uncounted: Literal["native", "copy", "none"] = "native"
    #: Whether `attempt` may be higher than the deliveries that really arrived.
    attempts: Literal["exact", "approximate"] = "exact"
    #: What tells how often a message was started alone and ended its process. `attempt`, where above
    #: `max_attempts` hardly anything but such a start raises it; or a mark that `Receiver.mark_solo` makes, where much
    #: else does: a connection that is lost, say, with all that was fetched over it.
    solos: Literal["attempts", "marked"] = "attempts"
    #: Whether an `ordered` queue keeps its promise.
    ordering: bool = False
    #: How long a dedup key is remembered; 0 = never.
    dedup_seconds: float = 0.0
    #: Distinct priorities that are told apart; 1 = none.
    priority_levels: int = 1
    #: Whether `depth` is right at once, in the end, or not known.
    depth: Literal["exact", "approximate", "none"] = "exact"
    #: Whether `peek` works without touching counts or order.
    peek: bool = True
    #: Whether the broker calls us.
    push: bool = False
    #: Whether `receive` can keep to a number of bytes.
    bounds_bytes: bool = False
    #: Whether settlement verbs of one receiver may overlap.
    concurrent_verbs: bool = False
    #: What is weaker than promised and only the operator can judge; shown in health, one line each.
    degraded: tuple[str, ...] = ()


class Depth(NamedTuple):
    """How many messages a queue holds; None where the broker cannot tell."""

    ready: int | None
    leased: int | None
    delayed: int | None
    dead: int | None
    #: How long the oldest ready message has been waiting, in seconds; 0 when none is.
    oldest_age_seconds: float | None


class Delivery(msgspec.Struct, eq=False):
    """One leased receipt of a message."""

    message: Message
    #: 1 on the first delivery. What the envelope carries plus the broker's count since the last copy.
    attempt: int
    #: When the lease ends, on the adapter's monotonic clock.
    leased_until: float
    #: The adapter's own handle on it; nobody else looks inside.
    receipt: Any

    def __repr__(self) -> str:
        return f"<Delivery {self.message.id} attempt {self.attempt}>"


class Abandon(NamedTuple):
    """Give a delivery back: it may be delivered again after `delay_seconds`, not before."""

    delivery: Delivery
    delay_seconds: float = 0.0
    #: False: the next delivery has the same attempt number as this one.
    counted: bool = True

    def copy(self, now: datetime) -> Message:
        """What is sent where the broker cannot delay, or not without counting; then the delivery is completed.

        Args:
            now: on the wall clock.
        """
        message, attempt = self.delivery.message, self.delivery.attempt
        return message.copy(
            attempts=attempt if self.counted else attempt - 1,
            not_before=now + timedelta(seconds=self.delay_seconds) if self.delay_seconds > 0 else None,
            failed_at=(message.failed_at or now) if self.counted else message.failed_at,
        )


class DeadLetter(NamedTuple):
    """Move a delivery to the dead letters of its queue, with the reason."""

    delivery: Delivery
    death: Death


def redact(url: str) -> str:
    """`url` without its secrets, for logs, errors and ``repr``. Works on connection strings and URL lists too."""
    each = _NEXT_URL.split(url)
    return "".join(_SECRET_VALUE.sub(r"\1***", _USERINFO.sub("//***@", one)) for one in each)


_NEXT_URL = re.compile(r"(?i)(?<=[,;\s])(?=[a-z][a-z0-9+.-]*://)")
# To the last "@" of its URL: whatever stands unescaped in a password, no part of it may get through.
_USERINFO = re.compile(r"(?is)//.*@|%2F%2F.*%40")
# To the next key, not to the next separator: a password may hold that, too. In a query its "=" may be encoded.
_SECRET_VALUE = re.compile(
    r"(?is)((?:key|password|passwd|pwd|secret|token|sig|signature|credential)[^=&;\s,]*?(?:=|%3D)).+?(?=&|;\s*\w+\s*=|$)"
)


class Sender(ABC):
    """Sends to one queue. Used by many tasks at once."""

    @abstractmethod
    def size(self, message: Message) -> int:
        """Bytes of the message as this broker counts them against its limit. Pure; no I/O."""

    @abstractmethod
    async def send(self, messages: Sequence[Message]) -> None:
        """Return when the broker has accepted every message with its strongest single acknowledgement.

        A message with `not_before` in the future is delivered no earlier than that, or than
        `Capabilities.max_delay_seconds` from now, whichever comes first. A message whose `dedup_key` the queue
        remembers is accepted and dropped.

        Raises:
            BatchError: some were not accepted. An index that is not in `failed` was.
            BrokerError, MessageError: none was accepted, each for this reason.
        """


class Receiver(ABC):
    """Receives from one queue. Lives for one connection epoch, so that a stale one cannot settle anything."""

    @abstractmethod
    async def hold(self, limit: int) -> None:
        """Hold at most `limit` unsettled deliveries from now on.

        0 stops the flow: a `receive` under way returns at once with what it has, later ones return nothing,
        and deliveries that were fetched but not yet handed out go back uncounted. Raising it starts the flow.
        """

    @abstractmethod
    async def receive(self, credit: int, wait_seconds: float) -> Sequence[Delivery]:
        """At most `credit` deliveries: at once if there are any, else wait up to `wait_seconds` for the first.

        The lease starts here. Never yields a message of an ordered queue while another of its key is leased
        or delayed; messages of one key stand in order within the list. Never called twice at once.

        Raises:
            BrokerUnavailable: nothing was received; call again.
            ReceiverLost: this receiver is finished.
        """

    def bound_bytes(self, most: int) -> None:
        """Let no `receive` bring more than `most` bytes of bodies, from now on and in the one that is under way.

        A message that is larger by itself comes alone, when nothing else is held. No I/O. Only called where
        `Capabilities.bounds_bytes` says that it can be done: then `receive` knows sizes before it takes anything.
        """
        raise Unsupported("this receiver does not know how large a message is before it has it")

    @abstractmethod
    async def complete(self, deliveries: Sequence[Delivery]) -> None:
        """The messages are done: remove them.

        Raises:
            BatchError: per item; `LeaseLost` for one whose lease is over, and then it is not removed by us.
        """

    @abstractmethod
    async def abandon(self, items: Sequence[Abandon]) -> None:
        """Give the deliveries back. In an ordered queue a delay blocks the key, and the order is kept.

        Where the broker cannot delay or uncount: send the confirmed `Abandon.copy`, then complete the source.
        """

    @abstractmethod
    async def dead_letter(self, items: Sequence[DeadLetter]) -> None:
        """Move the messages to the dead letters. The copy is confirmed before the source is removed.

        Body, headers and id stay as they are; `Message.death` says why. A dead letter is never dead-lettered
        again, does not expire and does not count attempts.
        """

    @abstractmethod
    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Renew each lease to the queue's full length from now, and update `Delivery.leased_until`.

        Raises:
            BatchError: per item; `LeaseLost` where the lease is over.
            Unsupported: `Capabilities.extend` is False.
        """

    async def mark_solo(self, deliveries: Sequence[Delivery]) -> None:
        """These are about to be started, each alone in its process: write that down where it outlives the process.

        A message whose delivery is not settled by us afterwards comes back with `Message.solos` one higher. Settling
        it in whatever way strikes the mark off again: copies that are made of it have `solos` as it was received.
        The lease starts again. Where it takes a copy to do this, a delivery is that of the copy afterwards: message,
        attempt and receipt may have changed, even to another message that was to be started alone.

        Raises:
            BatchError: per item; `LeaseLost` for one whose lease is over.
            Unsupported: `Capabilities.solos` is not "marked".
        """
        raise Unsupported("this broker counts starts alone by their attempts")

    @abstractmethod
    async def close(self) -> None:
        """Stop. What was fetched and not handed out goes back at once, uncounted.

        What was handed out and not settled goes back as a crash would leave it: counted, at once where the
        lease belongs to the connection, else when it ends. Never raises for a connection that is already gone.
        """


class Adapter(ABC):
    """One connection, or pool, to one broker. An async context manager; all I/O happens inside it."""

    #: URL schemes that this adapter answers to.
    schemes: ClassVar[tuple[str, ...]]
    #: A frozen dataclass: its fields are the URL's query keys and the keys under ``brokers.<name>``.
    options: ClassVar[type[Any]]
    #: Loggers of its client library that tell of every request at "info": ``leveler run`` lets them only warn.
    loggers: ClassVar[tuple[str, ...]] = ()
    #: Whether `reserve` works.
    keeps_rates: ClassVar[bool] = False

    def __init__(self, url: str, options: Any, *, clock: Clock, deadline_seconds: float) -> None:
        """No I/O here.

        Args:
            url: without its query; may hold a password, so never show it: use `redact`.
            options: an instance of `options`.
            clock: for leases and waits.
            deadline_seconds: every verb returns or raises within it (`receive`: within its wait plus it).
        """
        self.url = url
        self.clock = clock
        self.deadline_seconds = deadline_seconds
        self.settings = options

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {redact(self.url)}>"

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerUnavailable: nobody answers within the deadline.
            AccessDenied: the credentials are wrong.
        """
        return self

    async def __aexit__(  # noqa: B027  # an adapter without a connection has nothing to do here
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect. Receivers are closed before."""

    @abstractmethod
    async def declare(self, queue: QueueSpec) -> Capabilities:
        """Make or check the queue and its dead letters, as `QueueSpec.declare` says, and tell what is true of it.

        Raises:
            ConfigError: the queue cannot keep the promises; names the setting and both values.
            QueueNotFound: it is not there and may not be created.
        """

    @abstractmethod
    async def drop(self, queue: QueueSpec) -> None:
        """Remove the queue with its dead letters and whatever it needed for delays. No error if it is not there."""

    @abstractmethod
    def sender(self, queue: QueueSpec) -> Sender: ...

    @abstractmethod
    def receiver(self, queue: QueueSpec, *, capacity: int, dead: bool = False) -> Receiver:
        """A receiver that holds at most `capacity` deliveries; of the dead letters if `dead`.

        Giving a dead letter back never counts, however often it is done.
        """

    @abstractmethod
    async def depth(self, queue: QueueSpec) -> Depth: ...

    @abstractmethod
    async def peek(self, queue: QueueSpec, limit: int, *, dead: bool = False) -> Sequence[Message]:
        """Up to `limit` waiting messages, the next ones first, left as they are.

        Raises:
            Unsupported: `Capabilities.peek` is False (for the dead letters it always works).
        """

    @abstractmethod
    async def purge(self, queue: QueueSpec, *, dead: bool = False) -> int | None:
        """Remove every waiting message; how many there were, None where the broker does not say."""

    async def reserve(self, rate: str, ask: Ask) -> Stretch:
        """The next stretch of the schedule called `rate`, which all who ask for it by this name share.

        Atomically, and by a clock that all of them share: `leveler.schedule.reserve` says what is to be done, and this
        keeps its mark. No limiting here, and no waiting: whatever the answer, it comes at once.

        Raises:
            BrokerUnavailable: nobody knows whether anything was reserved; it passes then.
            Unsupported: `keeps_rates` is False.
        """
        raise Unsupported("this broker keeps no rates")
