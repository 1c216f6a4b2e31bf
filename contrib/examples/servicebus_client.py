"""Azure Service Bus with the vendor's client alone: what it can do, against ``leveler emulate servicebus``.

leveler emulate servicebus --queue orders,duplicate_window_seconds=60 --queue carts,sessions=true
python servicebus_client.py
"""

from __future__ import annotations

import asyncio
import os
import re
from datetime import UTC, datetime, timedelta

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.exceptions import MessagingEntityNotFoundError, ServiceBusAuthenticationError

CONNECTION = os.environ.get(
    "SERVICEBUS_CONNECTION_STRING",
    "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;"
    "UseDevelopmentEmulator=true;",
)


async def main() -> None:
    async with ServiceBusClient.from_connection_string(CONNECTION, retry_total=1) as client:
        async with client.get_queue_sender("orders") as sender, client.get_queue_receiver("orders") as receiver:
            await send(sender)
            await work(receiver)
            await schedule(sender, receiver)
        await read_dead_letters(client)
        await sessions(client)
    await mistakes()


async def send(sender: ServiceBusSender) -> None:
    await sender.send_messages(ServiceBusMessage("order 1", message_id="1"))
    await sender.send_messages(ServiceBusMessage("order 1", message_id="1"))  # a duplicate: accepted, and dropped
    batch = await sender.create_message_batch()
    for number in range(2, 6):
        batch.add_message(ServiceBusMessage(f"order {number}", message_id=str(number)))
    await sender.send_messages(batch)
    print("sent: 2, and 4 in a batch")


async def work(receiver: ServiceBusReceiver) -> None:
    print("peeked:", *map(str, await receiver.peek_messages(10)), sep=" | ")
    first, second, third, fourth = await receiver.receive_messages(4, max_wait_time=5)
    await receiver.complete_message(first)
    await receiver.abandon_message(second)
    await receiver.defer_message(third)
    await receiver.dead_letter_message(fourth, reason="no-customer", error_description="order 4 has no customer")
    [again] = await receiver.receive_messages(1, max_wait_time=5)
    print(f"abandoned and back: {again}, failed {again.delivery_count} time")
    locked = await receiver.renew_message_lock(again)
    print("renewed:", locked > datetime.now(UTC))
    await receiver.complete_message(again)
    [deferred] = await receiver.receive_deferred_messages(third.sequence_number or 0)
    print(f"deferred and taken by its number: {deferred}")
    await receiver.complete_message(deferred)
    [last] = await receiver.receive_messages(1, max_wait_time=5)
    await receiver.complete_message(last)


async def schedule(sender: ServiceBusSender, receiver: ServiceBusReceiver) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    await sender.schedule_messages(ServiceBusMessage("order 6"), soon)
    [never] = await sender.schedule_messages(ServiceBusMessage("order 7"), soon)
    await sender.cancel_scheduled_messages(never)
    [message] = await receiver.receive_messages(1, max_wait_time=10)
    print(f"scheduled: {message}, not early: {datetime.now(UTC) >= soon - timedelta(milliseconds=1)}")
    await receiver.complete_message(message)


async def read_dead_letters(client: ServiceBusClient) -> None:
    async with client.get_queue_receiver("orders", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        [letter] = await receiver.receive_messages(1, max_wait_time=5)
        print(f"dead: {letter}, {letter.dead_letter_reason}, {letter.dead_letter_error_description}")
        await receiver.complete_message(letter)


async def sessions(client: ServiceBusClient) -> None:
    async with client.get_queue_sender("carts") as sender:
        await sender.send_messages([ServiceBusMessage(item, session_id="ann") for item in ("tea", "cups", "pay")])
    async with client.get_queue_receiver("carts", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=5) as receiver:
        items = await receiver.receive_messages(3, max_wait_time=5)
        for item in items:
            await receiver.complete_message(item)
        await receiver.session.set_state("paid")
        await receiver.session.renew_lock()
        state = await receiver.session.get_state()
        print(f"session {receiver.session.session_id}:", *map(str, items), f"state {(state or b'').decode()}")


async def mistakes() -> None:
    wrong = re.sub("SharedAccessKey=[^;]*", "SharedAccessKey=wrong", CONNECTION)
    async with ServiceBusClient.from_connection_string(wrong, retry_total=0) as client:
        try:
            await client.get_queue_sender("orders").__aenter__()
        except ServiceBusAuthenticationError:
            print("a wrong key: ServiceBusAuthenticationError")
    async with ServiceBusClient.from_connection_string(CONNECTION, retry_total=0) as client:
        try:
            await client.get_queue_sender("nothing-here").__aenter__()
        except MessagingEntityNotFoundError:
            print("a missing queue: MessagingEntityNotFoundError")


if __name__ == "__main__":
    asyncio.run(main())
