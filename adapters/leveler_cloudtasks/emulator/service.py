"""The wire: the RPCs of google.cloud.tasks.v2.CloudTasks, each one line of the broker's verbs."""

from __future__ import annotations

import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc
from google.longrunning.operations_pb2 import GetOperationRequest
from google.protobuf.empty_pb2 import Empty

from leveler.clock import Clock
from leveler_cloudtasks.emulator import rules
from leveler_cloudtasks.emulator.batches import Batches
from leveler_cloudtasks.emulator.broker import Broker
from leveler_cloudtasks.emulator.bucket import Bucket
from leveler_cloudtasks.emulator.protos import ListQueuesResponse, ListTasksResponse, request
from leveler_cloudtasks.emulator.refusal import Refused, invalid

_SERVICE: Final = "google.cloud.tasks.v2.CloudTasks"
_OPERATIONS: Final = "google.longrunning.Operations"

_MAX_QUEUES: Final = 9800
_MAX_TASKS: Final = 1000

#: Calls per minute, in one project, of the methods that are for people.
_LISTS_PER_MINUTE: Final = 600
_RUNS_PER_MINUTE: Final = 60


class Service:
    """Answers the RPCs.

    Args:
        broker: does what they say.
        clock: the emulator's.
        quotas: whether listing and running tasks is limited, as at the service.
    """

    def __init__(self, broker: Broker, clock: Clock, *, quotas: bool) -> None:
        self._broker = broker
        self._clock = clock
        self._batches = Batches(broker, clock)
        now = self._now()
        self._lists = Bucket(_LISTS_PER_MINUTE / 60, _LISTS_PER_MINUTE, now) if quotas else None
        self._runs = Bucket(_RUNS_PER_MINUTE / 60, _RUNS_PER_MINUTE, now) if quotas else None

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """For a gRPC server."""
        methods = {
            "ListQueues": self.list_queues,
            "GetQueue": lambda asked: self._broker.queue(asked.name).proto,
            "CreateQueue": lambda asked: self._broker.create_queue(asked.parent, asked.queue),
            "UpdateQueue": lambda asked: self._broker.update_queue(asked.queue, asked.update_mask.paths),
            "DeleteQueue": self.delete_queue,
            "PurgeQueue": lambda asked: self._broker.purge_queue(asked.name),
            "PauseQueue": lambda asked: self._broker.pause_queue(asked.name, True),
            "ResumeQueue": lambda asked: self._broker.pause_queue(asked.name, False),
            "ListTasks": self.list_tasks,
            "GetTask": lambda asked: self._broker.task(asked.name)[1].view(asked.response_view),
            "CreateTask": lambda asked: self._broker.create_task(asked.parent, asked.task).view(asked.response_view),
            "DeleteTask": self.delete_task,
            "RunTask": self.run_task,
            "BatchCreateTasks": self._batches.create,
            "BatchDeleteTasks": self._batches.delete,
        }
        tasks = {name: _handler(answer, request(name).FromString) for name, answer in methods.items()}
        operations = {
            "GetOperation": _handler(lambda asked: self._batches.get(asked.name), GetOperationRequest.FromString)
        }
        return [
            grpc.method_handlers_generic_handler(_SERVICE, tasks),
            grpc.method_handlers_generic_handler(_OPERATIONS, operations),
        ]

    def list_queues(self, asked: Any) -> Any:
        if asked.filter:
            raise invalid("ListQueues.filter is not emulated.")
        prefix = f"{rules.check_parent(asked.parent)}/queues/"
        names = (name for name in self._broker.queues if name.startswith(prefix))
        page, token = _page(names, asked.page_size or _MAX_QUEUES, _MAX_QUEUES, asked.page_token)
        return ListQueuesResponse(queues=[self._broker.queues[name].proto for name in page], next_page_token=token)

    def delete_queue(self, asked: Any) -> Empty:
        self._broker.delete_queue(asked.name)
        return Empty()

    def delete_task(self, asked: Any) -> Empty:
        self._broker.delete_task(asked.name)
        return Empty()

    def list_tasks(self, asked: Any) -> Any:
        self._count(self._lists, "ListTasks", _LISTS_PER_MINUTE)
        tasks = self._broker.queue(asked.parent).tasks
        page, token = _page(tasks, asked.page_size or _MAX_TASKS, _MAX_TASKS, asked.page_token)
        return ListTasksResponse(tasks=[tasks[name].view(asked.response_view) for name in page], next_page_token=token)

    def run_task(self, asked: Any) -> Any:
        self._count(self._runs, "RunTask", _RUNS_PER_MINUTE)
        return self._broker.run_task(asked.name).view(asked.response_view)

    def _count(self, quota: Bucket | None, method: str, most: int) -> None:
        if quota is not None and not quota.take(self._now()):
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"Quota exceeded: {method} {most} times per minute.")

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _handler(answer: Callable[[Any], Any], read: Callable[[bytes], Any]) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(asked: Any, context: Any) -> Any:
        try:
            return answer(asked)
        except Refused as refused:
            await context.abort(refused.code, refused.text)

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=read, response_serializer=lambda answered: answered.SerializeToString()
    )


def _page(names: Iterable[str], size: int, most: int, token: str) -> tuple[list[str], str]:
    """The next names after those of `token`, and the token for what comes after them; empty at the end."""
    if not 0 < size <= most:
        raise invalid(f"page_size is {size}; it must be between 1 and {most}.")
    try:
        after = urlsafe_b64decode(token).decode()
    except ValueError:
        raise invalid("page_token is none that was given out.") from None
    page = heapq.nsmallest(size + 1, (name for name in names if name > after))
    more = len(page) > size
    return page[:size], urlsafe_b64encode(page[size - 1].encode()).decode() if more else ""
