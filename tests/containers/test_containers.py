"""The servers are there, answer real clients, and are shared."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import aio_pika
import redis as redis_py

from tests.containers.keeper import Kept

GIVEN_PORTS = "from tests.containers.port import free_ports\nfor _ in range(40): print(free_ports())"


def test_rabbitmq_takes_a_message_and_gives_it_back(each_rabbitmq: Kept) -> None:
    async def story() -> bytes:
        async with await aio_pika.connect(each_rabbitmq.url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("", exclusive=True)
            await channel.default_exchange.publish(aio_pika.Message(b"hello"), queue.name)
            message = await queue.get()
            assert message is not None
            await message.ack()
            return message.body

    assert asyncio.run(story()) == b"hello"


def test_redis_takes_an_entry_and_gives_it_back(each_redis: Kept) -> None:
    with redis_py.Redis.from_url(each_redis.url) as client:
        id = client.xadd("leveler-test", {"body": "hello"})
        assert client.xrange("leveler-test") == [(id, {b"body": b"hello"})]
        client.delete("leveler-test")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_what_listens_nowhere_yet_is_given_once() -> None:
    takers = [subprocess.Popen([sys.executable, "-c", GIVEN_PORTS], stdout=subprocess.PIPE, text=True) for _ in "abcd"]
    given = [int(port) for taker in takers for port in taker.communicate(timeout=60)[0].split()]
    assert len({*given}) == len(given) == 160
