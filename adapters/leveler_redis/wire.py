"""Wire: the way to the server, with a session on it whenever it is needed. Many may ask at the same time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.connection import Connection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from leveler.errors import NotStarted
from leveler_redis.command import Argument
from leveler_redis.errors import silent, translate
from leveler_redis.script import Script
from leveler_redis.session import Answer, Session, disconnect


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
        self._closed = False

    def __str__(self) -> str:
        return self._server

    async def connect(self) -> Session:
        """
        Raises:
            BrokerUnavailable: nobody answers within the deadline.
            AccessDenied: the credentials are wrong.
        """
        if os.getpid() != self._process:
            raise NotStarted(f"{self._server}: was opened before a fork: open an adapter of its own in each process")
        try:
            async with asyncio.timeout(self._deadline), self._connecting:
                if self._closed:
                    raise NotStarted(f"{self._server}: is not open: use the adapter inside 'async with'")
                if self._session is None or self._session.has_ended:
                    self._session = Session(await self._connected(), self._server, self._deadline)
                return self._session
        except TimeoutError as error:
            raise silent(self._server, self._deadline) from error

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def ask(self, commands: Sequence[bytes], *, wait_seconds: float = 0.0) -> list[Answer]:
        """The answers. One that is an error stands in its place as an exception.

        Args:
            commands: packed; sent together.
            wait_seconds: for how long the server may take its time.

        Raises:
            BrokerUnavailable: they did not go out.
            Unanswered: they may have been done.
        """
        session = self._session
        if session is None or session.has_ended or os.getpid() != self._process:
            session = await self.connect()
        return await session.ask(commands, wait_seconds)

    async def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument] = ()) -> Answer:
        """The answer of a script.

        Raises:
            LevelerError: it failed, and nothing was done.
            Unanswered: it may have been done.
        """
        [answer] = await self.ask([script.call(keys, arguments)])
        if isinstance(answer, NoScriptError):
            [answer] = await self.ask([script.introduce(keys, arguments)])
        return self.check(answer)

    def check(self, answer: Answer) -> Answer:
        """The answer, if it is none that says why not."""
        if isinstance(answer, ResponseError):
            raise translate(answer, self._server) from answer
        return answer

    async def _connected(self) -> Connection:
        connection = self._make()
        try:
            await _connect(connection)
        except (RedisError, OSError) as error:
            await disconnect(connection)
            raise translate(error, self._server) from error
        except BaseException:
            await disconnect(connection)
            raise
        return connection


async def _connect(connection: Any) -> None:  # the library does not say what its `connect` takes
    await connection.connect()
