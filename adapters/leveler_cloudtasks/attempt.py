"""What Cloud Tasks says about a delivery, in the headers of its request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

_PREFIX: Final = "x-cloudtasks-"
_MOST: Final = 1_000_000

#: Ours: the deadline of the task, in seconds, which the service does not tell.
LEASE: Final = "leveler-lease"
LONGEST_LEASE_SECONDS: Final = 1800.0


def failures(headers: Mapping[str, str]) -> int:
    """How many tries of this task have failed so that they may count.

    TaskRetryCount counts every failed try, TaskExecutionCount those whose answer was not a 5xx. A failure of ours is
    answered with 500, a refusal with 429, and a crash with nothing: where the two differ, something counts.

    How many that were is asked only where there is no room for a copy. A try that reached nobody cannot be told from a
    crash, and a night without workers is thousands of them; so they count as one, which is written into a copy before
    the message is handed out. From there on the service's counts begin anew, and what has reached us has been counted
    one by one.
    """
    retries = _count(headers.get(f"{_PREFIX}taskretrycount"))
    executions = _count(headers.get(f"{_PREFIX}taskexecutioncount"))
    return max(0, retries - executions)


def task_id(headers: Mapping[str, str]) -> str:
    """The task's own name, without its queue's; empty where it is no task."""
    return headers.get(f"{_PREFIX}taskname", "")[:500]


def lease_of(headers: Mapping[str, str]) -> float | None:
    """How long the service waits for the answer; None where only the queue's settings can tell."""
    try:
        lease = float(headers[LEASE])
    except (KeyError, ValueError):
        return None
    return lease if 0 < lease <= LONGEST_LEASE_SECONDS else None


def due_at(headers: Mapping[str, str], default: datetime) -> datetime:
    """When the task was to be dispatched."""
    try:
        return datetime.fromtimestamp(float(headers[f"{_PREFIX}tasketa"]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return default


def _count(text: str | None) -> int:
    return min(int(text[:9]), _MOST) if text and text.isascii() and text.isdigit() else 0
