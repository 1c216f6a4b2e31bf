"""RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.containers.server import Server
from tests.faults.doubt import Doubt
from tests.faults.load import QUEUE
from tests.faults.subjects.served import served
from tests.faults.subjects.subject import Place, Subject
from tests.faults.wire import amqp

_OPERATIONS: Final = {
    "a publish": amqp.PUBLISH,
    "a confirm": amqp.CONFIRM,
    "a delivery": amqp.DELIVER,
    "an ack": amqp.ACK,
}


@contextmanager
def rabbitmq(place: Place) -> Iterator[Subject]:
    with served(
        "rabbitmq",
        place,
        conversation=amqp.AmqpConversation,
        operations=_OPERATIONS,
        alarm=_alarm,
        delete=_delete,
        options={},
        query="heartbeat_seconds=2",  # so that half-open connections are noticed while a run lasts
        doubt=Doubt(copies=True, completions=True),
        # A server that is killed within half a second of a queue's declaration does not find that queue again (see the
        # README): those for the usual delays are made first.
        calm_seconds=6.0,
    ) as subject:
        yield subject


def _alarm(server: Server, on: bool) -> None:
    """Every publisher is blocked while there is one."""
    server.admin("set_vm_memory_high_watermark", "0.0000001" if on else "0.6")


def _delete(server: Server) -> None:
    server.admin("delete_queue", QUEUE)
