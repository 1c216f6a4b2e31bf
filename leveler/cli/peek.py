"""``leveler peek``: what waits, left as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leveler.cli.source import AppOption, BrokerOption, ConfigOption, JsonOption, LimitOption, QueueArgument, Source
from leveler.cli.terminal import say, say_json
from leveler.errors import Unsupported

if TYPE_CHECKING:
    from leveler.message import Message


def peek(
    queue: QueueArgument,
    limit: LimitOption = 10,
    broker: BrokerOption = None,
    config: ConfigOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Show the messages that wait in QUEUE, the next ones first. Nothing changes by looking."""
    from leveler.cli.messages import as_data, waiting_table

    messages = asyncio.run(_peek(Source(broker, config, app), queue, limit))
    if json:
        say_json([as_data(message) for message in messages])
    elif messages:
        say(waiting_table(messages))
    else:
        say(f"nothing waits in {queue}")


async def _peek(source: Source, queue: str, limit: int) -> Sequence[Message]:
    async with source.looking([queue]) as runtime:
        declared = await runtime.queue(queue)
        try:
            return await declared.adapter.peek(declared.spec, limit)
        except Unsupported as error:
            raise Unsupported(f"{error}: 'leveler depth {queue}' counts them") from error
