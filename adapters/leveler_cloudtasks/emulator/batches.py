"""The batch calls: long-running operations that are done when they are answered, each item with a result of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
from google.longrunning.operations_pb2 import Operation
from google.protobuf.empty_pb2 import Empty
from google.rpc.status_pb2 import Status

from leveler.clock import Clock
from leveler_cloudtasks.emulator.broker import Broker
from leveler_cloudtasks.emulator.protos import (
    BatchCreateTasksMetadata,
    BatchCreateTasksResponse,
    BatchDeleteTasksMetadata,
    timestamp,
)
from leveler_cloudtasks.emulator.refusal import Refused, invalid, not_found

MAX_CREATES: Final = 100
MAX_DELETES: Final = 1000

_SUCCEEDED: Final = 2
_FAILED: Final = 3
_MOST_KEPT: Final = 10_000


class Batches:
    """Remembers its operations, so that one that is asked for again is not done again."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._done: dict[str, Operation] = {}

    def create(self, request: Any) -> Operation:
        if not 0 < len(request.requests) <= MAX_CREATES:
            raise invalid(f"BatchCreateTasks takes 1 to {MAX_CREATES} requests, not {len(request.requests)}.")
        if any(one.parent and one.parent != request.parent for one in request.requests):
            raise invalid("The parent of each request must be that of the batch.")

        def make(one: Any) -> Any:
            return self._broker.create_task(request.parent, one.task).view(one.response_view)

        self._broker.queue(request.parent)
        return self._operation(
            request,
            request.requests,
            make,
            BatchCreateTasksMetadata(),
            lambda made: BatchCreateTasksResponse(tasks=made),
            partly=5,
        )

    def delete(self, request: Any) -> Operation:
        if not 0 < len(request.names) <= MAX_DELETES:
            raise invalid(f"BatchDeleteTasks takes 1 to {MAX_DELETES} names, not {len(request.names)}.")
        self._broker.queue(request.parent)
        return self._operation(
            request,
            request.names,
            self._broker.delete_task,
            BatchDeleteTasksMetadata(),
            lambda _: Empty(),
            partly=3,
        )

    def get(self, name: str) -> Operation:
        if name not in self._done:
            raise not_found(f"The operation {name}")
        return self._done[name]

    def _operation(
        self,
        request: Any,
        items: Sequence[Any],
        act: Callable[[Any], Any],
        metadata: Any,
        response: Callable[[list[Any]], Any],
        *,
        partly: int,
    ) -> Operation:
        """Do `act` with each item; the numbers of the states are those of the two metadata messages."""
        location = request.parent.partition("/queues/")[0]
        name = f"{location}/operations/{request.request_id or uuid.uuid4()}"
        if name in self._done:
            return self._done[name]
        metadata.start_time.CopyFrom(timestamp(self._clock.now().timestamp()))
        done = []
        for index, item in enumerate(items):
            try:
                done.append(act(item))
            except Refused as refused:
                metadata.failed_requests[index].CopyFrom(Status(code=refused.code.value[0], message=refused.text))
        failed = len(metadata.failed_requests)
        metadata.state = _SUCCEEDED if not failed else partly if done else (4 if partly == 3 else _FAILED)
        metadata.end_time.CopyFrom(timestamp(self._clock.now().timestamp()))
        operation = Operation(name=name, done=True)
        operation.metadata.Pack(metadata)
        if done:
            operation.response.Pack(response(done))
        else:
            operation.error.code = grpc.StatusCode.ABORTED.value[0]
            operation.error.message = "None of the requests succeeded, see failed_requests of the metadata."
        return self._keep(operation)

    def _keep(self, operation: Operation) -> Operation:
        if len(self._done) >= _MOST_KEPT:
            del self._done[next(iter(self._done))]
        self._done[operation.name] = operation
        return operation
