"""A message that the vendor's library cannot read, and a consumer of ours: the service gives it up."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from azure.servicebus import ServiceBusMessage
from azure.servicebus.amqp import AmqpAnnotatedMessage
from leveler_servicebus.adapter import ServiceBusAdapter
from leveler_servicebus.emulator import QueueSettings

from leveler.adapter import QueueSpec
from leveler.clock import SystemClock
from leveler.discovery import find
from leveler.errors import BrokerUnavailable
from tests.servicebus.rig import KEY, NAME, Rig, emulator, run


def opened(rig: Rig) -> ServiceBusAdapter:
    server = rig.server
    url = f"servicebus://{NAME}:{quote(KEY)}@127.0.0.1:{server.port}?insecure=true&admin_port={server.admin_port}"
    adapter = find(url, clock=SystemClock(), deadline_seconds=30.0)
    assert isinstance(adapter, ServiceBusAdapter)
    return adapter


def test_it_dies_of_its_deliveries_and_those_behind_it_are_handled() -> None:
    async def story() -> None:
        deep: Any = 1
        for _ in range(100):
            deep = [deep]
        settings = QueueSettings(lock_ms=60_000, max_delivery_count=3)
        async with emulator(queues={"orders": settings}) as rig, opened(rig) as adapter:
            async with rig.client() as client, client.get_queue_sender("orders") as sender:
                await sender.send_messages(AmqpAnnotatedMessage(value_body=deep))
                await sender.send_messages(ServiceBusMessage("{}", message_id="behind"))
            queue = QueueSpec(name="orders", declare="skip", lease_seconds=60.0)
            receiver = adapter.receiver(queue, capacity=1)
            came: list[str] = []
            while not (dead := rig.namespace.find("orders/$DeadLetterQueue").peek(0, 10)):
                try:
                    for delivery in await receiver.receive(1, 0.5):
                        came.append(delivery.message.id)
                        await receiver.complete([delivery])
                except BrokerUnavailable:
                    pass
                if came:
                    rig.server.move_clock(61.0)  # the lock on the other one ends
            await receiver.close()
            assert came == ["behind"]
            assert len(dead) == 1

    run(story())
