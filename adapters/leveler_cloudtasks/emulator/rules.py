"""What the service takes: names, sizes, times. Everything that is wrong is INVALID_ARGUMENT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from leveler_cloudtasks.emulator.protos import METHODS, duration, seconds
from leveler_cloudtasks.emulator.refusal import invalid

_LOCATION: Final = r"projects/[A-Za-z0-9.:-]+/locations/[A-Za-z0-9-]+"
_PARENT = re.compile(_LOCATION)
_QUEUE = re.compile(rf"({_LOCATION})/queues/([A-Za-z0-9-]{{1,100}})")
_TASK = re.compile(rf"({_LOCATION}/queues/[A-Za-z0-9-]{{1,100}})/tasks/([A-Za-z0-9_-]{{1,500}})")

MAX_TASK_BYTES: Final = 1024 * 1024
MAX_HEADER_BYTES: Final = 80 * 1024
MAX_URL_CHARACTERS: Final = 2083
MAX_AHEAD_SECONDS: Final = 30 * 86_400.0
DEFAULT_DEADLINE_SECONDS: Final = 600.0
LONGEST_DEADLINE_SECONDS: Final = 1800.0
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


def check_parent(parent: str) -> str:
    if not _PARENT.fullmatch(parent):
        raise invalid(f"Invalid resource name {parent!r}: use projects/PROJECT/locations/LOCATION.")
    return parent


def check_queue(name: str) -> str:
    if not _QUEUE.fullmatch(name):
        raise invalid(f"Invalid queue name {name!r}: use projects/PROJECT/locations/LOCATION/queues/QUEUE.")
    return name


def queue_of(task_name: str) -> str:
    """The queue's name in a task's name."""
    match = _TASK.fullmatch(task_name)
    if match is None:
        raise invalid(f"Invalid task name {task_name!r}: use projects/P/locations/L/queues/QUEUE/tasks/TASK.")
    return match[1]


@dataclass(frozen=True)
class TaskRules:
    """For new tasks.

    Args:
        shortest_deadline_seconds: 15 at the service; tests may want less.
    """

    shortest_deadline_seconds: float = 15.0

    def check(self, queue: str, task: Any) -> None:
        """Fill in what was left out.

        Raises:
            Refused: the service would not take it.
        """
        if task.name and queue_of(task.name) != queue:
            raise invalid(f"The task name {task.name!r} must begin with the queue's name, {queue!r}.")
        if not task.HasField("http_request"):
            raise invalid("Task.http_request must be set: App Engine tasks are not emulated.")
        if task.ByteSize() > MAX_TASK_BYTES:
            raise invalid(f"Task size too large: {task.ByteSize()} bytes of at most {MAX_TASK_BYTES}.")
        self._check_request(task.http_request)
        self._check_deadline(task)

    def _check_request(self, request: Any) -> None:
        request.http_method = request.http_method or 1  # POST
        at = urlsplit(request.url)
        if at.scheme not in ("http", "https") or not at.hostname:
            raise invalid(f"HttpRequest.url {request.url!r} must begin with http:// or https:// and name a host.")
        if len(request.url) > MAX_URL_CHARACTERS:
            raise invalid(f"HttpRequest.url has {len(request.url)} characters of at most {MAX_URL_CHARACTERS}.")
        if request.body and METHODS[request.http_method] not in _WITH_BODY:
            raise invalid("HttpRequest.body is allowed only with POST, PUT and PATCH.")
        if sum(len(name.encode()) + len(value.encode()) for name, value in request.headers.items()) >= MAX_HEADER_BYTES:
            raise invalid(f"HttpRequest.headers must be smaller than {MAX_HEADER_BYTES} bytes.")

    def _check_deadline(self, task: Any) -> None:
        if not task.HasField("dispatch_deadline"):
            task.dispatch_deadline.CopyFrom(duration(DEFAULT_DEADLINE_SECONDS))
        given = seconds(task.dispatch_deadline)
        if not self.shortest_deadline_seconds <= given <= LONGEST_DEADLINE_SECONDS:
            raise invalid(
                f"Task.dispatch_deadline is {given:g} s; it must be within [{self.shortest_deadline_seconds:g}s, "
                f"{LONGEST_DEADLINE_SECONDS:g}s]."
            )
        task.dispatch_deadline.CopyFrom(duration(given))
