"""Why something cannot be done: an AMQP condition, which the client maps to an exception, and a text for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NOT_FOUND: Final = "amqp:not-found"
UNAUTHORIZED: Final = "amqp:unauthorized-access"
NOT_ALLOWED: Final = "amqp:not-allowed"
NOT_IMPLEMENTED: Final = "amqp:not-implemented"
TOO_LARGE: Final = "amqp:link:message-size-exceeded"
FULL: Final = "amqp:resource-limit-exceeded"
DETACH_FORCED: Final = "amqp:link:detach-forced"
DECODE_ERROR: Final = "amqp:decode-error"
FRAMING_ERROR: Final = "amqp:connection:framing-error"
MESSAGE_LOCK_LOST: Final = "com.microsoft:message-lock-lost"
MESSAGE_NOT_FOUND: Final = "com.microsoft:message-not-found"
SESSION_LOCK_LOST: Final = "com.microsoft:session-lock-lost"
SESSION_CANNOT_BE_LOCKED: Final = "com.microsoft:session-cannot-be-locked"
TIMEOUT: Final = "com.microsoft:timeout"
SERVER_BUSY: Final = "com.microsoft:server-busy"
DISABLED: Final = "com.microsoft:entity-disabled"
ARGUMENT_ERROR: Final = "com.microsoft:argument-error"
OUT_OF_RANGE: Final = "com.microsoft:argument-out-of-range"


@dataclass
class Refused(Exception):
    """The service says no."""

    condition: str
    description: str

    def __str__(self) -> str:
        return f"{self.condition}: {self.description}"
