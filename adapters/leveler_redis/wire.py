"""Wire: the way to the server, with a session on it whenever it is needed. Many may ask at the same time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio.connection import Connection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from leveler.errors import BrokerUnavailable, NotStarted
from leveler_redis.command import Argument, pack
from leveler_redis.errors import silent, translate
from leveler_redis.script import Script
from leveler_redis.session import Answer, Session, Unanswered, disconnect

#: The part of the deadline after which a silent connection is given up: a way that has swallowed everything may be good
#: again by then, but only a new connection finds out.
_PATIENCE: Final = 0.5

_PING: Final = pack(("PING",))
_WHO: Final = pack(("CLIENT", "ID"))


class Wire:
    """
    Args:
        make: makes a connection that is not connected yet.
        server: for messages.
        deadline_seconds: an ask is answered within it, with an error if need be.
    """

    def __init__(self, make: Callable[[], Connection], server: str, deadline_seconds: float) -> None:
        self._make = make
        self._server = server
        self._deadline = deadline_seconds
        self._process = os.getpid()
        self._connecting = asyncio.Lock()
        self._session: Session | None = None
        #: How many there have been.
        self.sessions = 0
        self._closed = False

    def __str__(self) -> str:
        return self._server

    @property
    def number(self) -> int | None:
        """What the server calls the session that there is, if it may be known."""
        return self._session.number if self._session is not None and self.is_connected else None

    @property
    def is_connected(self) -> bool:
        return self._session is not None and not self._session.has_ended

    async def connect(self) -> Session:
        """
        Raises:
            BrokerUnavailable: nobody answers within the deadline.
            AccessDenied: the credentials are wrong.
        """
        return await self._connect(self.due())

    async def _connect(self, due: float) -> Session:
        if os.getpid() != self._process:
            raise NotStarted(f"{self._server}: was opened before a fork: open an adapter of its own in each process")
        try:
            async with asyncio.timeout_at(due), self._connecting:
                if self._closed:
                    raise NotStarted(f"{self._server}: is not open: use the adapter inside 'async with'")
                if self._session is None or self._session.has_ended:
                    self._session = await self._begun(due)
                    self.sessions += 1
                return self._session
        except TimeoutError as error:
            raise silent(self._server) from error

    def due(self, wait_seconds: float = 0.0) -> float:
        """When a verb that begins now gives up, on the clock of the loop."""
        return asyncio.get_running_loop().time() + self._deadline * _PATIENCE + wait_seconds

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def ask(self, commands: Sequence[bytes], due: float | None = None) -> list[Answer]:
        """The answers. One that is an error stands in its place as an exception.

        Args:
            commands: packed; sent together.
            due: of a verb that asks more than once.

        Raises:
            BrokerUnavailable: they did not go out.
            Unanswered: they may have been done.
        """
        due = self.due() if due is None else due
        session = self._session
        if session is None or session.has_ended or os.getpid() != self._process:
            session = await self._connect(due)
        return await session.ask(commands, due)

    async def run(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument] = (), due: float | None = None
    ) -> Answer:
        """The answer of a script.

        Raises:
            LevelerError: it failed, and nothing was done.
            Unanswered: it may have been done.
        """
        due = self.due() if due is None else due
        [answer] = await self.ask([script.call(keys, arguments)], due)
        if isinstance(answer, NoScriptError):
            [answer] = await self.ask([script.introduce(keys, arguments)], due)
        return self.check(answer)

    def check(self, answer: Answer) -> Answer:
        """The answer, if it is none that says why not."""
        if isinstance(answer, ResponseError):
            raise translate(answer, self._server) from answer
        return answer

    async def _begun(self, due: float) -> Session:
        """A session in which the server has answered: the client asks nothing where it has no password to give."""
        session = Session(await self._connected(), self._server)
        try:
            _, number = await session.ask([_PING, _WHO], due)
            session.number = number if isinstance(number, int) else None
        except Unanswered as error:
            raise BrokerUnavailable(str(error)) from error  # nothing else went out
        except BaseException:
            await session.close()
            raise
        return session

    async def _connected(self) -> Connection:
        connection = self._make()
        try:
            await _make(connection)
        except (RedisError, OSError) as error:
            await disconnect(connection)
            raise translate(error, self._server) from error
        except BaseException:
            await disconnect(connection)
            raise
        return connection


async def _make(connection: Any) -> None:  # the library does not say what its `connect` takes
    await connection.connect()
