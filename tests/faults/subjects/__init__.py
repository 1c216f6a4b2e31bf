"""Subjects: the brokers that can be put to the test, with the faults that only they can have. All data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from tests.faults.subjects.cloudtasks import cloudtasks
from tests.faults.subjects.rabbitmq import rabbitmq
from tests.faults.subjects.redis import redis
from tests.faults.subjects.servicebus import servicebus
from tests.faults.subjects.sqlite import sqlite
from tests.faults.subjects.sqs import sqs
from tests.faults.subjects.storagequeue import storagequeue
from tests.faults.subjects.subject import Place, Subject

SUBJECTS: Final[Mapping[str, Callable[[Place], AbstractContextManager[Subject]]]] = {
    "sqlite": sqlite,
    "rabbitmq": rabbitmq,
    "redis": redis,
    "cloudtasks": cloudtasks,
    "servicebus": servicebus,
    "sqs": sqs,
    "storagequeue": storagequeue,
}

#: Those that keep the messages of one key in order.
ORDERED: Final = frozenset({"sqlite", "redis", "servicebus", "sqs"})
