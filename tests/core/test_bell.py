"""Bell: a wait ends when it is rung, or in time; no ring is missed."""

from __future__ import annotations

import asyncio

from leveler.bell import Bell
from leveler.testing import VirtualClock


def test_a_wait_ends_when_it_is_rung() -> None:
    async def main() -> None:
        bell = Bell(VirtualClock())
        waits = asyncio.create_task(bell.wait(5.0))
        await asyncio.sleep(0)
        assert not waits.done()
        bell.ring()
        await waits

    asyncio.run(main())


def test_a_wait_ends_in_time() -> None:
    async def main() -> None:
        clock = VirtualClock()
        bell = Bell(clock)
        waits = asyncio.create_task(bell.wait(5.0))
        await clock.advance(4.9)
        assert not waits.done()
        await clock.advance(0.2)
        assert waits.done()

    asyncio.run(main())


def test_a_ring_before_the_wait_is_not_missed_unless_it_was_cleared() -> None:
    async def main() -> None:
        bell = Bell(VirtualClock())
        bell.ring()
        await bell.wait()
        bell.clear()
        waits = asyncio.create_task(bell.wait())
        await asyncio.sleep(0)
        assert not waits.done()
        bell.ring()
        await waits

    asyncio.run(main())


def test_a_wait_that_is_over_leaves_no_timer() -> None:
    async def main() -> None:
        clock = VirtualClock()
        bell = Bell(clock)
        waits = asyncio.create_task(bell.wait(5.0))
        await asyncio.sleep(0)
        bell.ring()
        await waits
        bell.clear()
        assert clock.next_due() is None

    asyncio.run(main())
