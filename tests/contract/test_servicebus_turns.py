"""What one connection of an ordered queue does with its sessions, on a link that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, cast

from leveler_servicebus.clocks import Clocks
from leveler_servicebus.session import Session, SessionReceipt
from leveler_servicebus.session_link import NoSession, SessionLink
from leveler_servicebus.sessions import Sessions
from leveler_servicebus.turn import Turn

from leveler.adapter import Delivery
from leveler.clock import SystemClock
from leveler.errors import BrokerUnavailable, LeaseLost
from leveler.message import Message
from leveler.testing.clock import VirtualClock, quiet

Act = Callable[[], Awaitable[None]]


class Link:
    """Gets a session whenever it asks for one, or does what it is told instead."""

    deadline_seconds = 2.0
    is_open = True

    def __init__(self, accept: Act | None = None, *, taken: Act | None = None) -> None:
        self.calls: list[str] = []
        self._accept = accept
        self._taken = taken

    async def accept(self) -> datetime | None:
        self.calls.append("accept")
        if self._accept:
            await self._accept()
        return None

    async def take(self, count: int, wait_seconds: float) -> list[Any]:
        self.calls.append("take")
        if self._taken:
            await self._taken()
        return []

    async def leave(self) -> None:
        self.calls.append("leave")

    async def drop(self) -> None:
        self.calls.append("drop")


def sessions(link: Link, clock: VirtualClock | SystemClock) -> Sessions:
    return Sessions(
        lambda wait_seconds: cast(SessionLink, link),
        clock,
        Clocks(),
        lock_seconds=30.0,
        silence_seconds=10.0,
        changed=lambda: None,
    )


def turn(link: Link) -> Turn:
    clock = SystemClock()
    return Turn(
        cast(SessionLink, link),
        clock,
        locked=lambda of, until: Session(of, clock, Clocks(), 30.0, until),
        changed=lambda: None,
    )


def test_a_wait_for_a_session_that_does_not_hear_of_its_end_is_told_again() -> None:
    deaf = 1

    async def accept() -> None:
        nonlocal deaf
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                deaf -= 1
                if deaf < 0:
                    raise

    async def play() -> None:
        one = turn(link := Link(accept))
        await quiet()
        async with asyncio.timeout(5.0):
            await one.dismiss()
        assert one.has_left
        assert link.calls == ["accept", "drop"]

    asyncio.run(play())


def test_a_session_that_comes_when_nobody_wants_one_any_more_is_given_up_untouched() -> None:
    async def accept() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return  # it had come just then

    async def play() -> None:
        one = turn(link := Link(accept))
        await quiet()
        await one.dismiss()
        assert one.has_left
        assert link.calls == ["accept", "leave", "drop"]

    asyncio.run(play())


def test_a_session_that_nobody_asks_anything_of_is_for_others_soon() -> None:
    async def play() -> None:
        clock = VirtualClock()
        some = sessions(link := Link(), clock)
        some.ask_for(1)
        await quiet()
        assert link.calls == ["accept"]
        await clock.advance(0.5)
        assert link.calls == ["accept", "leave"]
        await clock.advance(0.5)
        assert link.calls == ["accept", "leave", "drop"]
        assert some.hand_out(1) == []

    asyncio.run(play())


def test_a_connection_that_has_given_its_session_up_gets_the_next_one() -> None:
    async def play() -> None:
        some = sessions(link := Link(), VirtualClock())
        for _ in range(4):
            some.ask_for(1)
            await quiet()
        assert link.calls == ["accept", "take", "leave", "accept", "take", "leave"]
        await some.cut()

    asyncio.run(play())


def test_there_are_never_more_connections_than_can_be_borne() -> None:
    async def busy() -> None:
        await asyncio.sleep(3600)

    async def play() -> None:
        some = sessions(link := Link(taken=busy), VirtualClock())
        for _ in range(20):
            some.ask_for(1000)
            await quiet()
        assert link.calls.count("accept") == 100
        await some.cut()

    asyncio.run(play())


def test_what_goes_wrong_is_told_once_and_the_end_of_a_session_is_nothing_wrong() -> None:
    async def raised(error: Exception) -> Exception | None:
        async def taken() -> None:
            raise error

        some = sessions(Link(taken=taken), VirtualClock())
        try:
            for _ in range(4):
                some.ask_for(1)
                await quiet()
        except Exception as told:
            return told
        finally:
            await some.cut()
        return None

    async def play() -> None:
        broken = RuntimeError("a bug")
        assert await raised(broken) is broken
        assert await raised(LeaseLost("others have it")) is None
        assert await raised(BrokerUnavailable("a session's link is cut")) is None

    asyncio.run(play())


def test_what_all_connections_fail_of_is_told_once_and_again_by_those_that_come_after() -> None:
    async def play() -> None:
        clock = VirtualClock()
        ends = [asyncio.Event() for _ in range(3)]
        begun = iter(ends)
        sessions_until_then = iter([False, True, True, True])

        async def accept() -> None:
            if next(sessions_until_then):
                await next(begun).wait()
                raise BrokerUnavailable("cut")

        some = sessions(Link(accept), clock)
        some.ask_for(5)  # which gets a session: then there may be two at once
        await quiet()
        some.ask_for(5)
        await quiet()
        for end, is_told in zip(ends, (True, False, True), strict=True):
            await clock.advance(0.1)
            end.set()
            await quiet()
            told = False
            try:
                some.ask_for(5)
            except BrokerUnavailable:
                told = True
            assert told == is_told
            await quiet()
        await some.cut()

    asyncio.run(play())


def test_what_is_left_of_a_list_waits_until_the_rest_is_settled() -> None:
    clock = VirtualClock()
    session = Session(cast(SessionLink, Link()), clock, Clocks(), 30.0, None)
    for name in ("a0", "a1", "a2"):
        receipt = SessionReceipt(name, 0, 30.0, session=session)
        session.waiting.append(Delivery(Message(id=name, body=b"", time=clock.now()), 1, 30.0, receipt))
    first = session.hand_out(2)
    assert [one.message.id for one in first] == ["a0", "a1"]
    session.settled([first[0].receipt])
    assert session.hand_out(2) == []
    session.settled([first[1].receipt])
    assert [one.message.id for one in session.hand_out(2)] == ["a2"]


def test_one_has_looked_when_the_service_had_no_session_or_did_not_give_one_for_long_enough() -> None:
    async def play(accept: Act) -> list[bool]:
        clock = VirtualClock()
        some = sessions(Link(accept), clock)
        looked: list[bool] = []
        for seconds in (0.0, 0.6, 0.6):
            await clock.advance(seconds)
            some.ask_for(1)
            await quiet()
            some.ask_for(1)
            looked.append(some.has_looked(0.0))
        await some.cut()
        return looked

    async def none() -> None:
        raise NoSession("none")

    async def no_answer() -> None:
        await asyncio.sleep(3600)

    assert asyncio.run(play(none)) == [True, True, True]
    assert asyncio.run(play(no_answer)) == [False, False, False], "nobody has ever answered"
