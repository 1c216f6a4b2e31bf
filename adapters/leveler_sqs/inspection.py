"""Inspection: looking at dead letters, and emptying queues. SQS can do neither without receiving."""

from __future__ import annotations

from typing import Final

from leveler.adapter import Delivery
from leveler.message import Message
from leveler_sqs.source import Change, Source

#: Requests of SQS.
_MOST_ITEMS: Final = 10
#: A look waits so long for messages: without a wait SQS asks only some of its servers.
_WAIT_SECONDS: Final = 1


async def peek(source: Source, limit: int) -> list[Message]:
    """Up to `limit` messages; they are back when this returns. Only where deliveries are not counted."""
    seen: dict[str, Delivery] = {}
    try:
        while len(seen) < limit:
            came = await source.receive(min(limit - len(seen), _MOST_ITEMS), _WAIT_SECONDS)
            seen.update((delivery.receipt.handle, delivery) for delivery in came)
            if not came:
                break
    finally:
        await _release(source, list(seen.values()))
    return [delivery.message for delivery in seen.values()]


async def purge(source: Source) -> int:
    """Take and delete all that can be taken; how many. What is leased or delayed is not touched."""
    total = 0
    while batch := await source.receive(_MOST_ITEMS, _WAIT_SECONDS):
        failed = await source.delete([delivery.receipt for delivery in batch])
        for error in failed.values():
            raise error
        total += len(batch)
    return total


async def _release(source: Source, deliveries: list[Delivery]) -> None:
    for start in range(0, len(deliveries), _MOST_ITEMS):
        await source.change([Change(one.receipt, 0) for one in deliveries[start : start + _MOST_ITEMS]])
