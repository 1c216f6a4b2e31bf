"""What a handler run may end with. Each may be raised or returned; each has one branch in `decide`.

    Completed       the work is done (so does returning anything else, or nothing)
    Retry           try again; counts an attempt, like any other exception
    Throttled       the downstream refused (429, 503); counts no attempt, pauses that downstream
    Snooze          it is not yet time; counts no attempt
    Reject          this will never work: dead-letter it now
    BatchFailed     of a batch of messages: what becomes of some of them; the others are completed

`Throttled` and `Snooze` repeat without an end of their own, so they are bounded by the queue's ``max_age``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta


class Outcome(Exception):
    """What one handler run ended with."""


class Completed(Outcome):
    """The work is done: the message is completed."""


class Retry(Outcome):
    """Try again later; this run counts as an attempt.

    Args:
        after: how long to wait, in seconds or as a timedelta. Without it the retry policy decides.
    """

    def __init__(self, after: float | timedelta | None = None) -> None:
        self.after_seconds = None if after is None else seconds(after)
        super().__init__(f"retry after {self.after_seconds} s" if after is not None else "retry")


class Throttled(Outcome):
    """The downstream said that it has too much to do: 429, 503. No attempt is counted.

    Args:
        after: what the downstream asked for (Retry-After), in seconds or as a timedelta.
        downstream: which one refused, where the consumer uses several; its own by default.
    """

    def __init__(self, after: float | timedelta | None = None, downstream: str | None = None) -> None:
        self.after_seconds = None if after is None else seconds(after)
        self.downstream = downstream
        super().__init__(f"throttled by {downstream or 'the downstream'}")


class Snooze(Outcome):
    """It is not yet time for this message. No attempt is counted.

    Args:
        after: when to look again, in seconds or as a timedelta.
    """

    def __init__(self, after: float | timedelta) -> None:
        self.after_seconds = seconds(after)
        super().__init__(f"snooze for {self.after_seconds} s")


class Reject(Outcome):
    """This message will never work: dead-letter it now.

    Args:
        reason: why, for whoever reads the dead-letter queue.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class BatchFailed(Outcome):
    """Some messages of a batch are not done; all others are completed.

    Args:
        outcomes: by the message's index in the batch: an outcome, or any other exception, which is tried again. One
            that is not here is completed, so that an empty mapping completes all of them.
    """

    def __init__(self, outcomes: Mapping[int, Exception]) -> None:
        self.outcomes = dict(outcomes)
        first = next((f"; item {index!r}: {of_one!r}" for index, of_one in self.outcomes.items()), "")
        super().__init__(f"{len(self.outcomes)} messages of a batch failed{first}")


class Failed(Retry):
    """A run that ended with an exception which is no outcome. The engine makes it; nobody raises it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Undecodable(Outcome):
    """The body is not what the handler takes and never will be. The engine makes it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Stopped(Outcome):
    """The run was cut because the worker stops. The engine makes it."""


def seconds(duration: float | timedelta) -> float:
    """`duration` in seconds; never negative."""
    value = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    return max(0.0, value)
