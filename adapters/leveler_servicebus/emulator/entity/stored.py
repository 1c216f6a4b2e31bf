"""A message in a queue."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from leveler_servicebus.emulator.amqp.message import Content
from leveler_servicebus.emulator.entity.settings import FOREVER_MS


class State(IntEnum):
    """As `x-opt-message-state` says it."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(slots=True)
class Stored:
    """What the queue knows about one message."""

    sequence: int
    content: Content
    enqueued_ms: int
    expires_ms: int = FOREVER_MS
    state: State = State.ACTIVE
    #: How often it has been received in vain.
    delivery_count: int = 0
    #: The token of the lock, and when that ends; empty: nobody has it.
    token: bytes = b""
    locked_until_ms: int = 0
    #: The queue that it has been dead-lettered from.
    dead_letter_source: str = ""
