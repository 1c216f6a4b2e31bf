"""Wire: one connection. What is asked goes out at once and answers come in order, so many may ask at the same time.

Whoever asks may be cancelled or run out of time; the command is never cut in two, and its answer is read or the
connection ends. So nobody ever gets somebody else's answer (CVE-2023-28858 and 28859 in redis-py).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio.connection import Connection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from leveler.errors import BrokerUnavailable, LevelerError, NotStarted
from leveler_redis.command import Argument
from leveler_redis.errors import silent, translate, wants_another_connection
from leveler_redis.script import Script

#: An answer that is an error is one of these, in the place of the answer.
Answer = Any

_FAREWELL_SECONDS: Final = 1.0


class Unanswered(BrokerUnavailable):
    """The commands went out, and whether they were done is not known."""


class _Asked:
    __slots__ = ("answers", "future", "wanted")

    def __init__(self, wanted: int, future: asyncio.Future[list[Answer]]) -> None:
        self.wanted = wanted
        self.answers: list[Answer] = []
        self.future = future


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
        self._connection: Connection | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._asked: deque[_Asked] = deque()
        self._outbox: list[bytes] = []
        self._wanted = asyncio.Event()
        self._closed = False

    def __str__(self) -> str:
        return self._server

    async def connect(self) -> None:
        """
        Raises:
            BrokerUnavailable: nobody answers within the deadline.
            AccessDenied: the credentials are wrong.
        """
        try:
            async with asyncio.timeout(self._deadline):
                await self._connected()
        except TimeoutError as error:
            raise silent(self._server, self._deadline) from error

    async def close(self) -> None:
        self._closed = True
        await self._end(BrokerUnavailable(f"{self._server}: the connection has been closed"))

    async def ask(self, commands: Sequence[bytes], *, wait_seconds: float = 0.0) -> list[Answer]:
        """The answers. One that is an error stands in its place as an exception.

        Args:
            commands: packed; sent together.
            wait_seconds: for how long the server may take its time.

        Raises:
            BrokerUnavailable: they did not go out.
            Unanswered: they may have been done.
        """
        if os.getpid() != self._process:
            raise NotStarted(f"{self._server}: was opened before a fork: open an adapter of its own in each process")
        asked: _Asked | None = None
        seconds = self._deadline + wait_seconds
        try:
            async with asyncio.timeout(seconds):
                if self._connection is None:
                    await self._connected()
                asked = _Asked(len(commands), asyncio.get_running_loop().create_future())
                self._asked.append(asked)
                self._outbox.extend(commands)
                self._wanted.set()
                return await asked.future
        except TimeoutError as error:
            late = silent(self._server, seconds)
            if asked is not None:
                await self._end(late)
                raise Unanswered(str(late)) from error
            raise late from error

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

    # -- the connection

    async def _connected(self) -> None:
        async with self._connecting:
            if self._connection is not None:
                return
            if self._closed:
                raise NotStarted(f"{self._server}: is not open: use the adapter inside 'async with'")
            connection = self._make()
            try:
                await _connect(connection)
            except (RedisError, OSError) as error:
                await _disconnect(connection)
                raise translate(error, self._server) from error
            except BaseException:
                await _disconnect(connection)
                raise
            self._connection = connection
            self._asked, self._outbox, self._wanted = deque(), [], asyncio.Event()
            self._tasks = (
                asyncio.create_task(self._write(connection), name=f"write {self._server}"),
                asyncio.create_task(self._read(connection, self._asked), name=f"read {self._server}"),
            )

    async def _write(self, connection: Connection) -> None:
        wanted = self._wanted
        try:
            while True:
                await wanted.wait()
                wanted.clear()
                outbox, self._outbox = self._outbox, []
                await connection.send_packed_command(outbox, check_health=False)
        except Exception as error:
            await self._end_of(connection, error)

    async def _read(self, connection: Connection, asked: deque[_Asked]) -> None:
        try:
            while True:
                answer = await _next_answer(connection)
                first = asked[0]
                first.answers.append(answer)
                if len(first.answers) == first.wanted:
                    asked.popleft()
                    if not first.future.done():
                        first.future.set_result(first.answers)
                if isinstance(answer, ResponseError) and wants_another_connection(answer):
                    await self._end_of(connection, answer)
                    return
        except Exception as error:  # whatever it is, nobody waits for it in vain
            await self._end_of(connection, error)

    async def _end_of(self, connection: Connection, error: Exception) -> None:
        if connection is self._connection:
            await self._end(translate(error, self._server))

    async def _end(self, why: LevelerError) -> None:
        """The connection is over, and so is what has been asked on it."""
        connection, self._connection = self._connection, None
        tasks, self._tasks = self._tasks, ()
        asked, self._asked = self._asked, deque()
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()
        for one in asked:
            if not one.future.done():
                error = Unanswered(str(why))
                error.__cause__ = why
                one.future.set_exception(error)
        if connection is not None:
            await _disconnect(connection)


async def _connect(connection: Any) -> None:  # the library does not say what its `connect` takes
    await connection.connect()


async def _next_answer(connection: Connection) -> Answer:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


async def _disconnect(connection: Connection) -> None:
    try:
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await connection.disconnect(nowait=True)
    except (RedisError, OSError):  # it is gone already
        return
