"""``leveler dead list``: why each one died."""

from __future__ import annotations

import asyncio

from leveler.cli.dead.letters import Id, NewerThan, OlderThan, Reason, Type, browse, chosen
from leveler.cli.source import AppOption, BrokerOption, ConfigOption, JsonOption, LimitOption, QueueArgument, Source
from leveler.cli.terminal import say, say_json


def list_(
    queue: QueueArgument,
    reason: Reason = None,
    type: Type = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    id: Id = None,
    limit: LimitOption = 100,
    broker: BrokerOption = None,
    config: ConfigOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """List the dead letters of QUEUE, the oldest first. Their bodies stay hidden: see `leveler dead show`."""
    from leveler.cli.messages import as_data, dead_table

    wanted = chosen(reason, type, older_than, newer_than, id)
    letters = asyncio.run(browse(Source(broker, config, app), queue, wanted, limit))
    if json:
        say_json([as_data(letter, body=False) for letter in letters])
    elif letters:
        say(dead_table(letters))
    else:
        say(f"no dead letters of {queue}{' like that' if wanted.narrows else ''}")
