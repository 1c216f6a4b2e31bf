"""Session: one connection for as long as it lasts. What is asked goes out at once and answers come in order.

Whoever asks may be cancelled; the command is never cut in two, and its answer is read or the session ends. So nobody
ever gets somebody else's answer (CVE-2023-28858 and 28859 in redis-py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio.connection import Connection
from redis.exceptions import RedisError, ResponseError

from leveler.errors import BrokerUnavailable, LevelerError
from leveler_redis.errors import silent, translate, wants_another_connection

#: An answer that is an error is a `ResponseError`, in the place of the answer.
Answer = Any

_FAREWELL_SECONDS: Final = 1.0

#: What is asked while nothing else is, goes out at once, with no turn of the loop in between, in which handlers would
#: run first. The transport takes so much without a wait: a caller that is cancelled cannot cut it in two.
_AT_ONCE_BYTES: Final = 32 * 1024


class Unanswered(BrokerUnavailable):
    """The commands went out, and whether they were done is not known."""


class _Asked:
    __slots__ = ("answers", "due", "future", "wanted")

    def __init__(self, wanted: int, future: asyncio.Future[list[Answer]], due: float) -> None:
        self.wanted = wanted
        self.answers: list[Answer] = []
        self.future = future
        self.due = due


class Session:
    """
    Args:
        connection: made already; it belongs to the session.
        server: for messages.
    """

    def __init__(self, connection: Connection, server: str) -> None:
        self._connection = connection
        self._server = server
        self._asked: deque[_Asked] = deque()
        self._outbox: list[bytes] = []
        self._wanted = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        #: Fires when something that is asked may be overdue: one timer for all.
        self._watching: asyncio.TimerHandle | None = None
        self.has_ended = False
        #: What the server calls it, if it may be known.
        self.number: int | None = None
        self._writing = asyncio.create_task(self._write(), name=f"write {server}")
        self._reading = asyncio.create_task(self._read(), name=f"read {server}")

    async def ask(self, commands: Sequence[bytes], due: float) -> list[Answer]:
        """The answers to packed commands, which go out together.

        Args:
            commands: one or more.
            due: when the answers must be there, on the clock of the loop.

        Raises:
            BrokerUnavailable: the session has ended; nothing went out.
            Unanswered: they may have been done.
        """
        if self.has_ended:
            raise BrokerUnavailable(f"{self._server}: the connection has just been lost")
        asked = _Asked(len(commands), self._loop.create_future(), due)
        alone = not self._asked
        self._asked.append(asked)
        if alone and sum(map(len, commands)) <= _AT_ONCE_BYTES:
            await self._send(commands)
        else:
            self._outbox.extend(commands)
            self._wanted.set()
        if self._watching is None or due < self._watching.when():
            self._watch()
        return await asked.future

    async def close(self) -> None:
        self._end(BrokerUnavailable(f"{self._server}: the connection has been closed"))
        await asyncio.wait((self._writing, self._reading), timeout=_FAREWELL_SECONDS)

    def _watch(self) -> None:
        """See that what is asked is answered in time."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if not self._asked:
            return
        if (left := min(asked.due for asked in self._asked) - self._loop.time()) > 0:
            self._watching = self._loop.call_later(left, self._watch)
        else:
            self._end(silent(self._server))

    async def _write(self) -> None:
        """What comes together goes out together."""
        while not self.has_ended:
            await self._wanted.wait()
            self._wanted.clear()
            outbox, self._outbox = self._outbox, []
            await self._send(outbox)

    async def _send(self, commands: Sequence[bytes]) -> None:
        try:
            await self._connection.send_packed_command(commands, check_health=False)
        except Exception as error:
            self._end(translate(error, self._server))

    async def _read(self) -> None:
        try:
            while not self.has_ended:
                answer = await self._next_answer()
                first = self._asked[0]
                first.answers.append(answer)
                if len(first.answers) == first.wanted:
                    self._asked.popleft()
                    if not first.future.done():
                        first.future.set_result(first.answers)
                if isinstance(answer, ResponseError) and wants_another_connection(answer):
                    raise answer
        except Exception as error:  # whatever it is, nobody waits for it in vain
            self._end(translate(error, self._server))
        finally:
            await disconnect(self._connection)

    async def _next_answer(self) -> Answer:
        try:
            return await self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except ResponseError as error:
            return error

    def _end(self, why: LevelerError) -> None:
        """It is over, and so is what has been asked in it."""
        if self.has_ended:
            return
        self.has_ended = True
        if self._watching is not None:
            self._watching.cancel()
        self._writing.cancel()
        if self._reading is not asyncio.current_task():
            self._reading.cancel()  # it disconnects, however it ends
        for asked in self._asked:
            if not asked.future.done():
                asked.future.set_exception(_unanswered(why))


def _unanswered(why: LevelerError) -> LevelerError:
    """What whoever asked is told. Who is refused at the door has had nothing done."""
    if not isinstance(why, BrokerUnavailable):
        return type(why)(str(why))
    error = Unanswered(str(why))
    error.__cause__ = why
    return error


async def disconnect(connection: Connection) -> None:
    """Close it, and wait for a moment until it is: TLS says farewell."""
    try:
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await connection.disconnect()
    except (RedisError, OSError):  # it is gone already
        return
