"""The dead letters of Cloud Tasks are listed seldom: the service allows 600 lists in a minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import pytest
from leveler_cloudtasks.client import Client
from leveler_cloudtasks.letters import Letters

from leveler.errors import BrokerUnavailable
from leveler.testing import VirtualClock


class Listed:
    """Stands in for the client: counts the lists."""

    def __init__(self, *letters: str) -> None:
        self.letters = letters
        self.lists = 0
        self.fails_after = len(letters) + 1

    async def tasks(self, queue: str, *, full: bool) -> AsyncGenerator[str, None]:
        self.lists += 1
        for number, letter in enumerate(self.letters):
            if number == self.fails_after:
                raise BrokerUnavailable("away")
            yield letter


def of(listed: Listed, clock: VirtualClock) -> Letters:
    return Letters("orders-dead", cast(Client, listed), clock)


def test_one_list_gives_all_of_them_and_the_next_begins_with_the_first() -> None:
    async def main() -> None:
        listed = Listed("a", "b")
        letters = of(listed, VirtualClock())
        assert [await letters.next() for _ in range(3)] == ["a", "b", None]
        assert listed.lists == 1
        assert await letters.next() == "a"
        assert listed.lists == 2
        await letters.close()

    asyncio.run(main())


def test_what_was_listed_a_minute_ago_is_listed_again() -> None:
    async def main() -> None:
        listed, clock = Listed("a", "b"), VirtualClock()
        letters = of(listed, clock)
        assert await letters.next() == "a"
        await clock.advance(59.0)
        assert await letters.next() == "b"
        await clock.advance(2.0)
        assert await letters.next() == "a"
        assert listed.lists == 2
        await letters.close()

    asyncio.run(main())


def test_after_a_failure_it_begins_with_the_first() -> None:
    async def main() -> None:
        listed = Listed("a", "b")
        letters = of(listed, VirtualClock())
        listed.fails_after = 1
        assert await letters.next() == "a"
        with pytest.raises(BrokerUnavailable):
            await letters.next()
        listed.fails_after = 5
        assert [await letters.next() for _ in range(3)] == ["a", "b", None]

    asyncio.run(main())
