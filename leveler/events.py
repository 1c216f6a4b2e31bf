"""Named moments of a message, as frozen values, for metrics, traces and tests. leveler brings no metrics library.

An observer is a plain callable that takes an event. It runs in the engine's loop between two steps, so it must be
quick and must not block; what it raises is logged and changes nothing. Without observers no event is even made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leveler.message import Death, Message

log = logging.getLogger("leveler")


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to `queue`."""

    queue: str


@dataclass(frozen=True, slots=True)
class MessageSent(Event):
    """The broker accepted a message from this process."""

    message: Message


@dataclass(frozen=True, slots=True)
class MessageEvent(Event):
    """Something happened to one delivery of a message."""

    message: Message
    attempt: int


@dataclass(frozen=True, slots=True)
class MessageStarted(MessageEvent):
    """A handler run begins."""


@dataclass(frozen=True, slots=True)
class MessageCompleted(MessageEvent):
    """A handler run succeeded and the broker took the completion."""

    run_seconds: float


@dataclass(frozen=True, slots=True)
class MessageRetried(MessageEvent):
    """A handler run failed; the message was given back to be tried again."""

    delay_seconds: float
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class MessageReturned(MessageEvent):
    """The message was given back though no run had failed: throttled, snoozed, early, or not started before a stop."""

    delay_seconds: float
    #: ``throttled``, ``snoozed``, ``early``, ``unstarted``; the same with ``-counted`` where the broker had to count.
    why: str


@dataclass(frozen=True, slots=True)
class MessageDeadLettered(MessageEvent):
    """The message is in the dead-letter queue."""

    death: Death


@dataclass(frozen=True, slots=True)
class DeliveryLost(MessageEvent):
    """The lease ended before the delivery was settled. Somebody else will get the message."""

    #: The handler had already succeeded, so the message will run twice.
    completed: bool


@dataclass(frozen=True, slots=True)
class SettlementFailed(MessageEvent):
    """The broker refused a settlement. It is tried again while the lease lasts."""

    verb: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class HandlerStuck(MessageEvent):
    """A handler runs past its timeout and cannot be stopped. Its slot stays taken until it returns."""

    run_seconds: float


@dataclass(frozen=True, slots=True)
class Quarantined(MessageEvent):
    """The message was delivered more often than it was tried, so it may be one that kills: it starts alone."""


@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    """The event loop stood still, usually for blocking code in an ``async def`` handler. Leases are at risk."""

    blocked_seconds: float


@dataclass(frozen=True, slots=True)
class ReceiverReady(Event):
    """The queue is being consumed."""


@dataclass(frozen=True, slots=True)
class ReceiverDown(Event):
    """The receiver was lost or cannot be made. It is made anew, with a growing wait."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class StandingBy(Event):
    """The downstream takes nothing: its breaker is open, or it asked for a pause. Nothing is received, nothing held."""

    #: For how long, at least; infinity while a probe decides; 0: something may start again.
    seconds: float
    #: ... which is one run, to see whether the downstream is back.
    probing: bool


@dataclass(frozen=True, slots=True)
class RateScopeChanged(Event):
    """A rate of the whole fleet has lost its store, and this process keeps to its share of it; or it is back."""

    #: The limit, as the settings call it: ``downstreams.billing``.
    limit: str
    #: False: the store is away.
    is_fleet: bool
    #: Starts per second that hold now: of the fleet, or of this process.
    per_second: float


Observer = Callable[[Event], object]


class Observers:
    """Those who want to know."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        #: All of them. Where there are none, nobody should make an event for nothing.
        self.present = tuple(observers)

    def add(self, observer: Observer) -> None:
        self.present = (*self.present, observer)

    def remove(self, observer: Observer) -> None:
        """Also while it is being told: the others still are."""
        observers = list(self.present)
        observers.remove(observer)
        self.present = tuple(observers)

    def tell(self, event: Event) -> None:
        for observer in self.present:
            try:
                observer(event)
            except Exception:
                log.exception("observer %r failed on %s", observer, type(event).__name__)
