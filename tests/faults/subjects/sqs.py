"""SQS, emulated. The emulator forgets everything when it is killed, so it is not: its endpoint goes away instead."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from tests.containers.brokers.sqs import SQS
from tests.containers.server import Server
from tests.faults.doubt import Doubt
from tests.faults.load import QUEUE
from tests.faults.subjects.served import served
from tests.faults.subjects.subject import Fault, Notes, Place, Subject
from tests.faults.wire.proxy import Proxy
from tests.faults.wire.sqs import Mood, SqsConversation

_OPERATIONS: Final = {
    "a send": "SendMessageBatch",
    "the answer to a send": "SendMessageBatch reply",
    "a delivery": "ReceiveMessage reply",
    "a completion": "DeleteMessageBatch",
    "the answer to a completion": "DeleteMessageBatch reply",
    "a return": "ChangeMessageVisibilityBatch",
}
#: Longer than the lease of the runs (see worker.py).
_AWAY_SECONDS: Final = 3.0


@contextmanager
def sqs(place: Place) -> Iterator[Subject]:
    os.environ.update(SQS.credentials)
    mood = Mood()
    with served(
        "sqs",
        place,
        conversation=partial(SqsConversation, mood),
        operations=_OPERATIONS,
        delete=_delete,
        options={},
        doubt=Doubt(copies=True),
        ends=False,
        more=partial(_faults, mood),
    ) as subject:
        yield subject


def _faults(mood: Mood, proxy: Proxy) -> Sequence[Fault]:
    return [
        Fault("endpoint down", partial(_down, proxy), _AWAY_SECONDS),
        Fault("throttled", partial(_in_the_mood, mood, {"throttles": True}), _AWAY_SECONDS),
        Fault("half of each batch refused", partial(_in_the_mood, mood, {"does_half": True}), _AWAY_SECONDS),
        Fault("leases that end early", partial(_in_the_mood, mood, {"cuts_leases": True}), _AWAY_SECONDS),
        Fault("clock an hour ahead", partial(_in_the_mood, mood, {"hours_ahead": 1}), _AWAY_SECONDS),
    ]


def _down(proxy: Proxy, notes: Notes) -> None:
    notes.strike()
    proxy.refuse(True)
    try:
        time.sleep(_AWAY_SECONDS)
    finally:
        proxy.refuse(False)
        notes.back()


def _in_the_mood(mood: Mood, changes: dict[str, Any], notes: Notes) -> None:
    notes.strike()
    for name, value in changes.items():
        setattr(mood, name, value)
    try:
        time.sleep(_AWAY_SECONDS)
    finally:
        for name in changes:
            setattr(mood, name, getattr(Mood(), name))
        notes.back()


def _delete(server: Server) -> None:
    url = _ask(server, "GetQueueUrl", {"QueueName": QUEUE})["QueueUrl"]
    _ask(server, "DeleteQueue", {"QueueUrl": url})


def _ask(server: Server, operation: str, content: dict[str, str]) -> Any:
    """The emulator looks at no signature."""
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    endpoint = server.url.partition("endpoint_url=")[2]
    request = urllib.request.Request(endpoint, json.dumps(content).encode(), headers)
    with urllib.request.urlopen(request, timeout=5.0) as answer:
        return json.loads(answer.read() or b"{}")
