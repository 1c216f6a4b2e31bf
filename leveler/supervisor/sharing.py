"""Sharing: whether several processes can consume these queues at all; found out before the first one is started."""

from __future__ import annotations

from collections.abc import Collection

from leveler.errors import ConfigError
from leveler.runtime import DeclaredQueue, Runtime
from leveler.settings import BrokerSettings, Processes, Settings


async def check_sharing(runtime: Runtime, only: Collection[str]) -> None:
    """Connect, declare and look at each queue, as a worker does when it starts; then disconnect. No handler runs.

    Args:
        runtime: of the app, not open yet.
        only: these queues.

    Raises:
        ConfigError: a worker would refuse to start; or a queue is for one process only.
        BrokerUnavailable, AccessDenied: from the broker.
    """
    await runtime.open()
    try:
        await runtime.prepare(only, None)
        for queue in runtime.queues():
            _check(queue, runtime.settings)
    finally:
        await runtime.close()


def _check(queue: DeclaredQueue, settings: Settings) -> None:
    name = settings.queue(queue.spec.name).broker
    broker = settings.brokers.get(name, BrokerSettings()).shown()["url"]
    says = f"processes is {Processes.of(settings.processes)}, and queue {queue.spec.name!r} is on broker {name!r}"
    if queue.can.scope == "process":
        raise ConfigError(
            f"{says} ({broker}), which lives in one process, where no other sees its messages: use 1 process, or a "
            "broker that several share, such as sqlite:///orders.db"
        )
    if queue.can.push:
        raise ConfigError(
            f"{says} ({broker}), which calls its workers at an address where only one process can listen: use 1 "
            "process, with as much concurrency as the downstream bears"
        )
