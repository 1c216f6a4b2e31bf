"""Begin: a measurement starts with no queue on the server."""

from __future__ import annotations

from pathlib import Path

import aio_pika

from tests.benchmarks.bare_rabbitmq import url


async def without_queue(folder: Path, *names: str) -> None:
    """Remove those queues, the first time in that folder."""
    begun = folder / "begun"
    if begun.exists():
        return
    async with await aio_pika.connect(url()) as connection:
        channel = await connection.channel()
        for name in names:
            await channel.queue_delete(name)
    begun.touch()
