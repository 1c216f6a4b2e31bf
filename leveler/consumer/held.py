"""Held: a delivery in this process, from its receipt to its settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from leveler.adapter import Delivery, Receiver
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


class Held:
    """One delivery, where it is in this process, and what has happened to it here.

    The class attributes are the state at receipt: nearly no delivery ever needs another value in most of them, and
    this object is made once per message.
    """

    state = ARRIVED
    #: The codec's value for the handler.
    value: Any = None
    #: Who will run it; chosen by type.
    handler: Any = None
    #: When its run began; None before.
    started_at: float | None = None
    #: How long its run took.
    run_seconds = 0.0
    #: What its run ended with.
    outcome: Outcome | None = None
    #: The worker that runs it, while it can be interrupted.
    task: asyncio.Task[None] | None = None
    #: Why its run was cut short: `TIMEOUT`, `LEASE_LOST` or `STOPPED`.
    cut: str | None = None
    #: The lease is over: it is no longer ours to settle.
    lost = False
    #: An `extend` for it is under way.
    extending = False
    #: Delivered more often than it may be started: it starts alone.
    solo = False
    #: A worker has it, and has not ordered its settlement yet.
    carried = False

    def __init__(self, delivery: Delivery, receiver: Receiver) -> None:
        self.delivery = delivery
        self.receiver = receiver

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
