"""The service's own messages, from google-cloud-tasks, as plain protocol buffers: its wrappers cost more than the work
that is done here.
"""

from __future__ import annotations

from typing import Any, Final

from google.cloud.tasks_v2 import types as wrapped
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

# Made when the library is imported, so no type checker can know what is in them.
Queue: Final[Any] = wrapped.Queue.pb()
Task: Final[Any] = wrapped.Task.pb()
ListQueuesResponse: Final[Any] = wrapped.ListQueuesResponse.pb()
ListTasksResponse: Final[Any] = wrapped.ListTasksResponse.pb()
BatchCreateTasksResponse: Final[Any] = wrapped.BatchCreateTasksResponse.pb()
BatchCreateTasksMetadata: Final[Any] = wrapped.BatchCreateTasksMetadata.pb()
BatchDeleteTasksMetadata: Final[Any] = wrapped.BatchDeleteTasksMetadata.pb()

RUNNING: Final = int(wrapped.Queue.State.RUNNING)
PAUSED: Final = int(wrapped.Queue.State.PAUSED)
FULL: Final = int(wrapped.Task.View.FULL)
BASIC: Final = int(wrapped.Task.View.BASIC)
METHODS: Final = {method.value: name for name, method in wrapped.HttpMethod.__members__.items()}


def request(method: str) -> Any:
    """The type of the request of an RPC."""
    return getattr(wrapped, f"{method}Request").pb()


def seconds(value: Duration | Timestamp) -> float:
    return value.seconds + value.nanos / 1e9


def timestamp(moment: float) -> Timestamp:
    """A moment to the microsecond, as the service keeps it."""
    microseconds = round(moment * 1e6)
    return Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def duration(length: float) -> Duration:
    milliseconds = round(length * 1000)
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)
