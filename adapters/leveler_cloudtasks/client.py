"""Client: google-cloud-tasks' own, without its retries, and with leveler's errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

import grpc
from google.api_core.exceptions import AlreadyExists, NotFound, PermissionDenied
from google.cloud.tasks_v2 import (
    CloudTasksAsyncClient,
    CreateQueueRequest,
    CreateTaskRequest,
    ListTasksRequest,
    Queue,
    Task,
)
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from google.protobuf.field_mask_pb2 import FieldMask

from leveler.errors import QueueNotFound
from leveler_cloudtasks.errors import mapped
from leveler_cloudtasks.place import Place

#: Tasks in one answer, and those with bodies, of which each may have a mebibyte.
_PAGE: Final = 1000
_FULL_PAGE: Final = 50
_CHANNEL: Final = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Else it would wait for up to two minutes before it looks whether a server is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class Client:
    """The calls that the adapter needs. Each returns or raises within the deadline.

    Args:
        place: project and location.
        emulator: host:port to talk to instead of the service; empty = the service, with default credentials.
        deadline_seconds: of one call.
    """

    def __init__(self, place: Place, emulator: str, deadline_seconds: float) -> None:
        self.place = place
        self._deadline = deadline_seconds
        with mapped(f"cloudtasks://{place.project}/{place.location}"):
            if emulator:
                channel = grpc.aio.insecure_channel(emulator, options=_CHANNEL)
            else:
                channel = CloudTasksGrpcAsyncIOTransport.create_channel(options=_CHANNEL)
            transport = CloudTasksGrpcAsyncIOTransport(channel=channel)
            self._client = CloudTasksAsyncClient(transport=transport)
        self._options: dict[str, Any] = {"retry": None, "timeout": deadline_seconds}

    async def close(self) -> None:
        await self._client.transport.close()  # type: ignore[no-untyped-call]

    async def connect(self) -> None:
        """Somebody answers, and knows us. Who may only send may not look at queues, and need not."""
        with mapped(f"cloudtasks://{self.place.project}/{self.place.location}"):
            try:
                await self._client.list_queues(request={"parent": self.place.parent, "page_size": 1}, **self._options)
            except PermissionDenied:
                return

    # -- queues

    async def queue(self, name: str) -> Queue:
        with mapped(f"queue {name!r}"):
            return await self._client.get_queue(name=self.place.queue(name), **self._options)

    async def create_queue(self, queue: Queue) -> None:
        """Make it; it may be there by now."""
        name = queue.name.rpartition("/")[2]
        with mapped(f"queue {name!r}"):
            try:
                await self._client.create_queue(
                    request=CreateQueueRequest(parent=self.place.parent, queue=queue), **self._options
                )
            except AlreadyExists:
                return

    async def update_queue(self, queue: Queue, paths: list[str]) -> None:
        with mapped(f"queue {queue.name.rpartition('/')[2]!r}"):
            await self._client.update_queue(queue=queue, update_mask=FieldMask(paths=paths), **self._options)

    async def pause_queue(self, name: str) -> None:
        with mapped(f"queue {name!r}"):
            await self._client.pause_queue(name=self.place.queue(name), **self._options)

    async def delete_queue(self, name: str) -> None:
        try:
            with mapped(f"queue {name!r}"):
                await self._client.delete_queue(name=self.place.queue(name), **self._options)
        except QueueNotFound:
            return

    # -- tasks

    async def create_task(self, queue: str, task: Any) -> bool:
        """Queue it; False if its name is taken, or was not long ago.

        Args:
            queue: its name.
            task: a plain protocol buffer.
        """
        request = CreateTaskRequest()
        plain = CreateTaskRequest.pb(request)
        plain.parent = self.place.queue(queue)
        plain.task.CopyFrom(task)
        with mapped(f"queue {queue!r}", sends=True):
            try:
                await self._client.create_task(request=request, **self._options)
            except AlreadyExists:
                return False
        return True

    async def delete_task(self, name: str) -> bool:
        """Remove it; False if it is not there."""
        with mapped(f"task {name!r}"):
            try:
                await self._client.delete_task(name=name, **self._options)
            except NotFound:
                return False
        return True

    async def tasks(self, queue: str, *, full: bool) -> AsyncGenerator[Any, None]:
        """All tasks of the queue, as plain protocol buffers; `full` means with their bodies."""
        request = ListTasksRequest(
            parent=self.place.queue(queue),
            page_size=_FULL_PAGE if full else _PAGE,
            response_view=Task.View.FULL if full else Task.View.BASIC,
        )
        with mapped(f"queue {queue!r}"):
            pager = await self._client.list_tasks(request=request, **self._options)
            async for page in pager.pages:
                for task in page.tasks:
                    yield Task.pb(task)
