"""One task in the emulator: the service's message, and what the service keeps to itself."""

from __future__ import annotations

from typing import Any

import msgspec

from leveler_cloudtasks.emulator.protos import BASIC, FULL, Task, seconds, timestamp


class Facts(msgspec.Struct, kw_only=True):
    """What a restart must know besides the message. Moments are seconds since the epoch, on the emulator's clock."""

    #: When it is to be dispatched next.
    due_at: float
    #: When it was dispatched first.
    first_at: float | None = None
    #: Responses so far, those with a code of 5xx not counted: TaskExecutionCount.
    executions: int = 0
    #: The HTTP code of the last response, 0 if there was none: TaskPreviousResponse.
    previous: int = 0
    #: Why it is tried again: TaskRetryReason.
    reason: str = ""
    #: Its name was given, so it will be remembered.
    named: bool = False


class Entry:
    """One task. `running` is for this process alone: what ran when it ended is due again."""

    __slots__ = ("facts", "proto", "running", "turn")

    def __init__(self, proto: Any, facts: Facts) -> None:
        self.proto = proto
        self.facts = facts
        self.running = False
        #: Which of its places in the schedule is the valid one.
        self.turn = 0

    @property
    def name(self) -> str:
        return str(self.proto.name)

    @property
    def tries(self) -> int:
        """How often it was dispatched."""
        return int(self.proto.dispatch_count)

    @property
    def deadline_seconds(self) -> float:
        return seconds(self.proto.dispatch_deadline)

    def begins(self, now: float) -> None:
        """It is being dispatched."""
        self.running = True
        self.facts.first_at = now if self.facts.first_at is None else self.facts.first_at
        proto = self.proto
        proto.dispatch_count += 1
        proto.last_attempt.Clear()
        proto.last_attempt.schedule_time.CopyFrom(timestamp(self.facts.due_at))
        proto.last_attempt.dispatch_time.CopyFrom(timestamp(now))
        if proto.dispatch_count == 1:
            proto.first_attempt.dispatch_time.CopyFrom(timestamp(now))

    def ends(self, now: float, status: int, code: int, text: str) -> None:
        """The attempt is over.

        Args:
            now: the emulator's time.
            status: the HTTP code of the response, 0 if there was none.
            code: the status of the attempt, one of gRPC's.
            text: the same for people.
        """
        self.running = False
        self.facts.previous = status
        self.facts.executions += bool(status) and status < 500
        self.proto.response_count += bool(status)
        attempt = self.proto.last_attempt
        attempt.response_time.CopyFrom(timestamp(now))
        attempt.response_status.code = code
        attempt.response_status.message = text

    def due(self, moment: float) -> None:
        self.facts.due_at = moment
        self.proto.schedule_time.CopyFrom(timestamp(moment))

    def view(self, view: int) -> Any:
        """A copy to be answered with: BASIC is without the body."""
        shown = Task()
        shown.CopyFrom(self.proto)
        shown.view = FULL if view == FULL else BASIC
        if view != FULL:
            shown.http_request.ClearField("body")
        return shown
