"""The brokers that tests can have a server of, one file each."""

from collections.abc import Mapping
from typing import Final

from tests.containers.broker import Broker
from tests.containers.brokers.rabbitmq import RABBITMQ
from tests.containers.brokers.redis import REDIS
from tests.containers.brokers.servicebus import SERVICEBUS
from tests.containers.brokers.sqs import SQS
from tests.containers.brokers.storagequeue import STORAGEQUEUE

BROKERS: Final[Mapping[str, Broker]] = {
    broker.name: broker for broker in (RABBITMQ, REDIS, SERVICEBUS, SQS, STORAGEQUEUE)
}
