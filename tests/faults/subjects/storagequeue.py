"""Azure Storage Queue: the vendor's emulator, which saves what it has every five seconds and when it is told to end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from azure.storage.queue import QueueClient
from leveler_storagequeue.account import account_of
from leveler_storagequeue.options import StorageQueueOptions

from tests.containers.server import Server
from tests.faults.load import QUEUE
from tests.faults.subjects.served import served
from tests.faults.subjects.subject import Place, Subject
from tests.faults.wire.http import HttpConversation, Request

_OPERATIONS: Final = {
    "a send": "send",
    "the reply to a send": "send reply",
    "a delivery": "receive reply",
    "a completion": "complete",
    "the reply to a completion": "complete reply",
    "a renewal or give-back": "update",
    "the reply to a renewal or give-back": "update reply",
}

_NAMES: Final = {"POST": "send", "GET": "receive", "DELETE": "complete", "PUT": "update"}


@contextmanager
def storagequeue(place: Place) -> Iterator[Subject]:
    with served(
        "storagequeue",
        place,
        conversation=partial(HttpConversation, _name_of, _is_empty),
        operations=_OPERATIONS,
        delete=_delete,
        options={"location": str(place.folder)},
        lasting=False,
    ) as subject:
        yield subject


def _name_of(request: Request) -> str:
    return _NAMES.get(request.method, "") if f"/{QUEUE}/messages" in request.target else ""


def _is_empty(body: bytes) -> bool:
    """An empty list of messages."""
    return body.endswith((b"<QueueMessagesList/>", b"<QueueMessagesList></QueueMessagesList>"))


def _delete(server: Server) -> None:
    url, _, _ = server.url.partition("?")
    account = account_of(url, StorageQueueOptions(insecure=True))
    with QueueClient(account.endpoint, QUEUE, credential=account.credential()) as queue:
        queue.delete_queue()
