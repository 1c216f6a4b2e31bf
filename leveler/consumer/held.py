"""Held: a delivery in this process, from its receipt to its settlement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from leveler.adapter import Abandon, DeadLetter, Delivery, Receiver
from leveler.message import Message
from leveler.outcome import Outcome

#: Where a delivery is. Below `RUNNING` it has not been started: ARRIVED, or parked until its time comes;
#: BUFFERED, where a worker will take it.
ARRIVED: Final = 0
BUFFERED: Final = 1
RUNNING: Final = 2
SETTLING: Final = 3

#: Why a run was cut short.
TIMEOUT: Final = "timeout"
LEASE_LOST: Final = "lease lost"
STOPPED: Final = "stopped"


class Cancellable(Protocol):
    """A run that can be interrupted: a task, or a part in one."""

    def cancel(self) -> object: ...


class Run(Protocol):
    """What a handler is called for: one delivery, or a batch of them."""

    @property
    def value(self) -> Any: ...

    @property
    def cut(self) -> str | None:
        """Why it was cut short: `TIMEOUT`, `LEASE_LOST` or `STOPPED`."""
        ...


class Held(msgspec.Struct, eq=False, gc=False):  # `Leases.forget` breaks the only circle
    """One delivery, where it is in this process, and what has happened to it here. Made once per message."""

    delivery: Delivery
    receiver: Receiver
    state: int = ARRIVED
    #: The codec's value for the handler, from the decoding to the end of the run.
    value: Any = None
    #: Who will run it; chosen by type.
    handler: Any = None
    #: When its run began; None before.
    started_at: float | None = None
    #: How long its run took.
    run_seconds: float = 0.0
    #: What its run ended with, unless it just completed.
    outcome: Outcome | None = None
    #: What it is to be settled with; the bare delivery: it is completed.
    decision: Delivery | Abandon | DeadLetter | None = None
    #: How long to wait if the broker does not take that this time.
    retry_seconds: float = 0.0
    #: What runs it, while it can be interrupted.
    task: Cancellable | None = None
    #: Why its run was cut short: `TIMEOUT`, `LEASE_LOST` or `STOPPED`.
    cut: str | None = None
    #: The lease is over: it is no longer ours to settle.
    lost: bool = False
    #: An `extend` for it is under way.
    extending: bool = False
    #: Delivered more often than it may be started: it starts alone.
    solo: bool = False

    def waits(self, started_at: float, worker: Cancellable) -> None:
        """Its handler, which began at `started_at`, waits for something: from now on it may be cut short."""
        self.started_at = started_at
        self.task = worker if self.handler.is_async else None
        if self.cut is not None and self.task is not None:
            self.task.cancel()

    def interrupt(self, why: str) -> None:
        """Cut the run short. A ``def`` handler is only told: nobody can stop a thread."""
        if self.cut is None:
            self.cut = why
            if self.task is not None and self.state == RUNNING:
                self.task.cancel()


class Context:
    """What a handler may know about its run besides the value."""

    __slots__ = ("_held", "queue", "state")

    def __init__(self, held: Held, queue: str, state: Any) -> None:
        self._held = held
        #: The queue that the message came from.
        self.queue = queue
        #: What the app's lifespan yielded: a pool, a client.
        self.state = state

    @property
    def message(self) -> Message:
        """The envelope: id, headers, key, time, the body's bytes."""
        return self._held.delivery.message

    @property
    def attempt(self) -> int:
        """1 on the first delivery; a crash counts."""
        return self._held.delivery.attempt

    @property
    def headers(self) -> Mapping[str, str]:
        return self._held.delivery.message.headers

    @property
    def lease_lost(self) -> bool:
        """Somebody else may be handling this message already: cause no further effects."""
        return self._held.lost

    @property
    def cancelled(self) -> bool:
        """The run should end now: its time is up, its lease is lost, or the worker stops. For ``def`` handlers."""
        return self._held.cut is not None
