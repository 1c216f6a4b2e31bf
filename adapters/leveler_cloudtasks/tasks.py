"""Tasks: a message as the service's own task, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from google.cloud.tasks_v2 import Task
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from leveler.adapter import QueueSpec
from leveler.clock import Clock
from leveler.message import Message
from leveler_cloudtasks.attempt import LEASE
from leveler_cloudtasks.headers import headers_of, message_of
from leveler_cloudtasks.options import CloudTasksOptions
from leveler_cloudtasks.place import Place

_TaskProto: Final[Any] = Task.pb()

#: The service takes 30 days from its own now, which is not ours.
MAX_DELAY_SECONDS: Final = 30 * 86_400.0 - 3600.0

#: The service takes no larger tasks, and no more headers.
_MOST_BYTES: Final = 1024 * 1024
_MOST_HEADER_BYTES: Final = 80 * 1024
#: What whoever takes a dead letter writes into it, and a longer number in its name.
_HOLD_BYTES: Final = 96
#: The shortest URL that the service takes.
_NOWHERE: Final = "http://d"


class Tasks:
    """Makes the tasks of one queue.

    Args:
        queue: which.
        place: of the queue.
        options: where the workers are, and as whom they are called.
        clock: for delays.
    """

    def __init__(self, queue: QueueSpec, place: Place, options: CloudTasksOptions, clock: Clock) -> None:
        self._queue = queue
        self._place = place
        self._options = options
        self._clock = clock

    def live(self, message: Message, pause_seconds: float = 0.0) -> Any:
        """A task that brings the message to a worker, no sooner than after the pause."""
        task = self._task(message, self._queue.name)
        whole, part = divmod(self._queue.lease_seconds, 1)
        task.dispatch_deadline.CopyFrom(Duration(seconds=int(whole), nanos=int(part * 1e9)))
        task.http_request.headers[LEASE] = f"{self._queue.lease_seconds:g}"
        if self._queue.dedup_seconds > 0:
            task.name = self._name(self._queue.name, hashlib.sha256(message.dedup_key.encode()).hexdigest())
        if (delay := max(pause_seconds, message.delay_seconds(self._clock.now()))) > 0:
            due = self._clock.now() + timedelta(seconds=min(delay, MAX_DELAY_SECONDS))
            task.schedule_time.CopyFrom(_timestamp(due))
        return task

    def dead(self, message: Message, task_id: str, extra: Mapping[str, str] | None = None) -> Any:
        """A task that keeps the message in the paused queue of the dead."""
        task = self._task(message, self._queue.dead_name)
        task.name = self._name(self._queue.dead_name, task_id)
        task.http_request.headers.update(extra or {})
        return task

    def letter(self, message: Message, task_id: str) -> Any:
        """The same of a message that has just died, with as much of its detail as there is room for.

        What others have made may leave no room even without, nor for an envelope: then it is its body alone, as it
        came. Nobody ever calls the URL of a dead letter, so it may be a short one.
        """
        for letter in message.shortened():
            task = self.dead(letter, task_id)
            if fits(task, spare_bytes=_HOLD_BYTES):
                return task
        bare = _TaskProto()
        bare.name = self._name(self._queue.dead_name, task_id)
        bare.http_request.url = _NOWHERE
        bare.http_request.body = message.body
        return bare

    def _task(self, message: Message, queue: str) -> Any:
        task = _TaskProto()
        request = task.http_request
        request.url = f"{self._options.url}/{queue}"
        request.headers.update(headers_of(message))
        request.body = message.body
        if self._options.service_account:
            request.oidc_token.service_account_email = self._options.service_account
            request.oidc_token.audience = self._options.token_audience
        return task

    def _name(self, queue: str, task_id: str) -> str:
        return f"{self._place.queue(queue)}/tasks/{task_id}"


def fits(task: Any, *, spare_bytes: int = 0) -> bool:
    """Whether the service takes it, and would if it were larger by so much."""
    headers = sum(len(name.encode()) + len(value.encode()) for name, value in task.http_request.headers.items())
    return bool(task.ByteSize() + spare_bytes <= _MOST_BYTES and headers + spare_bytes < _MOST_HEADER_BYTES)


def message_in(task: Any, received_at: datetime) -> Message:
    """The message that a task carries, whoever made it."""
    headers = {name.lower(): value for name, value in task.http_request.headers.items()}
    native_id = task.name.rpartition("/")[2]
    return message_of(headers, task.http_request.body, received_at=received_at, native_id=native_id)


def runs(task: Any) -> bool:
    """Whether a worker has it now."""
    return task.last_attempt.HasField("dispatch_time") and not task.last_attempt.HasField("response_time")


def seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9


def _timestamp(moment: datetime) -> Timestamp:
    out = Timestamp()
    out.FromDatetime(moment)
    return out
